"""Target 1: seeding 1,000,000 keys of 1,000 random bytes, beside everything that copies such a file over a network."""

import os
import shutil

import peers
from harness import NET, PeakMemory

COUNT = 1000000
SIZE = 1000


def empty(pod):
    """Give the pod an empty volume."""
    shutil.rmtree(pod.data_dir, ignore_errors=True)
    pod.data_dir.mkdir()
    pod.init.termination_log.parent.mkdir(parents=True, exist_ok=True)
    pod.init.log_path.parent.mkdir(parents=True, exist_ok=True)


def run_init(bench, pod):
    """Run init to its end: what measure says."""
    return bench.command(bench.build / "seedpod-init", "--config", pod.set.config_path, env=pod.init.environment(),
                         cwd=pod.dir)


def seed(bench, pod, synced=True):
    """Run init on an empty volume. `synced`: with nothing else left to be written to disk."""
    empty(pod)
    if synced:
        os.sync()
    return run_init(bench, pod)


def run(bench):
    count = bench.n(COUNT, 1000)
    pods = bench.pods("seeding")
    target = bench.work / "copied"
    try:
        leader = bench.serve(pods.add())
        took = bench.fill(leader, count, SIZE)
        size = (leader.store_dir / "data.mdb").stat().st_size
        bench.say(f"{count:,} keys of {SIZE} bytes: data.mdb has {size / 1e9:.3f} GB; filled in {took:.1f} s")
        follower = pods.add()
        memory, server_memory = [], []

        def ours():
            with PeakMemory(leader.server.pid) as peak:
                result = seed(bench, follower)
            memory.append(result["peak_kib"] / 1024)
            server_memory.append(peak.growth / 1024)
            return result["wall"]

        def copying(script):
            def measure():
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                os.sync()
                return bench.shell(script.format(target=target, store=leader.store_dir))["wall"]
            return measure

        with peers.nginx(bench, leader.store_dir) as (nginx, _), peers.rsyncd(bench, leader.store_dir) as rsyncd:
            nc = f"{NET}.115"
            measures = {
                "seedpod": ours,
                "nginx": copying("curl -sS -o {target}/data.mdb http://%s/data.mdb; sync {target}/data.mdb" % nginx),
                "mdb_copy": copying("mdb_copy {store} {target}; sync {target}/data.mdb"),
                "tar|nc": copying(
                    "(nc -l %s 7000 | tar -x -C {target}) & receiver=$!; "
                    "until tar -c -C {store} data.mdb | nc -N %s 7000 2>/dev/null; do :; done; "
                    "wait $receiver; sync {target}/data.mdb" % (nc, nc)),
                "rsync": copying("rsync -a %s {target}/; sync {target}/data.mdb" % rsyncd),
            }
            got = bench.interleave(measures)
        with peers.Postgres(bench) as postgres:
            postgres.fill(count, SIZE)
            got |= bench.interleave({"pg_basebackup": copying(
                "chown postgres {target}; setpriv --reuid postgres --regid postgres --clear-groups "
                "pg_basebackup -h %s -U postgres -D {target}/pg -X none -c fast" % postgres.host)})
        got |= redis_full_sync(bench, count)
        ours = got["seedpod"]
        add = bench.compare
        what = f"seeding {count:,} keys, {size / 1e9:.2f} GB"
        add(what, ours, got["nginx"], "<= 1.25", "s", "nginx sendfile, curl, sync")
        add(what, ours, got["tar|nc"], ">= 2.0", "s", "tar, nc, tar, sync", faster=True)
        add(what, ours, got["rsync"], None, "s", "rsync from a daemon, sync", faster=True)
        add(what, ours, got["redis"], ">= 6.0", "s", "Redis full sync, delay 0", faster=True)
        add(what, ours, got["mdb_copy"], "<= 1.1", "s", "mdb_copy on the same disk, sync")
        add(what, ours, got["pg_basebackup"], None, "s", "PostgreSQL's pg_basebackup", faster=True)
        bench.row(f"peak memory of init, {size / 1e9:.1f} GB", max(memory), "<= 24", "MiB", max(memory), spread={"ours": memory})
        bench.row(f"server's growth during a snapshot, {size / 1e9:.1f} GB", max(server_memory), "<= 8", "MiB", max(server_memory),
                  spread={"ours": server_memory})
    finally:
        pods.close()
        shutil.rmtree(pods.root, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)


def redis_full_sync(bench, count):
    """Until the replica has loaded it all; both without an append-only file, which would cost Redis more."""
    import time
    options = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]
    with peers.Redis(bench, 110, durable=False, options=options) as leader:
        leader.fill(count, SIZE)

        def measure():
            with peers.Redis(bench, 116, durable=False, options=options) as replica:
                os.sync()
                began = time.monotonic()
                replica.ask("REPLICAOF", leader.host, str(leader.port))
                replica.wait_synced()
                return time.monotonic() - began
        return bench.interleave({"redis": measure})
