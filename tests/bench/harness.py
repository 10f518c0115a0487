"""What the benchmark's areas share: where things are, rounds that wait for a quiet machine, commands with limits, rows.

An area is a module area_<name>.py with a function run(bench) that adds rows:

    bench.compare("GET, 64 connections", [...], [...], ">= 1.0", "/s", "Redis")    # ours, theirs

Every list holds one figure a round; rounds are interleaved, so that what else happens on the machine meets all alike.
A ratio is the median of the rounds' ratios, always ours to theirs such that "2.0" means what the target's words say.
"""

import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "local"))

import podset  # noqa: E402

NET = "127.0.7"  # seedpod's pods are .0 to .99 of it, peers come after
KEY = "key:%010d"


class BenchError(Exception):
    """Something could not be measured; the row says so."""


def median(values):
    return statistics.median(values)


def xrandom(n, size, seed=1):
    """n values of `size` random bytes, the same for every peer, made as they are asked for."""
    rng = random.Random(seed)
    for _ in range(n):
        yield rng.randbytes(size)


def cpu_times():
    """(busy, all) jiffies of the whole machine so far."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def foreign_load(seconds=0.3):
    """The share of the machine that somebody else is using, while we are still."""
    busy, total = cpu_times()
    time.sleep(seconds)
    busy2, total2 = cpu_times()
    return (busy2 - busy) / max(1, total2 - total)


def free_port_wait(address, port, timeout=20.0):
    """Wait until something accepts connections there."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise BenchError(f"nothing listens on {address}:{port} after {timeout:.0f} s") from None
            time.sleep(0.02)


def status_kib(pid, field):
    """A memory field of /proc/PID/status, in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def process_cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree_cpu_seconds(pid):
    """Processor time of a process and its living children, such as nginx's workers."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return process_cpu_seconds(pid) + sum(tree_cpu_seconds(int(child)) for child in children)


class PeakMemory:
    """The most resident memory that a process has while this is open, in KiB, beyond what it had before."""

    def __init__(self, pid, field="VmRSS"):
        self.pid, self.field = pid, field
        self.before = self.peak = status_kib(pid, field)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._end.wait(0.01):
            self.peak = max(self.peak, status_kib(self.pid, self.field))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    growth = property(lambda self: self.peak - self.before)


