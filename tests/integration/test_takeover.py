#!/usr/bin/env python3
"""Who leads changes by hand, or comes back from another's snapshot: no two histories under one epoch, and no follower
that takes a pod for its leader which leads no more."""

import subprocess
import threading

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


    def test_a_poll_for_its_next_change_is_answered_at_once(self):
        pods = self.pod_set(1)
        pods.leader.put("key", b"value")
        seq, answers = pods.leader.position()["seq"], []

        def wait_for_change():
            with pods.leader.client(timeout=90) as client:
                answers.append(client.ask("GET", f"/v1/changes?since={seq}&wait=60s&from=leader"))

        waiting = threading.Thread(target=wait_for_change)
        waiting.start()
        wait_until(lambda: b"seedpod_server_waiting_requests 1" in pods[0].ask_control("GET", "/metrics").body, 20,
                   "the long poll waits", pods)
        self.assertEqual(pods[0].ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        wait_until(lambda: answers, 20, "the long poll is answered", pods)
        waiting.join()
        self.assertEqual(answers[0].status, 503)


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
        # Two that lead would lose one's writes: it follows until the other gives up the lead, to the pod that is named.
        pods[0].start_serving()
        wait_until(lambda: "by hand" in pods[0].status()["handover"]["why"], 20, "it says what it waits for", pods)
        self.assertEqual(pods[0].position()["role"], "follower")
        pods[1].put("key", b"of the promoted, at last")
        self.assertEqual(pods[1].ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        wait_until(lambda: pods[0].position()["role"] == "leader", 20, "the named pod leads", pods)
        restored = pods[0].position()
        self.assertEqual(restored["epoch"], 3)
        self.assertEqual(restored["history"][1:], [{"epoch": 2, "since": 1}, {"epoch": 3, "since": 3}])
        self.assertEqual(pods[0].get("/v1/kv/key").body, b"of the promoted, at last")
        # Once: a restart goes on in its epoch.
        pods[0].stop()
        pods[0].start_serving()
        self.assertEqual(pods[0].position()["epoch"], 3)

    def test_an_old_leader_that_comes_back_takes_no_write_while_a_promoted_pod_leads(self):
        pods = self.pod_set(3)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        pods[0].stop()
        self.assertEqual(pods[1].ask_control("POST", "/role", b'{"role":"leader"}').status, 200)
        self.assertEqual(pods[1].put("key", b"of the promoted").status, 204)
        # Its store records that it leads, and so does the configuration: but its init asks.
        pods[0].start_serving()
        self.assertEqual(pods[0].position()["role"], "follower")
        self.assertEqual(pods[0].put("again", b"of the old one").status, 503 if pods[0].position()["leader"] == "" else 307)
        self.assertEqual(pods[1].put("again", b"of the promoted").status, 204)
        pods.wait_equal()
        wait_until(lambda: pods[0].put("again", b"of the old one").status == 307, 20, "it sends writes on", pods)
        # So it stays where the server alone is started again, without init.
        pods[0].restart("server")
        wait_until(pods[0].position, 20, "it serves", pods)
        self.assertEqual(pods[0].position()["role"], "follower")
        # The configuration says the same: nothing moves, and all go on.
        pods.edit_config({"replication.leader_ordinal": "1"})
        for pod in (pods[2], pods[1]):
            pod.restart()
        pods.wait_equal()
        self.assertEqual(pods[0].get("/v1/kv/again").body, b"of the promoted")
        self.assertEqual(pods[0].position()["role"], "follower")

    def follower_that_wrote_alone(self):
        """A pair whose follower was promoted by mistake, written to, and demoted: it holds what its leader never had.
        All in less time than lies between two looks of its sidecar."""
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        pods.wait_ready()
        self.assertEqual(pods[1].ask_control("POST", "/role", b'{"role":"leader"}').status, 200)
        pods[1].put("mine", b"alone")
        self.assertEqual(pods[1].ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        return pods

    def test_writes_of_a_follower_that_nobody_saw_lead_are_found_out_while_the_leader_is_idle(self):
        pods = self.follower_that_wrote_alone()
        wait_until(lambda: pods[1].status()["state"] == "diverged", 20, "it is found out", pods)
        self.assertEqual(pods[1].readyz(), 503)

    def test_a_follower_with_writes_of_its_own_is_found_out_refused_and_explained(self):
        pods = self.follower_that_wrote_alone()
        pods.leader.put("key", b"of the leader")
        wait_until(lambda: pods[1].status()["state"] == "diverged", 20, "it is found out", pods)
        self.assertEqual(pods[1].readyz(), 503)
        self.assertEqual(pods[1].get("/v1/kv/mine").body, b"alone")
        self.assertEqual(pods.leader.get("/v1/kv/mine").status, 404)
        pods[1].stop()
        before = pods[1].offline_position()
        code, log = pods[1].run_init()
        self.assertEqual(code, 65, log)
        self.assertIn("epoch 2 seq 2", pods[1].init.termination_log.read_text())
        self.assertEqual(pods[1].offline_position(), before)
        # Told to, it takes the leader's: the old store is there until the new one is.
        pods.edit_config({"sync.on_divergence": "reseed"})
        pods[1].start_serving()
        pods.wait_equal()
        self.assertEqual(pods[1].get("/v1/kv/mine").status, 404)

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
