"""The systems that seedpod is measured against, each started on an address of the bench's network and ended after."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

from harness import NET, BenchError, free_port_wait, xrandom, KEY


@contextlib.contextmanager
def process(argv, log, env=None):
    """A peer's process, ended with the block."""
    with open(log, "ab") as out:
        child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)], stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=out, env=env, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class Redis:
    """redis-server; persistence as appendonly yes and appendfsync always unless `durable` is false."""

    def __init__(self, bench, host, durable=True, options=()):
        self.host, self.port = f"{NET}.{host}", 6379
        self.address = f"{self.host}:{self.port}"
        self.dir = fresh(bench.work / f"redis-{host}")
        self.argv = ["redis-server", "--bind", self.host, "--port", str(self.port), "--dir", str(self.dir),
                     "--save", "", "--daemonize", "no", "--appendonly", "yes" if durable else "no",
                     "--appendfsync", "always", *options]
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self.process = self._stack.enter_context(process(self.argv, self.dir / "log"))
        free_port_wait(self.host, self.port)
        return self

    def __exit__(self, *_):
        self._stack.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ask(self, *words, timeout=600):
        """One command, its raw answer's first line."""
        from requests import resp
        with socket.create_connection((self.host, self.port), timeout) as s:
            s.sendall(resp(*words))
            return s.recv(1 << 16).decode(errors="replace")

    def info(self, name):
        for line in self.ask("INFO", "replication").splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
        return None

    def fill(self, count, size, seed=1):
        """The same content as Bench.fill(), pipelined."""
        from requests import resp
        with socket.create_connection((self.host, self.port), 60) as s:
            reader = s.makefile("rb")
            batch = []
            for i, value in enumerate(xrandom(count, size, seed)):
                batch.append(resp("SET", KEY % i, value))
                if len(batch) == 2000 or i == count - 1:
                    s.sendall(b"".join(batch))
                    for _ in batch:
                        if reader.readline() != b"+OK\r\n":
                            raise BenchError("redis: fill")
                    batch = []

    def wait_synced(self, timeout=300):
        deadline = time.monotonic() + timeout
        while self.info("master_link_status") != "up":
            if time.monotonic() > deadline:
                raise BenchError("redis: no full sync in time")
            time.sleep(0.01)


@contextlib.contextmanager
def etcd(bench, host=111):
    """One etcd member with its HTTP gateway; its own defaults, which are durable. Yields address and pid."""
    address = f"{NET}.{host}"
    home = fresh(bench.work / "etcd")
    client, peer = f"http://{address}:2379", f"http://{address}:2380"
    argv = ["etcd", "--name", "bench", "--data-dir", home / "data", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"bench={peer}", "--logger", "zap", "--log-level", "error"]
    with process(argv, home / "log", env=dict(os.environ, ETCD_UNSUPPORTED_ARCH="")) as child:
        free_port_wait(address, 2379)
        time.sleep(0.5)
        yield f"{address}:2379", child.pid
    shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def etcd_cluster(bench, members=3, host=115):
    """Members of one etcd cluster with their HTTP gateways. Yields the leader's address and the members' pids."""
    home = fresh(bench.work / "etcd")
    urls = {f"m{i}": (f"http://{NET}.{host + i}:2379", f"http://{NET}.{host + i}:2380") for i in range(members)}
    everybody = ",".join(f"{name}={peer}" for name, (_, peer) in urls.items())
    pids = []
    with contextlib.ExitStack() as stack:
        for name, (client, peer) in urls.items():
            argv = ["etcd", "--name", name, "--data-dir", home / name, "--listen-client-urls", client,
                    "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", everybody, "--logger", "zap", "--log-level", "error"]
            child = stack.enter_context(process(argv, home / f"{name}.log", env=dict(os.environ, ETCD_UNSUPPORTED_ARCH="")))
            pids.append(child.pid)
        deadline = time.monotonic() + 30
        while True:
            for client, _ in urls.values():
                try:
                    asked = urllib.request.Request(client + "/v3/maintenance/status", b"{}")
                    status = json.load(urllib.request.urlopen(asked, timeout=2))
                except OSError:
                    continue
                if status.get("leader", "0") == status["header"]["member_id"]:
                    yield client.removeprefix("http://"), pids
                    shutil.rmtree(home, ignore_errors=True)
                    return
            if time.monotonic() > deadline:
                raise BenchError("etcd: no leader after 30 s")
            time.sleep(0.1)


@contextlib.contextmanager
def nginx(bench, root, answer="x" * 100, host=112):
    """Yields address and pid: nginx with sendfile over `root`, and 100 bytes from its configuration under /answer."""
    address = f"{NET}.{host}"
    home = fresh(bench.work / "nginx")
    (home / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; error_log {home}/error.log; pid {home}/pid; user root;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/octet-stream;
  client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
  uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
  server {{ listen {address}:8080; root {root}; location = /answer {{ return 200 "{answer}"; }} }}
}}
""")
    with process(["nginx", "-p", home, "-c", home / "nginx.conf"], home / "log") as child:
        free_port_wait(address, 8080)
        yield f"{address}:8080", child.pid
    shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def rsyncd(bench, root, host=113):
    address = f"{NET}.{host}"
    home = fresh(bench.work / "rsyncd")
    (home / "rsyncd.conf").write_text(f"uid = root\ngid = root\nuse chroot = no\nlock file = {home}/lock\n"
                                      f"[store]\npath = {root}\nread only = yes\n")
    with process(["rsync", "--daemon", "--no-detach", "--address", address, "--port", "8730", "--config",
                  home / "rsyncd.conf"], home / "log"):
        free_port_wait(address, 8730)
        yield f"rsync://{address}:8730/store/"
    shutil.rmtree(home, ignore_errors=True)


class Postgres:
    """A PostgreSQL cluster with one table of the same amount of random data, for pg_basebackup."""

    def __init__(self, bench, host=114):
        self.host = f"{NET}.{host}"
        self.dir = bench.work / "postgres"
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self._stack = contextlib.ExitStack()

    def as_user(self, *argv, timeout=300):
        done = subprocess.run(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--",
                               *map(str, argv)], capture_output=True, text=True, timeout=timeout, cwd="/")
        if done.returncode != 0:
            raise BenchError(f"postgres: {argv[0]}: {done.stderr[-500:]}")
        return done.stdout

    def __enter__(self):
        fresh(self.dir)
        shutil.chown(self.dir, "postgres", "postgres")
        self.as_user(self.bin / "initdb", "-D", self.dir / "data", "-A", "trust", "-U", "postgres", "--no-sync")
        self._stack.enter_context(process(
            ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", self.bin / "postgres",
             "-D", self.dir / "data", "-h", self.host, "-k", self.dir, "-c", "max_wal_size=8GB", "-c",
             "shared_buffers=256MB"], self.dir / "log"))
        free_port_wait(self.host, 5432, 30)
        return self

    def __exit__(self, *_):
        self._stack.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def sql(self, text, timeout=300):
        return self.as_user("psql", "-h", self.host, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtc", text,
                            timeout=timeout)

    def fill(self, count, size):
        deadline = time.monotonic() + 30
        while True:
            try:
                self.sql("CREATE EXTENSION IF NOT EXISTS pgcrypto")
                break
            except BenchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.sql(f"CREATE TABLE kv AS SELECT lpad(i::text, 14, '0') AS key, gen_random_bytes({size}) AS value "
                 f"FROM generate_series(1, {count}) i; CHECKPOINT")