class Bench:
    def __init__(self, build, work, scale, rounds, quiet):
        self.build, self.work, self.scale, self.rounds, self.quiet = build, work, scale, rounds, quiet
        self.rows, self.curves = [], []
        self.area = ""
        self.waited, self.noisy = 0.0, 0
        self._stores = {}

    # --- saying ---

    def say(self, text):
        print(f"  {text}", flush=True)

    def n(self, full, least=1):
        """A count at this run's scale."""
        return max(least, int(full * self.scale))

    # --- rounds ---

    def wait_quiet(self, limit=6.0):
        """Let others finish: until less than a tenth of the machine is in use, at most `limit` seconds."""
        began = time.monotonic()
        while foreign_load() > 0.1:
            if time.monotonic() - began > (limit if self.quiet else 0):
                self.noisy += 1
                break
        self.waited += time.monotonic() - began

    def interleave(self, measures, rounds=None, warmup=False):
        """Each of {name: function} once a round, in turn and beginning with another each time: {name: [figures]}."""
        names = list(measures)
        figures = {name: [] for name in names}
        if warmup:
            for name in names:
                measures[name]()
        for number in range(rounds or self.rounds):
            for name in names[number % len(names):] + names[:number % len(names)]:
                self.wait_quiet()
                figures[name].append(measures[name]())
            self.say(f"round {number + 1}: " + "  ".join(f"{k} {show(v[-1])}" for k, v in figures.items()))
        return figures

    def rates(self, measures):
        """interleave() of functions that return load_per_cpu()'s report: ({name: requests a second}, {name: requests per
        second of the server's processor time})."""
        per_cpu = {name: [] for name in measures}

        def measure(name):
            report = measures[name]()
            per_cpu[name].append(report["per_cpu_second"])
            return report["rate"]
        got = self.interleave({name: lambda name=name: measure(name) for name in measures}, warmup=True)
        return got, {name: values[1:] for name, values in per_cpu.items()}

    # --- rows ---

    def row(self, name, figure, target, unit="", ours=None, theirs=None, peer="", note="", spread=None):
        """One line of the table. `figure` is what the target speaks of: "<= 1.25", ">= 200000", or None for no target."""
        met = None
        if target:
            sign, limit = target.split()
            met = figure <= float(limit) if sign == "<=" else figure >= float(limit)
        self.rows.append({"area": self.area, "name": name, "figure": figure, "target": target, "met": met,
                          "unit": unit, "ours": ours, "theirs": theirs, "peer": peer, "note": note,
                          "rounds": spread})
        self.say(f"{name}: {show(figure)}" + (f" (target {target}, {'met' if met else 'MISSED'})" if target else ""))

    def compare(self, name, ours, theirs, target, unit, peer, faster=False, note=""):
        """A row of a ratio. Rates: ours / theirs. Times: ours / theirs, or theirs / ours with `faster`."""
        ratios = [(b / a if faster else a / b) for a, b in zip(ours, theirs)]
        self.row(name, median(ratios), target, unit, median(ours), median(theirs), peer, note,
                 {"ours": ours, "theirs": theirs, "ratios": ratios})

    # --- commands ---

    def tool(self, name):
        return str(self.build / "bench" / name)

    def command(self, *argv, timeout=300, env=None, cwd=None, check=True):
        """Run and measure a command: {"wall", "user", "system", "peak_kib", "exit"}."""
        read, write = os.pipe()
        try:
            done = subprocess.run([self.tool("measure"), str(write), *map(str, argv)], pass_fds=[write],
                                  capture_output=True, timeout=timeout, env=env, cwd=cwd)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{argv[0]}: still running after {timeout} s") from None
        finally:
            os.close(write)
            with os.fdopen(read) as pipe:
                text = pipe.read()
        result = json.loads(text) if text else {"exit": done.returncode}
        if check and result["exit"] != 0:
            raise BenchError(f"{' '.join(map(str, argv))}: exit {result['exit']}: {done.stderr.decode()[-600:]}")
        result["stdout"], result["err"] = done.stdout, done.stderr.decode(errors="replace")
        return result

    def shell(self, script, **options):
        return self.command("sh", "-euc", script, **options)

    def load(self, address, protocol, connections, requests, count, seconds, rate=None, expect_failures=False):
        """The load generator's report as a dictionary."""
        argv = [self.tool("load"), address, protocol, connections, requests, count, seconds] + ([rate] if rate else [])
        done = subprocess.run([str(x) for x in argv], capture_output=True, text=True, timeout=seconds + 60)
        if done.returncode != 0:
            raise BenchError(f"load on {address}: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        if report["failed"] and not expect_failures:
            raise BenchError(f"{address}: {report['failed']} of {report['count']} requests failed")
        return report

    def load_per_cpu(self, pids, *load):
        """The report of load(*load), with "per_cpu_second": requests a second of processor time of the processes `pids`
        and their children. What the generator takes is in its own "cpu_seconds"."""
        before = sum(tree_cpu_seconds(pid) for pid in pids)
        report = self.load(*load)
        report["server_cpu_seconds"] = max(sum(tree_cpu_seconds(pid) for pid in pids) - before, 0.01)
        report["per_cpu_second"] = report["count"] / report["server_cpu_seconds"]
        return report

    def start_load(self, address, protocol, connections, requests, count, seconds, rate=None):
        argv = [self.tool("load"), address, protocol, connections, requests, count, seconds] + ([rate] if rate else [])
        return subprocess.Popen([str(x) for x in argv], stdout=subprocess.PIPE, text=True)

    # --- pods ---

    def pods(self, name, config=None, where=None):
        """A set of pods of this bench's network, with nothing running yet."""
        root = (where or self.work) / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        defaults = {"server.map_size": "64GiB", "bootstrap.max_peers": "4", "log.level": "warn"}
        return podset.PodSet(root, self.build, octet=7, name=name, config=defaults | (config or {}))

    def serve(self, pod, sidecar=False):
        """Start a pod's server alone (or with its sidecar), without init: (pod, its pid)."""
        pod.server.start()
        if sidecar:
            pod.sidecar.start()
        podset.wait_until(pod.position, 20, f"{pod.name} serves", pod.set)
        return pod

    def fill(self, pod, count, size, seed=1, text=None, batch=2000):
        """Put `count` values of `size` random bytes (or text(i)) through /v1/batch; what it took in seconds."""
        import base64
        began = time.monotonic()
        with pod.client(timeout=300) as client:
            lines = []
            for i, value in enumerate(xrandom(count, size, seed) if text is None else map(text, range(count))):
                encoded = base64.b64encode(value).decode()
                lines.append('{"op":"put","key":"%s","value64":"%s"}\n' % (KEY % i, encoded))
                if len(lines) == batch or i == count - 1:
                    reply = client.ask("POST", "/v1/batch", "".join(lines).encode())
                    if reply.status != 200:
                        raise BenchError(f"fill: {reply.status} {reply.body[:300]!r}")
                    lines = []
        return time.monotonic() - began


def show(value):
    """A figure for people."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
