"""Mode raft: durable PUT and linearizable GET from 64 connections at the leader, three members beside three of etcd."""

import time

import peers
import requests
from podset import wait_until

SPACE = 10000
SIZE = 100
CONNECTIONS = 64


def run(bench):
    names = requests.keys(bench.n(100000, 2000), SPACE)
    files = {
        "put": (requests.write(bench.work / "put.seedpod", requests.seedpod_puts(names, SIZE)),
                requests.write(bench.work / "put.etcd", requests.etcd_puts(names, SIZE))),
        "get": (requests.write(bench.work / "get.seedpod", requests.seedpod_gets(names, "?consistency=linearizable")),
                requests.write(bench.work / "get.etcd", requests.etcd_gets(names))),
    }
    pods = bench.pods("raft", {"replication.mode": "raft", "bootstrap.max_peers": "3"})
    try:
        pods.scale(3)
        for pod in pods:
            pod.sidecar.stop()  # neither side has anything beside its members

        def leader():
            for pod in pods:
                position = pod.position()
                if position["role"] == "leader" and position["raft"]["voters"] == 3:
                    return pod
            return None
        wait_until(leader, 60, "a leader has three voters", pods)
        with peers.etcd_cluster(bench) as (etcd, etcd_pids):
            bench.fill(leader(), SPACE, SIZE)
            bench.load(etcd, "http", CONNECTIONS, files["put"][1], len(names), 5)
            for what, title, note in (
                    ("put", f"raft, three members: PUT of {SIZE} bytes, {CONNECTIONS} connections", "etcd, three members"),
                    ("get", f"raft, three members: linearizable GET of {SIZE} bytes, {CONNECTIONS} connections",
                     "etcd, three members")):
                def measure(pids, address, file):
                    report = bench.load_per_cpu(pids, address, "http", CONNECTIONS, file, 10**7,
                                                4 * min(1, bench.scale * 2))
                    time.sleep(0.3)  # what the members still write is not the next one's
                    return report
                got, per_cpu = bench.rates({
                    "seedpod": lambda: measure([pod.server.pid for pod in pods],
                                               f"{wait_until(leader, 20, 'a member leads', pods).ip}:9876", files[what][0]),
                    "etcd": lambda: measure(etcd_pids, etcd, files[what][1])})
                bench.compare(title, got["seedpod"], got["etcd"], ">= 2.0", "/s", note)
                bench.compare(f"{title}, per CPU second of all members", per_cpu["seedpod"], per_cpu["etcd"], None,
                              "per CPU s", note)
    finally:
        pods.close()
