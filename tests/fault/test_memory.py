#!/usr/bin/env python3
"""Memory that runs out: an allocation that fails ends in an exit code with a message, or in nothing; never in a signal."""

import collections
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402

SHIM = support.BUILD / "faults" / "badmalloc.so"
TRIES = 80  # of the allocations of each command, evenly spread
OUT_OF_MEMORY = 71


class Memory(support.PodTest):
    @classmethod
    def setUpClass(cls):
        if not SHIM.exists():
            raise unittest.SkipTest("badmalloc.so is not built: make faults")
        if support.SANITIZE:
            raise unittest.SkipTest("a sanitizer has an allocator of its own")

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


if __name__ == "__main__":
    support.main()
