"""Write to the members of mode raft at their addresses, by several writers, and measure how long nobody is acknowledged.

    pauses.py PREFIX WRITERS [TIMEOUT]

A try is given up after TIMEOUT seconds (1), an address that does not answer after a quarter of a second: the former one
of a pod is silent, and would be counted as a pause of the members'. No name is looked up: the addresses come by standard input, and a redirect's
host is taken for its first label. Lines on standard input, each answered with a line of JSON:

    members NAME=ADDRESS …   from now on these
    mark                     the longest pause since the last mark, when it began, and how many were acknowledged
    stop                     the same, and the end
"""
import http.client
import json
import sys
import threading
import time
import urllib.parse

prefix, writers = sys.argv[1], int(sys.argv[2])
patience = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
lock, end = threading.Lock(), threading.Event()
members, leader = {}, None
acknowledged, last, longest, since = 0, time.monotonic(), 0.0, time.time()


def noted(now):
    """Something was acknowledged, or it is asked how long nothing was; under the lock."""
    global longest, since
    if now - last > longest:
        longest, since = now - last, time.time() - (now - last)


def succeeded(name):
    global acknowledged, last, leader
    with lock:
        now = time.monotonic()
        noted(now)
        acknowledged, last, leader = acknowledged + 1, now, name


def ask(connections, name, path, value):
    """One try at one member: its status, and where it sends us."""
    address = members.get(name)
    if address is None:
        return 0, None
    connection = connections.get((name, address)) or connect(address, 9876, 0.25)
    connections.clear()
    try:
        if connection.sock is None:
            connection.connect()
            connection.sock.settimeout(patience)
        connection.request("PUT", path, value, headers())
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0, None
    if answer.will_close:
        connection.close()
    else:
        connections[name, address] = connection
    to = urllib.parse.urlsplit(answer.headers.get("Location", "")).hostname or ""
    by_address = next((n for n, a in members.items() if a == to), None)
    return answer.status, by_address or to.split(".")[0]


def write(number):
    tries, connections, count = number, {}, 0
    while not end.is_set():
        with lock:
            names, name = sorted(members), leader
        if not names:
            time.sleep(0.02)
            continue
        if name not in names:
            tries += 1
            name = names[tries % len(names)]
        status, sent_to = ask(connections, name, f"/v1/kv/{prefix}-{number}-{count % 1000}", f"value {count}")
        if status == 204:
            succeeded(name)
            count += 1
            time.sleep(0.005)
            continue
        with lock:
            if status == 307:
                globals()["leader"] = sent_to
            elif leader == name:
                globals()["leader"] = None
        if status != 307:
            time.sleep(0.01)


def result():
    global longest, acknowledged
    with lock:
        noted(time.monotonic())
        told = {"acknowledged": acknowledged, "longest_pause_s": round(longest, 3), "began": since}
        longest, acknowledged = 0.0, 0
    return told


for i in range(writers):
    threading.Thread(target=write, args=(i,), daemon=True).start()
for line in sys.stdin:
    words = line.split()
    if words[:1] == ["members"]:
        with lock:
            members = dict(word.split("=", 1) for word in words[1:])
    if words[:1] == ["stop"]:
        break
    print(json.dumps(result() if words[:1] == ["mark"] else {}), flush=True)
end.set()
print(json.dumps(result()))
