#!/usr/bin/env python3
"""How long mode raft takes no writes when its leader goes, many times over. `make torture-handover` calls it.

Three pods as processes, three writers that go to the members' addresses. HANDOVERS times (200) the leader's server is
ended by SIGTERM, so that it hands over, or with HOW=kill by SIGKILL, and started again. Prints the distribution of the
longest time in which nobody was acknowledged, and for each above LIMIT seconds (1) what the members logged meanwhile.
Exits 1 if a member crashed or does not come back; a long pause alone is no failure.
"""

import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import shutil
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import support  # noqa: E402
from podset import PodSet, claim_octet, wait_until  # noqa: E402

CLIENT = HERE.parent / "e2e" / "client"
HANDOVERS = int(os.environ.get("HANDOVERS") or 200)
HOW = os.environ.get("HOW") or "term"
LIMIT = float(os.environ.get("LIMIT") or 1.0)
SIGNALS = {"term": signal.SIGTERM, "kill": signal.SIGKILL}


class Writers:
    """pauses.py as a process."""

    def __init__(self, pods):
        source = (CLIENT / "door.py").read_text() + (CLIENT / "pauses.py").read_text()
        self.process = subprocess.Popen([sys.executable, "-c", source, "w", "3"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.ask("members " + " ".join(f"{pod.name}={pod.ip}" for pod in pods))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def settled(pods):
    """The leader, once all three vote, follow it in its term, and have applied what it has committed."""
    told = [(pod, pod.position()["raft"]) for pod in pods]
    leaders = [pod for pod, raft in told if raft["role"] == "leader"]
    same = len({raft["term"] for _, raft in told}) == 1
    behind = max(raft["commit"] for _, raft in told) - min(raft["applied"] for _, raft in told)
    ready = all(raft["leader_known"] and raft["voters"] == 3 for _, raft in told)
    return leaders[0] if len(leaders) == 1 and same and ready and behind < 1000 else None


def stamp(line):
    found = re.match(r"time=(\S+?)Z ", line)
    if not found:
        return None
    return datetime.datetime.fromisoformat(found.group(1)).replace(tzinfo=datetime.timezone.utc).timestamp()


def evidence(pods, began, seconds):
    """What the servers logged from half a second before the pause to its end."""
    lines = []
    for pod in pods:
        for line in pod.server.log.splitlines():
            at = stamp(line)
            if at is not None and began - 0.5 <= at <= began + seconds + 0.2:
                lines.append((at, f"{at - began:+7.3f} {pod.name} {line.split(' ', 1)[1][:220]}"))
    return [text for _, text in sorted(lines)]


def distribution(pauses):
    ordered = sorted(pauses)

    def at(share):
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return (f"{len(ordered)} times: min {ordered[0]:.3f}  median {at(0.5):.3f}  p90 {at(0.9):.3f}  p99 {at(0.99):.3f}  "
            f"max {ordered[-1]:.3f} s; above {LIMIT:g} s: {sum(p > LIMIT for p in ordered)}")


def run(pods):
    writers, pauses, long_ones = Writers(pods), [], []
    for number in range(HANDOVERS):
        leader = wait_until(lambda: settled(pods), 60, "all follow one leader", pods)
        wait_until(lambda: writers.ask("mark")["acknowledged"] > 20, 60, "writes are acknowledged", pods, pause=0.2)
        load = os.getloadavg()[0]
        leader.server.signal(SIGNALS[HOW])
        leader.server.wait()
        leader.server.start()
        wait_until(lambda: settled(pods), 60, "all follow one leader again", pods)
        time.sleep(0.2)
        told = writers.ask("mark")
        pauses.append(told["longest_pause_s"])
        if told["longest_pause_s"] > LIMIT:
            long_ones.append(number)
            print(f"number {number}: {told['longest_pause_s']:.3f} s, {leader.name} led, load average {load:.1f}",
                  flush=True)
            for line in evidence(pods, told["began"], told["longest_pause_s"]):
                print("    " + line)
        elif number % 20 == 19:
            print(f"number {number}: so far {distribution(pauses)}", flush=True)
    writers.process.kill()
    return pauses


def main():
    octet, claim = claim_octet()
    root = tempfile.mkdtemp(prefix="seedpod-handovers-")
    pods = PodSet(root, support.BUILD, octet, config={"replication.mode": "raft"})
    try:
        pods.scale(3)
        before = os.getloadavg()
        pauses = run(pods)
        crashes = pods.crashes()
    finally:
        pods.close()
        claim.close()
        shutil.rmtree(root, ignore_errors=True)
    how = {"term": "the leader is stopped and hands over", "kill": "the leader is killed"}[HOW]
    print(f"{how}, {distribution(pauses)} (load average {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after)")
    for crash in crashes:
        print(f"CRASH: {crash}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
