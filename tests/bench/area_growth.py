"""Target 9: curves from 10^4 to 10^7 keys of 100 bytes."""

import shutil
import time

import requests
from area_catchup import idle_cost, write
from area_seeding import seed
from harness import KEY, median, process_cpu_seconds

SIZES = [10**4, 10**5, 10**6, 10**7]
SIZE = 100
SECONDS = 3


def grow(bench, leader, fewer, more):
    """Add the keys from `fewer` to `more`, in order."""
    for begin in range(fewer, more, 500000):
        write(bench, leader, [KEY % i for i in range(begin, min(begin + 500000, more))])


def measure(bench, pods, count):
    leader, follower = pods[0], pods[1]
    names = requests.keys(100000, count)
    gets = requests.write(bench.work / "growth.get", requests.seedpod_gets(names))
    puts = requests.write(bench.work / "growth.put", requests.seedpod_puts(names, SIZE))
    address = f"{leader.ip}:9876"
    seconds = SECONDS * min(1, bench.scale * 2)
    leader.get("/v1/kv?limit=1")  # a list has the journal's changes flushed: the file has all of them
    size = (leader.store_dir / "data.mdb").stat().st_size
    got = bench.interleave({
        "seed": lambda: size / seed(bench, follower)["wall"],
        "get": lambda: bench.load(address, "http", 64, gets, 10**7, seconds)["rate"],
        "put": lambda: bench.load(address, "http", 64, puts, 10**6, seconds)["rate"]}, rounds=3)
    return {"keys": count, "bytes": size, "get": median(got["get"]), "put": median(got["put"]), "seed": median(got["seed"])}


def idle(bench, pods):
    """A follower joins and idles: processor time of its sidecar and of the leader, in percent of a core."""
    follower = pods[1]
    follower.start()
    pods.wait_ready(pods=[follower], timeout=120)
    time.sleep(1)
    before, began = process_cpu_seconds(follower.sidecar.pid), time.monotonic()
    records, leader = idle_cost(pods)
    sidecar = 100 * (process_cpu_seconds(follower.sidecar.pid) - before) / (time.monotonic() - began)
    follower.stop()
    return {"idle_leader": leader, "idle_sidecar": sidecar, "idle_records": records}


def run(bench):
    pods = bench.pods("growth")
    sizes = [max(1000, int(n * bench.scale)) for n in SIZES]
    try:
        leader = bench.serve(pods.add())
        leader.phase = "running"
        pods.add()
        points, fewer = [], 0
        for count in sizes:
            grow(bench, leader, fewer, count)
            fewer = count
            point = measure(bench, pods, count)
            point |= idle(bench, pods)
            points.append(point)
            bench.say(f"{count:>12,} keys, {point['bytes'] / 1e6:8.1f} MB: GET {point['get']:,.0f}/s, PUT {point['put']:,.0f}/s, "
                      f"seeding {point['seed'] / 1e6:,.0f} MB/s, idle: leader {point['idle_leader']:.2f} %, "
                      f"sidecar {point['idle_sidecar']:.2f} %, {point['idle_records']:.0f} records read")
        bench.curves.append({"area": bench.area, "points": points})
        first, last = points[0], points[-1]
        for name, what in (("get", "GET"), ("put", "PUT")):
            bench.row(f"{what} at {last['keys']:,} keys, to that at {first['keys']:,}", last[name] / first[name], None, "/s",
                      last[name], first[name], "itself, small")
        bench.row(f"idle leader at {last['keys']:,} keys", last["idle_leader"], None, "% of a core", last["idle_leader"],
                  first["idle_leader"], "itself, small", note=f"{last['idle_records']:.0f} records read")
    finally:
        pods.close()
        shutil.rmtree(pods.root, ignore_errors=True)
