"""Target 3: seeding compressible data over a link of 1 Gbit/s (init's rate_limit), with zstd and without."""

import pathlib
import random
import shutil
import subprocess

from area_seeding import seed

BYTES = 400_000_000
LINK = 125_000_000  # bytes a second


def texts():
    """The descriptions of Debian's packages that this machine knows: real text, a kilobyte or so each."""
    parts = []
    for path in sorted(pathlib.Path("/var/lib/apt/lists").glob("*Packages*")):
        done = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True)
        parts += done.stdout.split(b"\n\n")
    if len(parts) < 10000:
        parts += pathlib.Path("/var/lib/dpkg/status").read_bytes().split(b"\n\n")
    return [p for p in parts if p]


def run(bench):
    parts = texts()
    rng = random.Random(7)
    rng.shuffle(parts)
    mean = sum(map(len, parts)) / len(parts)
    count = max(1000, int(BYTES * bench.scale / mean))
    bench.say(f"{count:,} values out of {len(parts):,} package descriptions of {mean:.0f} bytes on average")
    pods = bench.pods("compression", {"bootstrap.rate_limit": str(LINK)})
    try:
        leader = bench.serve(pods.add())
        bench.fill(leader, count, 0, text=lambda i: parts[i % len(parts)])
        follower = pods.add()

        def measure(how):
            pods.edit_config({"bootstrap.compression": how})
            return seed(bench, follower)["wall"]
        got = bench.interleave({"zstd": lambda: measure("zstd"), "none": lambda: measure("none")})
        size = (leader.store_dir / "data.mdb").stat().st_size
        bench.compare(f"seeding {size / 1e6:.0f} MB of text over 1 Gbit/s, zstd", got["zstd"], got["none"], ">= 2.5", "s",
                      "without compression", faster=True)
    finally:
        pods.close()
        shutil.rmtree(pods.root, ignore_errors=True)
