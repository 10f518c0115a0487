"""Target 7: how fast a follower that was away catches up, and what idle followers cost the leader."""

import shutil
import time

import podset
import requests
from harness import BenchError, KEY, median, process_cpu_seconds

CHANGES = 500000
SIZE = 100
IDLE_SECONDS = 6


def write(bench, pod, keys):
    """Write one change for each key, by batches, as fast as the leader takes them."""
    path = requests.write(bench.work / "catchup.batches", requests.seedpod_batches(keys, 1000, SIZE))
    bench.load(f"{pod.ip}:9876", "http", 4, path, len(keys) // 1000, 120)
    path.unlink()


def catch_up(bench, pods, keys):
    """Changes a second, from the sidecar's start to equal positions."""
    leader, follower = pods[0], pods[1]
    follower.sidecar.stop()
    write(bench, leader, keys)
    bench.wait_quiet()
    seq = leader.position()["seq"]
    behind = seq - follower.position()["seq"]
    follower.sidecar.start()
    began = time.monotonic()
    podset.wait_until(lambda: follower.position()["seq"] == seq, 120, "the follower has caught up", pods, pause=0.01)
    took = time.monotonic() - began
    if follower.position()["digest"] != leader.position()["digest"]:
        raise BenchError("the follower's digest is not the leader's")
    return behind / took


def idle_cost(pods):
    """What the followers read and burn at the leader while nothing happens: (records, percent of a core)."""
    leader = pods[0]

    def records():
        return sum(v for k, v in leader.server_metrics().items() if "changes_records_read" in k)
    before, cpu, began = records(), process_cpu_seconds(leader.server.pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    elapsed = time.monotonic() - began
    return records() - before, 100 * (process_cpu_seconds(leader.server.pid) - cpu) / elapsed


def run(bench):
    count = bench.n(CHANGES, 10000) // 1000 * 1000
    pods = bench.pods("catchup")
    try:
        pods.scale(2)
        pods.wait_ready()
        new = iter(range(10**9))

        def ascending():
            return catch_up(bench, pods, [KEY % next(new) for _ in range(count)])

        def random_keys():
            return catch_up(bench, pods, requests.keys(count, count, seed=next(new)))
        got = bench.interleave({"new keys": ascending, "overwrites": random_keys})
        for name, what in (("new keys", "new keys in order"), ("overwrites", "random overwrites")):
            bench.row(f"catch-up, {what} of {SIZE} bytes", median(got[name]), ">= 150000", "changes/s", median(got[name]),
                      spread={"ours": got[name]})
        records, cpu = idle_cost(pods)
        bench.row("records that idle followers have the leader read", records, "<= 0", "records",
                  note=f"over {IDLE_SECONDS} s with {pods[0].position()['keys']:,} keys; {cpu:.2f} % of a core")
    finally:
        pods.close()
        shutil.rmtree(pods.root, ignore_errors=True)
