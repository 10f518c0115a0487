#!/usr/bin/env python3
"""Mode raft: values of the largest size, over a network and disks that are slow. No heartbeat waits behind one."""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "raft"))

import network  # noqa: E402
import support  # noqa: E402

LARGE = support.ROOT / "tests" / "raft" / "large.py"


class Large(support.PodTest):
    def run_large(self, *arguments):
        inside = network.usable()
        if inside is None:
            self.skipTest("needs network namespaces: iproute2, and root or user namespaces")
        if "address" in support.SANITIZE:
            self.skipTest("AddressSanitizer wants to be loaded before any other library")
        done = subprocess.run([*inside, sys.executable, str(LARGE), *arguments], capture_output=True, text=True,
                              timeout=300 * support.SLOW, env={**os.environ, "BUILD": str(support.BUILD)})
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["terms"], 0, report)
        self.assertEqual(report["crashed"], [], report)
        # One byte more than max_value is refused; small writes beside the large ones are answered.
        self.assertEqual(report["statuses"]["too large"], {"413": 1}, report)
        self.assertEqual(set(report["statuses"]["small"]), {"204"}, report)
        return report

    def test_the_largest_values_at_the_default_timings_leave_the_leader_in_office(self):
        """Over 256 Mbit/s, and to disks that write 64 MiB/s: three values of 32 MiB at once, then a batch of 48 MiB."""
        report = self.run_large("--values", "3", "--network-mbit", "256", "--disk-kib", "65536")
        self.assertEqual(report["statuses"]["large"], {"204": 3}, report)
        self.assertEqual(report["statuses"]["batch"], {"200": 1}, report)

    def test_a_member_that_catches_up_with_a_large_value_hears_its_leader(self):
        """Over 64 Mbit/s: the leader's only follower lacks 24 MiB of the log, which take three seconds."""
        report = self.run_large("--away", "--network-mbit", "64", "--disk-kib", "16384")
        self.assertEqual(report["statuses"]["in log"], {"204": 1}, report)
        self.assertEqual(report["reseeds"], 0, report)


if __name__ == "__main__":
    support.main()
