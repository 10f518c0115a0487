#!/usr/bin/env python3
"""Memory that runs out: an allocation that fails ends in an exit code with a message, or in nothing; never in a signal."""

import collections
import http.client
import mmap
import os
import pathlib
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

SHIM = support.BUILD / "faults" / "badmalloc.so"
TRIES = 80  # of the allocations of each command, evenly spread
SERVING_TRIES = int(os.environ.get("SEEDPOD_TEST_MEMORY", "12"))  # … of each request to a server
OUT_OF_MEMORY = 71
LIBARCHIVE = "Fatal Internal Error in libarchive: Out of memory"  # it ends the process by itself, with 1


class BadMemory(support.PodTest):
    @classmethod
    def setUpClass(cls):
        if not SHIM.exists():
            raise unittest.SkipTest("badmalloc.so is not built: make faults")
        if support.SANITIZE:
            raise unittest.SkipTest("a sanitizer has an allocator of its own")
        if support.podset.COUNTING:
            raise unittest.SkipTest("what counts the lines reached allocates at the end, and does not bear a failure")


class Memory(BadMemory):
    def run_with(self, command, **environment):
        return subprocess.run(command, capture_output=True, text=True, timeout=30 * support.SLOW,
                              env=os.environ | {"POD_NAME": "store-0", "LD_PRELOAD": str(SHIM)} | environment)

    def sweep(self, *command):
        """Have one allocation after the other fail, each in a run of its own."""
        count = self.dir / "count"
        whole = self.run_with(command, BADMALLOC_COUNT=str(count))
        self.assertEqual(whole.returncode, 0, whole.stderr)
        number, codes = int(count.read_text()), collections.Counter()
        for at in range(1, number + 1, max(1, number // TRIES)):
            done = self.run_with(command, BADMALLOC_AT=str(at))
            codes[done.returncode] += 1
            self.assertIn(done.returncode, (0, OUT_OF_MEMORY), f"allocation {at} of {number}: {done.stderr}")
            if done.returncode == 0:
                self.assertEqual(done.stdout, whole.stdout, f"allocation {at} of {number} failed unnoticed")
            else:
                self.assertNotEqual(done.stderr, "", f"allocation {at} of {number}: no word about it")
        print(f"# {' '.join(command[1:2])}: {number} allocations, exits {dict(codes)}", flush=True)
        self.assertGreater(codes[OUT_OF_MEMORY], 0)

    def test_verify_and_position_of_a_store(self):
        pod = self.pod_set(1).leader
        pod.load((f"key-{n}", "x" * 100) for n in range(500))
        pod.stop()
        for what in ("--verify", "--position"):
            self.sweep(str(support.BUILD / "seedpod-server"), what, "--store", str(pod.store_dir))

    def test_the_configuration(self):
        self.sweep(str(support.BUILD / "seedpod-server"), "--print", "--config", str(self.pod_set().config_path))


class Shared:
    """What badmalloc.so counts in a process that goes on, and which of its allocations fail."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(24))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 24)

    def calls(self):
        return struct.unpack_from("q", self.memory, 0)[0]

    def fail(self, after, count):
        """Of the allocations from now on, `after` go well, then `count` fail."""
        first = self.calls() + 1 + after
        struct.pack_into("q", self.memory, 8, 0)  # none while the two change
        struct.pack_into("q", self.memory, 16, first + count)
        struct.pack_into("q", self.memory, 8, first)

    def well(self):
        struct.pack_into("qq", self.memory, 8, 0, 0)


class Serving(BadMemory):
    """A server whose memory runs out while it serves: a refusal or no answer; never a wrong one, nothing lost."""

    def start(self):
        pods = self.pod_set(0)
        self.leader = pods.add()
        self.shared = Shared(self.dir / "memory")
        self.leader.environment = {"LD_PRELOAD": str(SHIM), "BADMALLOC_SHARED": str(self.shared.path)}
        self.leader.start_serving()
        self.leader.load((f"key-{n:04d}", "x" * 100) for n in range(300))
        self.listed = {"key" + chr(97 + n % 26) * (n // 26 + 1) for n in range(300)}  # /keys has those of [a-z]+ alone
        self.leader.load((key, "x") for key in sorted(self.listed))
        # What each key may hold: one value after an answer; before one, what was tried as well.
        self.maybe = {f"key-{n:04d}": {b"x" * 100} for n in range(300)}
        self.number = 0

    def ask(self, method, path, body=None, control=False):
        """The reply, or None where the connection ended without one."""
        try:
            return (self.leader.ask_control if control else self.leader.ask)(method, path, body)
        except (OSError, http.client.HTTPException):
            return None

    def put(self):
        self.number += 1
        key, value = f"put-{self.number % 7}", b"%d" % self.number
        self.maybe.setdefault(key, {None}).add(value)
        reply = self.ask("PUT", f"/v1/kv/{key}", value)
        if reply and reply.status == 204:
            self.maybe[key] = {value}
        return reply

    def batch(self):
        self.number += 1
        values = {f"batch-{n}": b"%d" % self.number for n in range(3)}
        for key, value in values.items():
            self.maybe.setdefault(key, {None}).add(value)
        reply = self.ask("POST", "/v1/batch", "".join(
            '{"op":"put","key":"%s","value":"%s"}\n' % (k, v.decode()) for k, v in values.items()).encode())
        if reply and reply.status == 200:
            self.maybe |= {k: {v} for k, v in values.items()}
        return reply

    def get(self):
        reply = self.ask("GET", "/v1/kv/key-0007")
        if reply and reply.status == 200:
            self.assertEqual(reply.body, b"x" * 100)
        return reply

    def list(self):
        reply = self.ask("GET", "/v1/kv?prefix=key-&limit=300")
        if reply and reply.status == 200:
            self.assertEqual([item["key"] for item in reply.json()["items"]], [f"key-{n:04d}" for n in range(300)])
        return reply

    def keys(self):
        reply = self.ask("GET", "/keys")
        if reply and reply.status == 200:
            self.assertLessEqual(self.listed, set(reply.json()))
        return reply

    def changes(self):
        reply = self.ask("GET", "/v1/changes?since=0")
        if reply and reply.status == 200:
            self.assertIn(b"key-0299", reply.body)
            self.assertIn(b'"cut"', reply.body.splitlines()[-1])
        return reply

    def snapshot(self):
        reply = self.ask("GET", "/v1/snapshot")
        if reply and reply.status == 200:
            self.assertIn(b"seedpod.sums", reply.body[-4096:])
        return reply

    def position(self):
        reply = self.ask("GET", "/v1/position")
        if reply and reply.status == 200:
            self.assertGreaterEqual(reply.json()["keys"], 300)
        return reply

    def digest(self):
        reply = self.ask("GET", "/digest", control=True)
        if reply and reply.status == 200:
            self.assertEqual(len(reply.json()["digest"]), 32)
        return reply

    def metrics(self):
        reply = self.ask("GET", "/metrics", control=True)
        if reply and reply.status == 200:
            self.assertTrue(reply.body.decode().endswith("\n"))
        return reply

    def come_back(self):
        """It ended itself: with a code that says so, and what is there is found by the next one."""
        code = self.leader.server.wait(10)
        log = self.leader.server.log[-2000:]
        if LIBARCHIVE not in log.splitlines()[-1]:
            self.assertIn(code, (OUT_OF_MEMORY, 74), log)
        self.leader.server.start()
        wait_until(self.leader.position, 20, "the server is back", self.leader.set)
        return f"exit {code}"

    def check(self):
        for key, values in self.maybe.items():
            reply = self.leader.get(f"/v1/kv/{key}")
            found = reply.body if reply.status == 200 else None
            self.assertIn(found, values, key)
            self.maybe[key] = {found}
        told = self.leader.ask_control("GET", "/digest").json()["digest"]
        self.assertEqual(told, self.leader.position()["digest"])

    def outcome(self, verb, after, count):
        self.shared.fail(after, count)
        reply = verb()
        self.shared.well()
        if reply is not None:
            self.assertIn(reply.status, (200, 204, 500, 503), reply.body)
            return str(reply.status)
        # A process that ends answers nobody any more; one that does has only closed that connection.
        return "no answer" if self.ask("GET", "/v1/position") else self.come_back()

    def test_each_allocation_of_each_request(self):
        self.start()
        for verb in (self.put, self.batch, self.get, self.list, self.keys, self.changes, self.snapshot, self.position,
                     self.digest, self.metrics):
            with self.subTest(verb=verb.__name__):
                self.assertIn(verb().status, (200, 204))
                before = self.shared.calls()
                self.assertIn(verb().status, (200, 204))
                number, outcomes = self.shared.calls() - before, collections.Counter()
                for after in range(0, number + 2, max(1, number // SERVING_TRIES)):
                    outcomes[self.outcome(verb, after, 1)] += 1
                # And all of them at once, as where there is none left.
                outcomes["none left: " + self.outcome(verb, 0, 1 << 40)] += 1
                print(f"# {verb.__name__}: about {number} allocations, {dict(outcomes)}", flush=True)
                self.check()
                self.assertGreater(sum(outcomes.values()) - outcomes["200"] - outcomes["204"], 0, "none failed")
        self.leader.stop()
        self.leader.start_serving()
        self.check()


if __name__ == "__main__":
    support.main()
