"""Mode raft without its leader: from SIGKILL of the leader's server to the next acknowledged write, default settings.

One writer asks the members in turn, as a client behind a Service does, follows redirects and never waits longer than
ROUND_TIMEOUT for one answer. The killed member is back and has caught up before the next round.
"""

import os
import pathlib
import sys
import time

from harness import BenchError, median
from podset import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "raft"))

from subject import Answer, Caller  # noqa: E402

ROUND_TIMEOUT = 0.3  # seconds for one answer
PAUSE = 0.005        # between two tries


def leader(pods):
    for pod in pods:
        position = pod.position()
        if position["role"] == "leader" and position["raft"]["voters"] == len(pods):
            return pod
    return None


def next_write(pods, number):
    """The moment at which a write was acknowledged, by whichever member took it first."""
    caller, deadline, tried = Caller(timeout=ROUND_TIMEOUT), time.monotonic() + 30, 0
    while time.monotonic() < deadline:
        pod = pods[tried % len(pods)]
        tried += 1
        got = caller.ask(pod.url, "PUT", f"/v1/kv/failover-{number}", f"{tried}")
        if not isinstance(got, Answer) and got[0] == 204:
            caller.close()
            return time.monotonic()
        time.sleep(PAUSE)
    raise BenchError("no write was acknowledged within 30 s of the leader's end")


def run(bench):
    rounds = int(os.environ.get("ROUNDS") or bench.n(50, 3))
    pods = bench.pods("failover", {"replication.mode": "raft", "bootstrap.max_peers": "3"})
    took = []
    try:
        pods.scale(3)
        for number in range(rounds):
            pod = wait_until(lambda: leader(pods), 30, "a leader has three voters", pods)
            wait_until(lambda: len({p.position()["seq"] for p in pods}) == 1, 30, "all have caught up", pods)
            began = time.monotonic()
            pod.kill("server")
            took.append(next_write([p for p in pods if p is not pod], number) - began)
            pod.server.start()
            wait_until(pod.position, 30, f"{pod.name} serves again", pods)
        bench.say("seconds: " + " ".join(f"{t:.2f}" for t in took))
        bench.row(f"failover: SIGKILL of the leader to the next acknowledged write, {rounds} times, median", median(took),
                  "<= 1.5", "s", median(took), note=f"most {max(took):.2f} s, least {min(took):.2f} s",
                  spread={"ours": took})
    finally:
        pods.close()
