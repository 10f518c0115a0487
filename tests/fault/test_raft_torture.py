#!/usr/bin/env python3
"""Mode raft under faults, judged by what its clients saw: a few short runs. `make torture-raft` does as many as one likes."""

import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "raft"))

import network  # noqa: E402
import support  # noqa: E402

TORTURE = support.ROOT / "tests" / "raft" / "torture"


class Torture(support.PodTest):
    def torture(self, **knobs):
        if network.usable() is None:
            self.skipTest("needs network namespaces: iproute2, and root or user namespaces")
        seed = support.seeded_random(self.id()).randrange(1 << 30)
        done = subprocess.run([str(TORTURE)], capture_output=True, text=True, timeout=300 * support.SLOW, env={
            **os.environ, "BUILD": str(support.BUILD), "SEED": str(seed), "KEEP": str(self.dir / "kept"), **knobs})
        self.assertEqual(done.stderr, "")
        return done

    def test_no_answer_is_wrong_and_none_is_lost(self):
        done = self.torture(RUNS="2", SECONDS="2")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("2 without a violation, 0 failed", done.stdout)
        for acknowledged in re.findall(r"(\d+) changes acknowledged, +\d+ unknown  ", done.stdout):
            self.assertGreater(int(acknowledged), 20, done.stdout)

    def test_what_is_not_linearizable_is_found(self):
        # Local reads promise less: with members cut off, clients that take them for linearizable must be found out.
        done = self.torture(RUNS="1", SECONDS="2", READS="local", FAULTS="isolate,pause")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("no order of these operations is a register's", done.stdout)


if __name__ == "__main__":
    support.main()
