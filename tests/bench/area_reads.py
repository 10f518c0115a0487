"""Target 5: GET of 100 bytes from 64 connections, beside Redis, and nginx that answers from its configuration."""

import peers
import requests

SPACE = 100000
SIZE = 100


def run(bench):
    names = requests.keys(bench.n(100000, 2000), bench.n(SPACE, 1000))
    files = {
        "seedpod": requests.write(bench.work / "get.seedpod", requests.seedpod_gets(names)),
        "redis": requests.write(bench.work / "get.redis", requests.redis_gets(names)),
        "nginx": requests.write(bench.work / "get.nginx", [requests.http("GET", "/answer")] * 1000),
    }
    pods = bench.pods("reads")
    try:
        pod = bench.serve(pods.add())
        bench.fill(pod, bench.n(SPACE, 1000), SIZE)
        with peers.Redis(bench, 110) as redis, peers.nginx(bench, bench.work) as nginx:
            redis.fill(bench.n(SPACE, 1000), SIZE)
            targets = {"seedpod": (f"{pod.ip}:9876", "http"), "redis": (redis.address, "resp"), "nginx": (nginx, "http")}

            def measure(name):
                address, protocol = targets[name]
                return bench.load(address, protocol, 64, files[name], 10**7, 3 * min(1, bench.scale * 2))["rate"]
            got = bench.interleave({name: lambda name=name: measure(name) for name in targets}, warmup=True)
            bench.compare("GET of 100 bytes, 64 connections", got["seedpod"], got["redis"], ">= 1.0", "/s", "Redis")
            bench.compare("GET of 100 bytes, 64 connections", got["seedpod"], got["nginx"], ">= 0.8", "/s",
                          "nginx, answer in its configuration")
    finally:
        pods.close()
