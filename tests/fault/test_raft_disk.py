#!/usr/bin/env python3
"""Mode raft on disks that fail: a log that cannot be written is said, costs nothing that was answered, and is mended."""

import errno
import http.client
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

SHIM = support.BUILD / "faults" / "badio.so"
VALUE = bytes(131072)


class RaftDisk(support.PodTest):
    def cluster(self, config=None, prepare=lambda pods: None):
        pods = self.pod_set(0, {"replication.mode": "raft", "server.map_size": "256MiB"} | (config or {}))
        for _ in range(3):
            pods.add()
        prepare(pods)
        pods.scale(3)
        wait_until(lambda: pods.leader.position()["raft"]["voters"] == 3, 30, "three vote", pods)
        pods.wait_ready()
        return pods

    def follower(self, pods, ordinal=2):
        """That pod, once it does not lead."""
        pod = pods[ordinal]
        if pods.leader is pod:
            pod.restart("server")
            pods.elected(pods=[other for other in pods if other is not pod])
            pods.wait_ready()
        return pod

    def write(self, pods, count, first=0):
        leader = pods.elected(pods=[pods[0], pods[1]])
        for n in range(first, first + count):
            self.assertEqual(leader.put(f"key-{n % 40}", VALUE + str(n).encode()).status, 204)

    def fill(self, path):
        """All of the volume's room, whatever else is written to it meanwhile."""
        with open(path, "wb", buffering=0) as f:
            try:
                while f.write(bytes(65536)):
                    pass
            except OSError as problem:
                self.assertEqual(problem.errno, errno.ENOSPC)
        return path

    def assert_same(self, pods, last):
        pods.wait_ready()
        position = pods.wait_equal()
        for pod in pods:
            self.assertEqual(pod.get(f"/v1/kv/key-{last % 40}?consistency=linearizable").body, VALUE + str(last).encode())
            self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], position["digest"])

    def test_a_follower_whose_volume_is_full_says_so_and_comes_back_with_room(self):
        support.need_root("mounts a small volume")
        pods = self.cluster(prepare=lambda pods: pods[2].mount_volume("96m"))
        full = self.follower(pods)
        self.write(pods, 10)
        pods.wait_equal()
        filler = self.fill(full.data_dir / "filler")
        pid, last = full.server.pid, 99
        self.write(pods, 90, 10)
        wait_until(lambda: full.position()["raft"]["role"] == "no_room", 20, "it says that it has no room", pods)
        wait_until(lambda: full.readyz() == 503, 10, "it is not ready", pods)
        self.assertIn("[-]member takes no part: its volume has no room", full.ask_sidecar("/readyz?verbose").text())
        self.assertEqual(full.metrics()['seedpod_raft_role{role="no_room"}'], 1)
        self.assertEqual(full.server_metrics()["seedpod_raft_log_failures_total"], 1)
        self.assertIn("the raft log cannot be written", full.server.log)
        self.assertEqual(full.get("/v1/kv/key-0").status, 200)
        self.assertEqual(full.put("key", b"v").status, 503)
        filler.unlink()
        self.assert_same(pods, last)
        self.assertEqual(full.server.pid, pid)
        # It votes again: the other follower may go.
        other = next(pod for pod in pods if pod not in (full, pods.leader))
        other.kill()
        self.assertEqual(pods.leader.put("after", b"v").status, 204)

    def test_a_disk_that_fails_under_the_log_ends_the_process_and_nothing_is_lost(self):
        if "address" in support.SANITIZE:
            self.skipTest("AddressSanitizer wants to be loaded before any other library")
        if not SHIM.exists():
            raise unittest.SkipTest("badio.so is not built: make faults")
        rules = {n: self.dir / f"badio-{n}" for n in range(3)}

        def prepare(pods):
            for pod in pods:
                pod.environment = {"LD_PRELOAD": str(SHIM), "BADIO": str(rules[pod.ordinal])}

        pods = self.cluster(prepare=prepare)
        self.write(pods, 10)
        last = 9
        for leads in (False, True):
            with self.subTest("the leader" if leads else "a follower"):
                bad = next(pod for pod in pods if (pods.leader is pod) == leads)
                before = dict(pods.leader.position())
                rules[bad.ordinal].write_text("write /raft/open- EIO\n")
                others = [pod for pod in pods if pod is not bad]
                try:
                    status = pods.leader.put("key-0", b"on its way").status
                except (OSError, http.client.HTTPException):
                    status = 503  # what became of it is not known, and not said
                self.assertEqual(status, 503 if leads else 204)
                self.assertEqual(bad.server.wait(20), 74)
                self.assertIn("write the raft log", bad.server.log)
                rules[bad.ordinal].unlink()
                leader = pods.elected(pods=others)
                self.assertGreaterEqual(leader.position()["seq"], before["seq"])
                self.assertEqual(leader.put(f"key-{last + 1}", VALUE + str(last + 1).encode()).status, 204)
                last += 1
                bad.server.start()
                self.assert_same(pods, last)



class Damage(support.PodTest):
    """One member, killed, with something gone from its raft folder: a log that forgot what it promised is not gone on with."""

    def start_after(self, harm, pattern):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        pod.server.start()
        wait_until(lambda: pod.position()["role"] == "leader", 20, "it leads", pods)
        for n in range(20):
            self.assertEqual(pod.put(f"key-{n}", b"value").status, 204)
        pod.ask_control("GET", "/digest")  # has LMDB hold all of that
        pod.server.kill()
        found = list((pod.data_dir / "raft").glob(pattern))
        self.assertTrue(found)
        for path in found:
            harm(path)
        pod.server.start()
        self.assertEqual(pod.server.wait(20), 65)
        return pod.server.log

    def test_a_crash_while_the_log_is_cut_short_costs_nothing(self):
        """libraft writes what is left of a segment beside it, and removes the old one: what was begun is left out."""
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        for whole in (True, False):
            pod.server.start()
            wait_until(lambda: pod.position()["role"] == "leader", 20, "it leads", pods)
            for n in range(20):
                self.assertEqual(pod.put(f"key-{n}", b"value").status, 204)
            seq = pod.position()["seq"]
            self.assertEqual(pod.server.stop(), 0)
            segment = max((pod.data_dir / "raft").glob("0*-0*"))
            first, last = segment.name.split("-")
            begun = segment.with_name(f"{first}-{int(last) - 1:016}")
            begun.write_bytes(segment.read_bytes()[: -8 if whole else 100])
            pod.server.start()
            wait_until(lambda: pod.position()["role"] == "leader", 20, "it leads", pods)
            self.assertEqual(pod.position()["seq"], seq)
            self.assertFalse(begun.exists())
            self.assertEqual(pod.server.stop(), 0)

    def test_a_log_that_ends_before_the_store_is_not_led_with(self):
        """Its next entries would have numbers that the store has passed: they would be answered, and not made."""
        self.assertIn("the log has lost entries", self.start_after(pathlib.Path.unlink, "open-*"))

    def test_a_log_without_its_term_and_vote_is_refused(self):
        self.assertIn("its metadata are gone", self.start_after(pathlib.Path.unlink, "metadata*"))

    def test_a_damaged_segment_is_not_set_aside(self):
        def harm(path):
            with open(path, "r+b") as segment:
                segment.seek(40)
                segment.write(b"other")

        self.assertIn("checksum mismatch", self.start_after(harm, "0*-0*"))


if __name__ == "__main__":
    support.main()
