#!/usr/bin/env python3
"""Who leads changes by hand, or comes back from another's snapshot: no two histories under one epoch, and no follower
that takes a pod for its leader which leads no more."""

import subprocess

import support
from support import wait_until


class DemotedLeader(support.PodTest):
    def test_whoever_followed_it_is_stale_until_it_leads_again(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        pods.wait_ready()
        self.assertEqual(pods[0].ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        wait_until(lambda: pods[1].status()["stale"], 20, "the follower says that it is stale", pods)
        self.assertIn("does not lead", pods[1].status()["last_error"]["text"])
        # What is kept is served meanwhile, and the wait is over when there is a leader again.
        self.assertEqual(pods[1].get("/v1/kv/key").body, b"value")
        self.assertEqual(pods[0].ask_control("POST", "/role", b'{"role":"leader"}').status, 200)
        wait_until(lambda: not pods[1].status()["stale"], 20, "the follower hears its leader", pods)
        wait_until(lambda: pods[1].position()["epoch"] == 2, 20, "the follower is in the new epoch", pods)
        pods.wait_ready()


class Restore(support.PodTest):
    def test_from_a_pod_that_was_promoted_begins_an_epoch_of_its_own(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        pods[0].kill()
        pods[0].delete_volume()
        self.assertEqual(pods[1].ask_control("POST", "/role", b'{"role":"leader"}').status, 200)
        self.assertEqual(pods[1].position()["epoch"], 2)
        pods[1].put("key", b"of the promoted")
        pods[0].start_serving()
        restored = pods[0].position()
        self.assertEqual(restored["epoch"], 3)
        self.assertEqual(restored["history"][1:], [{"epoch": 2, "since": 1}, {"epoch": 3, "since": 2}])
        self.assertEqual(pods[0].get("/v1/kv/key").body, b"of the promoted")
        # Once: a restart goes on in its epoch.
        pods[0].stop()
        pods[0].start_serving()
        self.assertEqual(pods[0].position()["epoch"], 3)

    def test_of_a_followers_snapshot_by_hand_begins_one_epoch(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        backup = pods[1].get("/v1/snapshot").body
        pods[0].stop()
        pods[0].delete_volume()
        data = pods[0].data_dir
        data.mkdir(exist_ok=True)
        subprocess.run(["tar", "x", "-C", str(data)], input=backup, check=True)
        pods[0].start_serving()
        self.assertEqual(pods[0].position()["history"], [{"epoch": 1, "since": 0}, {"epoch": 2, "since": 1}])
        self.assertTrue((data / "seedpod.json.used").exists())


if __name__ == "__main__":
    support.main()
