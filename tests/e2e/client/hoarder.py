"""Fill what a server holds in memory, and keep it filled: hoarder.py HOST BODIES ANSWERS.

Stores one value of 8 MiB; then BODIES uploads of 8 MiB that lack their last byte, and ANSWERS downloads of that value that
are not read. Prints JSON once all are open, and again when standard input ends.
"""
import json
import socket
import sys

host, bodies, answers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SIZE = 8 << 20
value = b"x" * SIZE
kept = []


def connect(text):
    s = socket.create_connection((host, 9876), timeout=10)
    s.sendall(text.encode())
    return s


def head(method, more=""):
    return f"{method} /v1/kv/hoard HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"


with connect(head("PUT", f"Content-Length: {SIZE}\r\n")) as first:
    first.sendall(value)
    assert b" 204 " in first.recv(4096).split(b"\r\n")[0], "the value was not stored"
sent = 0
for n in range(bodies):
    s = connect(head("PUT", f"Content-Length: {SIZE}\r\n"))
    s.settimeout(1)
    try:
        s.sendall(value[:-1])
        sent += 1
    except OSError:  # refused, or not read for want of room: either is a bound
        pass
    kept.append(s)
for n in range(answers):
    kept.append(connect(head("GET")))
print(json.dumps({"uploads": sent, "open": len(kept)}), flush=True)
sys.stdin.read()
print(json.dumps({"uploads": sent, "open": len(kept)}), flush=True)
