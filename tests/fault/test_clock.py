#!/usr/bin/env python3
"""The wall clock jumps, forwards and back, in one pod or in all: nothing is lost, nothing differs, and no figure of lag is
wrong for long. What is measured is measured on the monotonic clock, which does not jump. # slow file
"""

import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1")
DAY = 86400


class Clock(support.PodTest):
    def faked(self, pods, count):
        """`count` pods, each with a wall clock of its own that jump() sets."""
        library = next((path for path in LIBRARIES if pathlib.Path(path).exists()), None)
        if library is None or support.SANITIZE:
            self.skipTest("libfaketime (Debian: faketime) is not installed, or a sanitizer wants to be loaded first")
        for _ in range(count):
            pod = pods.add()
            pod.clock = self.dir / f"{pod.name}.clock"
            self.jump(pod, 0)
            pod.environment = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(pod.clock), "FAKETIME_NO_CACHE": "1",
                               "DONT_FAKE_MONOTONIC": "1"}
            pod.start_serving()

    def jump(self, pod, seconds):
        fresh = pod.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(pod.clock)

    def told(self, pod):
        """What day the pod's server takes it to be, by its answers' Date."""
        return pod.get("/v1/position").headers["Date"]

    def test_jumps_change_no_content_and_no_lag_for_long(self):
        pods = self.pod_set(0, {"server.tombstone_keep": "1h", "readiness.max_lag": "3s"})
        self.faked(pods, 2)
        pods.wait_ready()
        number, worst = 0, 0.0
        for who, seconds in ((pods[0], 3 * DAY), (pods[1], -400 * DAY), (pods[0], -3 * DAY), (pods[1], 30 * DAY)):
            with self.subTest(f"{who.name} {seconds:+d} s"):
                before = self.told(who)
                self.jump(who, seconds)
                # That the jump is one for the program: its own date says so.
                wait_until(lambda: re.sub(" ..:.*", "", self.told(who)) != re.sub(" ..:.*", "", before), 10,
                           "the program's clock has jumped", pods)
                for _ in range(40):
                    number += 1
                    self.assertEqual(pods.leader.put(f"key-{number % 70}", str(number).encode()).status, 204)
                    if number % 7 == 0:
                        pods.leader.ask("DELETE", f"/v1/kv/key-{(number * 3) % 70}")
                pods.wait_equal(timeout=10)
                until = time.monotonic() + 0.7
                while time.monotonic() < until:
                    for pod in pods:
                        self.assertEqual(pod.readyz(), 200)
                        worst = max(worst, pod.metrics().get("seedpod_lag_seconds", 0.0))
                    time.sleep(0.1)
        position = pods.wait_equal()
        print(f"# {number} writes over four jumps of the clock: lag at most {worst:.2f} s, never unready", flush=True)
        self.assertLess(worst, 3)
        for pod in pods:
            self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], position["digest"])
            self.assertEqual(pod.sidecar.starts + pod.server.starts + pod.init.starts, 3)


if __name__ == "__main__":
    support.main()
