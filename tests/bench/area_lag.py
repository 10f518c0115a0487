"""Target 6: how long after the leader's answer a follower shows a write, at 5,000 writes a second; Redis beside it."""

import json
import subprocess
import time

import peers
import podset
import requests
from harness import BenchError, median

SIZE = 100
SPACE = 100000
RATE = 5000
SECONDS = 6


def probe(bench, leader, follower, protocol, seconds, count=10**5):
    done = subprocess.run([bench.tool("lag"), leader, follower, protocol, str(count), str(seconds)],
                          capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        raise BenchError(f"lag: {done.stderr.strip()}")
    return json.loads(done.stdout)


def under_load(bench, leader, follower, protocol, requests_file, seconds=SECONDS):
    load = bench.start_load(leader, protocol, 16, requests_file, RATE * seconds, seconds + 20, RATE)
    try:
        time.sleep(0.5)
        lag = probe(bench, leader, follower, protocol, seconds - 1)
        report = json.loads(load.communicate(timeout=60)[0])
    finally:
        load.kill()
        load.wait()
    lag["rate"] = report["rate"]
    return lag


def run(bench):
    seconds = max(2, int(SECONDS * min(1, bench.scale * 2)))
    names = requests.keys(bench.n(50000, 1000), bench.n(SPACE, 1000))
    ours = requests.write(bench.work / "lag.seedpod", requests.seedpod_puts(names, SIZE))
    theirs = requests.write(bench.work / "lag.redis", requests.redis_sets(names, SIZE))
    pods = bench.pods("lag", {"sync.mode": "stream"})
    try:
        pods.scale(2)
        pods.wait_ready()
        leader, follower = f"{pods[0].ip}:9876", f"{pods[1].ip}:9876"
        with peers.Redis(bench, 110) as redis, peers.Redis(bench, 116) as replica:
            replica.ask("REPLICAOF", redis.host, str(redis.port))
            replica.wait_synced()
            reports = {"seedpod": [], "redis": []}

            def measure(name, *arguments):
                report = under_load(bench, *arguments, seconds=seconds)
                reports[name].append(report)
                return report["p50_ms"]
            bench.interleave({
                "seedpod": lambda: measure("seedpod", leader, follower, "http", ours),
                "redis": lambda: measure("redis", redis.address, replica.address, "resp", theirs)}, warmup=False)
        rate = median([r["rate"] for r in reports["seedpod"]])
        if rate < 0.95 * RATE:
            bench.say(f"only {rate:.0f} writes a second were taken")
        for name in ("p50_ms", "p99_ms"):
            bench.compare(f"lag at {RATE:,} writes/s, stream, {name[:3]}", [r[name] for r in reports["seedpod"]],
                          [r[name] for r in reports["redis"]], "<= 2", "ms", "Redis replica, appendfsync always")
        poll(bench, pods, leader, follower)
    finally:
        pods.close()


def poll(bench, pods, leader, follower):
    """Poll mode: the interval plus that."""
    pods.edit_config({"sync.mode": "poll", "sync.interval": "200ms"})
    podset.wait_until(lambda: pods[1].status()["config"]["hash"] == pods.config_hash(), 10, "poll mode", pods)
    values = bench.interleave({"poll": lambda: probe(bench, leader, follower, "http", 4)["p99_ms"]})["poll"]
    bench.row("lag in poll mode, interval 200 ms, p99", median(values), "<= 210", "ms", median(values),
              spread={"ours": values}, note="interval + 10 ms")
