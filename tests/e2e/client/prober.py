"""Read one key through a Service every 20 ms, each time on a new connection, as many small clients do.

    prober.py HOST KEY

Its value is a number that only grows. "at least N" on standard input: from now on no answer may be older than N (it
was read back from every ready pod before). "stop": print the sum as JSON.
"""
import collections
import http.client
import json
import sys
import threading
import time

host, key = sys.argv[1:3]
least, stop = 0, threading.Event()


def listen():
    global least
    for line in sys.stdin:
        if line.startswith("at least "):
            least = int(line.split()[2])
        else:
            break
    stop.set()


threading.Thread(target=listen, daemon=True).start()
counts, notes, slowest = collections.Counter(), [], 0.0
due = time.monotonic()
while not stop.is_set():
    due += 0.02
    wanted, began = least, time.monotonic()
    connection = connect(host, timeout=5)
    try:
        connection.request("GET", "/v1/kv/" + key, headers=headers())
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200 and int(body) >= wanted:
            counts["good"] += 1
        elif answer.status == 200:
            counts["stale"] += 1
            notes.append(f"stale: {int(body)} where {wanted} was ready everywhere")
        else:
            counts[f"status_{answer.status}"] += 1
            notes.append(f"{answer.status}: {body[:200]!r}")
    except (OSError, http.client.HTTPException) as problem:
        counts["no_answer"] += 1
        notes.append(f"no answer: {problem!r} after {time.monotonic() - began:.2f} s")
    finally:
        connection.close()
    slowest = max(slowest, time.monotonic() - began)
    time.sleep(max(0.0, due - time.monotonic()))
    due = max(due, time.monotonic() - 0.1)
print(json.dumps({"reads": sum(counts.values()), **counts, "slowest_ms": round(slowest * 1000), "notes": notes[:50]}))
