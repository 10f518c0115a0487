"""Fill a store through POST /v1/batch: loader.py HOST MEBIBYTES [PREFIX]. Values are random text of 256 KiB."""
import json
import os
import sys
import time

VALUE_BYTES, BATCH = 256 << 10, 48
host, mebibytes = sys.argv[1], int(sys.argv[2])
prefix = sys.argv[3] if len(sys.argv) > 3 else "load"
connection, began = connect(host, timeout=120), time.monotonic()
total, seq, status = (mebibytes << 20) // VALUE_BYTES, 0, 200
for first in range(0, total, BATCH):
    lines = [json.dumps({"op": "put", "key": f"{prefix}-{n}", "value": os.urandom(VALUE_BYTES // 2).hex()})
             for n in range(first, min(first + BATCH, total))]
    connection.request("POST", "/v1/batch", "\n".join(lines) + "\n", headers())
    answer = connection.getresponse()
    body, status = answer.read(), answer.status
    if status != 200:
        break
    seq = json.loads(body)["seq"]
print(json.dumps({"status": status, "keys": total, "seq": seq, "seconds": round(time.monotonic() - began, 1),
                  "answer": body[:300].decode(errors="replace")}))
