#!/usr/bin/env python3
"""Large values at the default timings, over a network and disks that are slow: does the leader stay? One line of JSON tells.

    unshare -n tests/raft/large.py [--values 4] [--network-mbit 256] [--disk-kib 65536] [--away]

Three members; from several clients at once values of the largest size that is permitted, small ones beside them, and a batch.
With --away one member is killed before and started again after, so that it is sent a large value from the log, while the second
follower is killed: the member that catches up is then the leader's majority.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import subject_seedpod  # noqa: E402
from network import Network  # noqa: E402
from once import Wrong, wait  # noqa: E402
from subject import Answer, Caller  # noqa: E402

MAX_VALUE = 32 << 20
IN_LOG = 24 << 20  # of which the log keeps one for a member that is away
ANSWER_TIMEOUT = 120


class Load:
    """Writes to the leader from threads of their own; the statuses that came."""

    def __init__(self, cluster):
        self.cluster, self.statuses, self.lock = cluster, {}, threading.Lock()
        self.stop, self.threads = threading.Event(), []

    def ask(self, kind, method, path, body):
        caller = Caller(ANSWER_TIMEOUT)
        got = caller.ask(self.cluster.members[0].url, method, path, body)
        status = got.outcome if isinstance(got, Answer) else got[0]
        caller.close()
        with self.lock:
            counts = self.statuses.setdefault(kind, {})
            counts[str(status)] = counts.get(str(status), 0) + 1

    def small(self):
        n = 0
        while not self.stop.is_set():
            self.ask("small", "PUT", f"/v1/kv/small-{n % 100}", b"value")
            n += 1
            self.stop.wait(0.005)

    def begin(self, what, *arguments):
        self.threads.append(threading.Thread(target=what, args=arguments, daemon=True))
        self.threads[-1].start()

    def join(self):
        for thread in self.threads:
            thread.join()
        self.threads = []


def throttle(network, members, mbit):
    for i in range(members):
        subprocess.run([*network.wrap(i), "tc", "qdisc", "replace", "dev", f"m{i}", "root", "tbf", "rate", f"{mbit}mbit", "burst",
                        "64k", "latency", "1s"], check=True)


def raft(cluster, caller, number):
    position = cluster.position(cluster.members[number], caller)
    return position and position["raft"]


def term(cluster, caller):
    return max(found["term"] for found in (raft(cluster, caller, i) for i in range(len(cluster.members))) if found)


def begin(cluster, caller, options):
    cluster.found()
    wait(lambda: cluster.settled(caller), 60, "all members are members")
    wait(lambda: cluster.position(cluster.members[0], caller), 20, "the first one answers")
    cluster.founded()
    if options.disk_kib:
        for member in cluster.members:
            member.slow_disk(kib_per_s=options.disk_kib)
    throttle(cluster.network, len(cluster.members), options.network_mbit)


def write_all(load, options):
    """Values of the largest size and one that is a byte larger; a batch of several MiB; small ones all the while."""
    load.begin(load.small)
    smalls = load.threads.pop()
    if options.away:
        load.begin(load.ask, "in log", "PUT", "/v1/kv/in-log", b"v" * IN_LOG)
    for n in range(0 if options.away else options.values):
        load.begin(load.ask, "large", "PUT", f"/v1/kv/large-{n}", bytes([n]) * MAX_VALUE)
    load.join()
    lines = (json.dumps({"op": "put", "key": f"batch-{n}", "value": "v" * (6 << 20)}) for n in range(8))
    if not options.away:
        load.begin(load.ask, "batch", "POST", "/v1/batch", "\n".join(lines).encode())
    load.begin(load.ask, "too large", "PUT", "/v1/kv/too-large", bytes(MAX_VALUE + 1))
    load.join()
    load.stop.set()
    smalls.join()


def catch_up(cluster, caller, options):
    """The third member hears of what was written while it was away; the second one leaves when it begins to."""
    back, other = cluster.members[2], cluster.members[1]
    back.start()
    wait(lambda: raft(cluster, caller, 2), 20, "it runs again")
    other.kill()
    began = time.monotonic()
    wait(lambda: cluster.state(back, caller) == cluster.state(cluster.members[0], caller), 60, "it has caught up")
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", type=int, default=4)
    parser.add_argument("--network-mbit", type=int, default=256)
    parser.add_argument("--disk-kib", type=int, default=65536)
    parser.add_argument("--away", action="store_true")
    options = parser.parse_args()
    timings = ["raft.election_timeout=500ms", "raft.heartbeat=100ms"]  # the defaults
    cluster_options = argparse.Namespace(seed=0, reads="linearizable", set=[*timings, f"server.max_value={MAX_VALUE}"])
    caller = Caller(10)
    with tempfile.TemporaryDirectory(prefix="raft-large-") as directory:
        network = Network(3)
        cluster = subject_seedpod.Cluster(pathlib.Path(directory), network, 3, cluster_options)
        try:
            begin(cluster, caller, options)
            leader = cluster.leader(caller)
            cluster.members[0], cluster.members[leader] = cluster.members[leader], cluster.members[0]
            if options.away:
                cluster.members[2].kill()
            load, before, began = Load(cluster), term(cluster, caller), time.monotonic()
            write_all(load, options)
            seconds = time.monotonic() - began
            caught_up = catch_up(cluster, caller, options) if options.away else 0
            report = {"terms": term(cluster, caller) - before, "statuses": load.statuses, "seconds": round(seconds, 1),
                      "caught_up": round(caught_up, 1), "reseeds": cluster.reseeds(),
                      "crashed": [str(end) for member in cluster.members for end in member.process.crashed()]}
        except Wrong:
            for member in cluster.members:
                print(member.name, *member.process.log.read_text().splitlines()[-12:], sep="\n", file=sys.stderr)
            raise
        finally:
            cluster.close()
            network.close()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
