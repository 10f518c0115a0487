"""Read back what writer.py wrote, from one pod: verify.py HOST PREFIX COUNT"""
import json
import sys

host, prefix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection, missing = connect(host), []
for n in range(count):
    connection.request("GET", f"/v1/kv/{prefix}-{n}", headers=headers())
    answer = connection.getresponse()
    if answer.read() != f"value {n}".encode():
        missing.append(n)
print(json.dumps({"read": count, "missing": missing[:20]}))
