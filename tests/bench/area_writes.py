"""Target 4: durable PUT, beside Redis with appendfsync always and etcd through its HTTP gateway."""

import peers
import requests
from harness import KEY, median

SPACE = 100000
SIZE = 100


def batches(bench, seedpod, overwrites):
    """Keys a second through /v1/batch: a bulk load of new keys in order, and overwrites all over the store."""
    count = bench.n(500000, 10000) // 100 * 100
    begin = iter(range(10**6, 10**9, count))

    def load_new():
        first = next(begin)
        path = requests.write(bench.work / "batch.new",
                              requests.seedpod_batches([KEY % i for i in range(first, first + count)], 100, SIZE))
        report = bench.load(seedpod, "http", 8, path, count // 100, 20)
        path.unlink()
        return 100 * report["rate"]
    got = bench.interleave({
        "new": load_new,
        "overwrites": lambda: 100 * bench.load(seedpod, "http", 8, overwrites, 10**6, 3 * min(1, bench.scale * 2))["rate"]},
        warmup=True)
    for name, what in (("new", "new keys in order"), ("overwrites", "random overwrites")):
        bench.row(f"POST /v1/batch of 100, 8 connections, {what}", median(got[name]), ">= 200000", "keys/s",
                  median(got[name]), spread={"ours": got[name]})


def run(bench):
    names = requests.keys(bench.n(200000, 2000), SPACE)
    files = {
        "seedpod": requests.write(bench.work / "put.seedpod", requests.seedpod_puts(names, SIZE)),
        "redis": requests.write(bench.work / "put.redis", requests.redis_sets(names, SIZE)),
        "etcd": requests.write(bench.work / "put.etcd", requests.etcd_puts(names, SIZE)),
        "batch": requests.write(bench.work / "put.batch", requests.seedpod_batches(names, 100, SIZE)),
    }
    pods = bench.pods("writes")
    try:
        pod = bench.serve(pods.add())
        seedpod = f"{pod.ip}:9876"
        with peers.Redis(bench, 110) as redis, peers.etcd(bench) as etcd:
            targets = {"seedpod": (seedpod, "http"), "redis": (redis.address, "resp"), "etcd": (etcd, "http")}
            for connections, seconds in ((64, 4), (1, 2)):
                reports = {name: [] for name in targets}

                def measure(name):
                    address, protocol = targets[name]
                    report = bench.load(address, protocol, connections, files[name], 10**6, seconds * min(1, bench.scale * 2))
                    reports[name].append(report)
                    return report["rate"]
                got = bench.interleave({name: lambda name=name: measure(name) for name in targets}, warmup=True)
                many = f"PUT of {SIZE} bytes, {connections} connection{'s' if connections > 1 else ''}"
                bench.compare(many, got["seedpod"], got["redis"], ">= 1.0" if connections > 1 else ">= 0.8", "/s",
                              "Redis, appendfsync always")
                bench.compare(many, got["seedpod"], got["etcd"], ">= 5.0" if connections > 1 else None, "/s",
                              "etcd, HTTP gateway")
            batches(bench, seedpod, files["batch"])
    finally:
        pods.close()
