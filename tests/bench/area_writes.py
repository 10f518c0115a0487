"""Target 4: durable PUT, beside Redis with appendfsync always and etcd through its HTTP gateway."""

import peers
import requests
from harness import KEY, median

SPACE = 100000
SIZE = 100


def batches(bench, seedpod, redis, overwrites, pipelines):
    """Keys a second through /v1/batch: a bulk load of new keys in order, and overwrites all over the store, these beside
    as many SETs that are sent to Redis together."""
    count = bench.n(500000, 10000) // 100 * 100
    begin = iter(range(10**6, 10**9, count))
    seconds = 3 * min(1, bench.scale * 2)

    def load_new():
        first = next(begin)
        path = requests.write(bench.work / "batch.new",
                              requests.seedpod_batches([KEY % i for i in range(first, first + count)], 100, SIZE))
        report = bench.load(seedpod, "http", 8, path, count // 100, 20)
        path.unlink()
        return 100 * report["rate"]
    got = bench.interleave({
        "new": load_new,
        "overwrites": lambda: 100 * bench.load(seedpod, "http", 8, overwrites, 10**6, seconds)["rate"],
        "redis": lambda: 100 * bench.load(redis, "pipeline", 8, pipelines, 10**6, seconds)["rate"]}, warmup=True)
    bench.row("POST /v1/batch of 100, 8 connections, new keys in order", median(got["new"]), ">= 200000", "keys/s",
              median(got["new"]), spread={"ours": got["new"]})
    bench.compare("POST /v1/batch of 100, 8 connections, random overwrites", got["overwrites"], got["redis"], ">= 1.0",
                  "keys/s", "Redis, appendfsync always, 100 SETs sent together")


def run(bench):
    names = requests.keys(bench.n(200000, 2000), SPACE)
    files = {
        "seedpod": requests.write(bench.work / "put.seedpod", requests.seedpod_puts(names, SIZE)),
        "redis": requests.write(bench.work / "put.redis", requests.redis_sets(names, SIZE)),
        "etcd": requests.write(bench.work / "put.etcd", requests.etcd_puts(names, SIZE)),
        "pipeline": requests.write(bench.work / "put.pipeline", requests.redis_pipelines(names, 100, SIZE)),
        "batch": requests.write(bench.work / "put.batch", requests.seedpod_batches(names, 100, SIZE)),
    }
    pods = bench.pods("writes")
    try:
        pod = bench.serve(pods.add())
        seedpod = f"{pod.ip}:9876"
        with peers.Redis(bench, 110) as redis, peers.etcd(bench) as (etcd, etcd_pid):
            targets = {"seedpod": (seedpod, "http", pod.server.pid), "redis": (redis.address, "resp", redis.process.pid),
                       "etcd": (etcd, "http", etcd_pid)}
            for connections, seconds in ((64, 4), (1, 2)):
                got, per_cpu = bench.rates({
                    name: lambda name=name: bench.load_per_cpu(
                        [targets[name][2]], *targets[name][:2], connections, files[name], 10**6,
                        seconds * min(1, bench.scale * 2))
                    for name in targets})
                many = f"PUT of {SIZE} bytes, {connections} connection{'s' if connections > 1 else ''}"
                bench.compare(many, got["seedpod"], got["redis"], ">= 1.0" if connections > 1 else ">= 0.8", "/s",
                              "Redis, appendfsync always")
                bench.compare(many, got["seedpod"], got["etcd"], ">= 5.0" if connections > 1 else None, "/s",
                              "etcd, HTTP gateway")
                bench.compare(f"{many}, per CPU second", per_cpu["seedpod"], per_cpu["redis"],
                              ">= 1.0" if connections > 1 else None, "per CPU s", "Redis, appendfsync always")
                bench.compare(f"{many}, per CPU second", per_cpu["seedpod"], per_cpu["etcd"], None, "per CPU s",
                              "etcd, HTTP gateway")
            batches(bench, seedpod, redis.address, files["batch"], files["pipeline"])
    finally:
        pods.close()
