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
        with peers.Redis(bench, 110) as redis, peers.nginx(bench, bench.work) as (nginx, nginx_pid):
            redis.fill(bench.n(SPACE, 1000), SIZE)
            targets = {"seedpod": (f"{pod.ip}:9876", "http", pod.server.pid),
                       "redis": (redis.address, "resp", redis.process.pid), "nginx": (nginx, "http", nginx_pid)}
            got, per_cpu = bench.rates({
                name: lambda name=name: bench.load_per_cpu(
                    [targets[name][2]], *targets[name][:2], 64, files[name], 10**7, 3 * min(1, bench.scale * 2))
                for name in targets})
            what = "GET of 100 bytes, 64 connections"
            for name, peer, rate, of_cpu in (("redis", "Redis", ">= 1.0", None),
                                             ("nginx", "nginx, answer in its configuration", None, ">= 1.0")):
                bench.compare(what, got["seedpod"], got[name], rate, "/s", peer)
                bench.compare(f"{what}, per CPU second", per_cpu["seedpod"], per_cpu[name], of_cpu, "per CPU s", peer)
    finally:
        pods.close()
