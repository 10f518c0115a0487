"""Target 2: followers seeded at once, and what a seeding costs those who write to the leader meanwhile."""

import json
import os
import pathlib
import shutil
import tempfile
import threading
import time

import requests
from area_seeding import empty, run_init, seed

COUNT = 500000
SIZE = 1000
RATE = 2000
LINK = 125_000_000  # bytes a second: 1 Gbit/s
SECONDS = 5
SENT = "seedpod_server_snapshot_bytes_sent_total"


def together(bench, followers):
    """Seed all of them at the same time: the seconds until the last one is done."""
    for pod in followers:
        empty(pod)
    os.sync()
    threads = [threading.Thread(target=run_init, args=(bench, pod)) for pod in followers]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def sent_copies(bench, leader, followers, took):
    """together(), and how many times as much as one snapshot the leader sent; the seconds go to `took`."""
    before = leader.server_metrics()[SENT]
    took.append(together(bench, followers))
    length = int(leader.ask("HEAD", "/v1/snapshot").headers["Seedpod-Snapshot-Length"])
    return (leader.server_metrics()[SENT] - before) / length


def p99_ms(bench, leader, requests_file, pod=None, rate=0):
    """p99 of paced PUTs at the leader, while `pod` is seeded again and again beside them, at `rate` bytes a second."""
    seconds = max(2, SECONDS * min(1, bench.scale))
    load = bench.start_load(f"{leader.ip}:9876", "http", 16, requests_file, int(RATE * seconds), seconds + 20, RATE)
    try:
        while pod and load.poll() is None:
            limited(bench, pod, rate)
        return json.loads(load.communicate(timeout=60)[0])["p99_us"] / 1000
    finally:
        load.kill()
        load.wait()
        for former in pod.dir.glob("former-*") if pod else ():
            shutil.rmtree(former)
        os.sync()


def limited(bench, pod, rate):
    """A seeding at so many bytes a second. What the former one left is deleted later: that is no part of a seeding."""
    pod.set.edit_config({"bootstrap.rate_limit": str(rate)})
    if pod.data_dir.exists():
        pod.data_dir.rename(pod.dir / f"former-{time.monotonic_ns()}")
    seed(bench, pod, synced=False)


def run(bench):
    names = requests.keys(20000, 20000)
    puts = requests.write(bench.work / "followers.put", requests.seedpod_puts(names, 100))
    pods = bench.pods("followers", {"bootstrap.max_peers": "8"})
    # The volumes of followers on other nodes are no part of the leader's disk: in memory they stand in for those.
    elsewhere = bench.pods("elsewhere", where=pathlib.Path(tempfile.mkdtemp(prefix="seedpod-bench-", dir="/dev/shm")))
    try:
        leader = bench.serve(pods.add())
        bench.fill(leader, bench.n(COUNT, 1000), SIZE)
        followers = [pods.add() for _ in range(4)]
        copies, four = [], []
        remote = [elsewhere.add(), elsewhere.add()][1]
        got = bench.interleave({"one": lambda: together(bench, followers[:1]),
                                "two": lambda: together(bench, followers[:2]),
                                "four": lambda: copies.append(sent_copies(bench, leader, followers, four)) or four[-1]})
        what = "the processor's two cores and the disk are shared by the server and all inits"
        bench.compare("two followers at once, to one alone", got["two"], got["one"], "<= 2.0", "s", "one follower", note=what)
        bench.compare("four followers at once, to one alone", got["four"], got["one"], "<= 4.0", "s", "one follower", note=what)
        bench.row("the leader sends to four followers at once, of one snapshot", max(copies), "<= 2.0", "copies", max(copies),
                  spread={"ours": copies})
        both = [2 * x for x in got["one"]]
        bench.compare("two followers at once, to one after the other", got["two"], both, None, "s", "one, then the other")
        for pod in followers:
            empty(pod)
        got = bench.interleave({
            "without": lambda: p99_ms(bench, leader, puts),
            "same disk": lambda: p99_ms(bench, leader, puts, followers[0]),
            "same disk, 1 Gbit/s": lambda: p99_ms(bench, leader, puts, followers[0], LINK),
            "elsewhere": lambda: p99_ms(bench, leader, puts, remote),
            "1 Gbit/s": lambda: p99_ms(bench, leader, puts, remote, LINK)})
        for how, where in (("1 Gbit/s", "at 1 Gbit/s, volume elsewhere"),
                           ("same disk, 1 Gbit/s", "at 1 Gbit/s, same disk"),
                           ("elsewhere", "at full speed, volume elsewhere"), ("same disk", "at full speed, same disk")):
            bench.compare(f"p99 of {RATE} PUT/s during a seeding {where}", got[how], got["without"], "<= 2.0", "ms",
                          "without a seeding")
    finally:
        pods.close()
        elsewhere.close()
        shutil.rmtree(pods.root, ignore_errors=True)
        shutil.rmtree(elsewhere.root.parent, ignore_errors=True)
