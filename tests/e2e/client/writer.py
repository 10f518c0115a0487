"""Write numbered keys through a Service without pause, each again until it is acknowledged.

    writer.py HOST PREFIX [TIMEOUT]

A try is given up after TIMEOUT seconds (5). Follows redirects as curl --location-trusted does. "stop" on standard input:
print the sum as JSON, with the longest time in which nothing was acknowledged; any other line: print how many were
acknowledged so far.
"""
import collections
import http.client
import json
import sys
import threading
import time
import urllib.parse

host, prefix = sys.argv[1:3]
timeout = float(sys.argv[3]) if len(sys.argv) > 3 else 5.0
stop = threading.Event()
counts = collections.Counter()


def listen():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        print(json.dumps({"acknowledged": acknowledged}), flush=True)
    stop.set()


def put(url, value):
    """One try: the status, after redirects."""
    for _ in range(4):
        parts = urllib.parse.urlsplit(url)
        connection = connect(parts.hostname, parts.port, timeout)
        try:
            connection.request("PUT", parts.path, value, headers())
            answer = connection.getresponse()
            answer.read()
            if answer.status != 307:
                return answer.status
            url = answer.headers["Location"]
        finally:
            connection.close()
    return 508


acknowledged = 0
threading.Thread(target=listen, daemon=True).start()
last, longest, longest_at = time.monotonic(), 0.0, 0
while not stop.is_set():
    try:
        status = put(f"{scheme()}://{host}:9876/v1/kv/{prefix}-{acknowledged}", f"value {acknowledged}")
    except (OSError, http.client.HTTPException) as problem:
        status = type(problem).__name__
    now = time.monotonic()
    if status == 204:
        if now - last > longest:
            longest, longest_at = now - last, acknowledged
        acknowledged, last = acknowledged + 1, now
    else:
        counts[str(status)] += 1
        time.sleep(0.02)
print(json.dumps({"acknowledged": acknowledged, "longest_pause_s": round(longest, 2), "before_key": longest_at,
                  "failed_tries": sum(counts.values()), "by_reason": dict(counts)}))
