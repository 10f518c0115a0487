"""Target 1's memory at 8 GB. Not among what `make bench` measures by itself: BENCH=large asks for it."""

import shutil

from area_seeding import seed
from harness import PeakMemory

COUNT = 5900000
SIZE = 1000


def run(bench):
    pods = bench.pods("large")
    try:
        leader = bench.serve(pods.add())
        bench.fill(leader, bench.n(COUNT, 1000), SIZE)
        size = (leader.store_dir / "data.mdb").stat().st_size / 1e9
        follower = pods.add()
        with PeakMemory(leader.server.pid) as peak:
            result = seed(bench, follower)
        bench.say(f"{size:.2f} GB in {result['wall']:.1f} s")
        bench.row(f"peak memory of init, {size:.1f} GB", result["peak_kib"] / 1024, "<= 24", "MiB")
        bench.row(f"server's growth during a snapshot, {size:.1f} GB", peak.growth / 1024, "<= 8", "MiB")
    finally:
        pods.close()
        shutil.rmtree(pods.root, ignore_errors=True)
