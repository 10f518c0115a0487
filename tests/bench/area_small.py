"""Target 8: how little there is of it when it has nothing to do."""

import shutil
import subprocess
import time

import requests
from harness import median, process_cpu_seconds, status_kib

IDLE_SECONDS = 20


def stripped_size(bench, program):
    copy = bench.work / program
    shutil.copy(bench.build / program, copy)
    subprocess.run(["strip", str(copy)], check=True)
    size = copy.stat().st_size
    copy.unlink()
    return size


def first_answer_ms(container, address, port, path):
    """From the process's start to the first answer, whatever it says."""
    import socket
    container.start()
    began = time.monotonic()
    while True:
        try:
            with socket.create_connection((address, port), 1) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
                if s.recv(16).startswith(b"HTTP/1.1"):
                    return (time.monotonic() - began) * 1000
        except OSError:
            if time.monotonic() - began > 10:
                raise
            time.sleep(0.0005)


def run(bench):
    for program in ("seedpod-init", "seedpod-server", "seedpod-sidecar"):
        bench.row(f"{program}, stripped", stripped_size(bench, program) / 1024, None, "KiB")
    idle_seconds = max(5, IDLE_SECONDS * min(1, bench.scale))
    pods = bench.pods("small")
    try:
        pods.scale(2)
        pods.wait_ready()
        follower = pods[1]
        time.sleep(1)
        bench.wait_quiet()
        before = process_cpu_seconds(follower.sidecar.pid), process_cpu_seconds(follower.server.pid), time.monotonic()
        time.sleep(idle_seconds)
        elapsed = time.monotonic() - before[2]
        cpu = 100 * (process_cpu_seconds(follower.sidecar.pid) - before[0]) / elapsed
        bench.row("idle sidecar of a follower, private memory", status_kib(follower.sidecar.pid, "RssAnon") / 1024, "<= 4", "MiB",
                  note=f"resident, with shared libraries: {status_kib(follower.sidecar.pid, 'VmRSS') / 1024:.1f} MiB")
        bench.row("idle sidecar of a follower, of a core", cpu, "<= 0.2", "%")
        bench.row("server with an empty store, private memory", status_kib(pods[0].server.pid, "RssAnon") / 1024, None, "MiB",
                  note=f"resident, with shared libraries: {status_kib(pods[0].server.pid, 'VmRSS') / 1024:.1f} MiB")
        ready = requests.write(bench.work / "readyz", [requests.http("GET", "/readyz")])
        address = f"{follower.ip}:9877"

        def readyz():
            cpu_before = process_cpu_seconds(follower.sidecar.pid)
            report = bench.load(address, "http", 1, ready, bench.n(20000, 500), 10)
            costs.append((process_cpu_seconds(follower.sidecar.pid) - cpu_before) / report["count"] * 1000)
            return report["p50_us"] / 1000
        costs = []
        waits = bench.interleave({"/readyz": readyz})["/readyz"]
        bench.row("/readyz, processor time", median(costs), "<= 0.2", "ms", spread={"ours": costs})
        bench.row("/readyz, its answer's time, p50", median(waits), "<= 0.2", "ms", spread={"ours": waits})
        starts(bench, pods)
    finally:
        pods.close()


def starts(bench, pods):
    follower = pods[1]

    def server():
        follower.server.stop()
        bench.wait_quiet(5)
        return first_answer_ms(follower.server, follower.ip, 9876, "/v1/position")

    def sidecar():
        follower.sidecar.stop()
        bench.wait_quiet(5)
        return first_answer_ms(follower.sidecar, follower.ip, 9877, "/livez")
    got = bench.interleave({"server": server, "sidecar": sidecar})
    bench.row("server, start to first answer", median(got["server"]), "<= 30", "ms", spread={"ours": got["server"]})
    bench.row("sidecar, start to first answer", median(got["sidecar"]), "<= 30", "ms", spread={"ours": got["sidecar"]})
