#!/usr/bin/env python3
"""A server in a container of little memory: what it gives to bodies, answers and changes follows from the cgroup's limit, so
that too much at once is refused and the kernel ends nobody. In a real cgroup; skipped where none can be made. # slow file
"""

import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

MIB = 1 << 20
LIMIT = 32 * MIB


class Cgroup:
    """A memory cgroup below the one that this machine's hierarchy begins with; v1 or v2."""

    def __init__(self, name, limit):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        self.is_v1 = (v1 / "memory.limit_in_bytes").exists()
        if self.is_v1:
            self.path = v1 / name
        elif "memory" in (v2 / "cgroup.subtree_control").read_text().split() if (v2 / "cgroup.subtree_control").exists() else False:
            self.path = v2 / name
        else:
            raise OSError("no memory controller is delegated here")
        self.path.mkdir()
        self.write("memory.limit_in_bytes" if self.is_v1 else "memory.max", limit)

    def write(self, name, value):
        (self.path / name).write_text(f"{value}\n")

    def kills(self):
        text = (self.path / ("memory.oom_control" if self.is_v1 else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def remove(self):
        wait_until(lambda: not (self.path / "cgroup.procs").read_text().strip(), 20, "the cgroup is empty")
        self.path.rmdir()


class Limited(support.PodTest):
    def limited_pod(self):
        support.need_root("a cgroup is made")
        if support.SANITIZE:
            self.skipTest("a sanitizer's own memory is more than the limit")
        try:
            self.cgroup = Cgroup(f"seedpod-test-{os.getpid()}", LIMIT)
        except OSError as problem:
            self.skipTest(f"no memory cgroup can be made here: {problem}")
        self.addCleanup(self.cgroup.remove)
        pod = self.pod_set().add()
        pod.server.wrap = ["sh", "-c", f'echo $$ >{self.cgroup.path}/cgroup.procs && exec "$@"', "sh"]
        self.addCleanup(lambda: pod.server.kill() if pod.server.running else None)
        pod.start_serving()
        return pod

    def at_once(self, count, ask):
        statuses = []

        def one(n):
            try:
                statuses.append(ask(n).status)
            except OSError as problem:
                statuses.append(repr(problem))

        threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * support.SLOW)
        return statuses

    def test_large_values_at_once_are_refused_and_the_server_lives(self):
        pod = self.limited_pod()
        self.assertRegex(pod.server.log, f'msg="memory is shared out" limit={LIMIT} source=/.*{self.cgroup.path.name}/')
        value = os.urandom(7 * MIB)
        # One at a time they all fit.
        self.assertEqual([pod.put(f"single-{n}", value).status for n in range(3)], [204] * 3)
        refused = 0
        for _ in range(3):
            statuses = self.at_once(12, lambda n: pod.put(f"large-{n}", value))
            self.assertEqual([s for s in statuses if s not in (204, 503)], [])
            refused += statuses.count(503)
        self.assertGreater(refused, 0)
        statuses = self.at_once(12, lambda n: pod.get("/v1/kv/single-0"))
        self.assertEqual([s for s in statuses if s not in (200, 503)], [])
        # It takes what fits again, and nobody was ended.
        wait_until(lambda: pod.put("after", value).status == 204, 20, "a value fits again")
        self.assertTrue(pod.get("/v1/kv/after").body == value)
        self.assertEqual(self.cgroup.kills(), 0)

    def test_many_small_writes_stay_within_it(self):
        pod = self.limited_pod()
        for round_number in range(8):
            pod.load(((f"{round_number}-{n:06}", "x" * 1000) for n in range(8000)), batch=1000)
        self.assertEqual(pod.position()["keys"], 64000)
        self.assertEqual(self.cgroup.kills(), 0)

    def test_a_batch_that_never_fits_is_413(self):
        pod = self.limited_pod()
        line = b'{"op":"put","key":"batch-%d","value":"' + b"x" * MIB + b'"}\n'
        self.assertEqual(pod.ask("POST", "/v1/batch", b"".join(line % n for n in range(15))).status, 413)
        self.assertEqual(pod.ask("POST", "/v1/batch", b"".join(line % n for n in range(8))).status, 413)
        self.assertEqual(pod.ask("POST", "/v1/batch", b"".join(line % n for n in range(3))).status, 200)
        self.assertEqual(self.cgroup.kills(), 0)


if __name__ == "__main__":
    support.main()
