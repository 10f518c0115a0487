#!/usr/bin/env python3
"""From mode static to mode raft and back on the same volumes: what was there stays there, and nothing old comes back."""

import io
import tarfile

import support
from support import wait_until

KEYS = 500


class Migration(support.PodTest):
    def static_set(self, replicas=3):
        pods = self.pod_set(replicas)
        pods.leader.load((f"key-{n}", f"static-{n}") for n in range(KEYS))
        self.assertEqual(pods.leader.ask("DELETE", "/v1/kv/key-7").status, 204)
        pods.wait_ready()
        return pods, pods.wait_equal()

    def wait_voters(self, pods, count):
        def all_vote():
            return [m["role"] for m in pods.leader.get("/v1/members").json()["members"]] == ["voter"] * count
        wait_until(all_vote, 40, f"{count} members vote", pods)

    def assert_kept(self, pods, before):
        """Each pod is a member, and holds what the static set held."""
        self.wait_voters(pods, len(pods))
        pods.wait_ready()
        position = pods.wait_equal()
        for name in ("cluster", "seq", "keys", "digest"):
            self.assertEqual(position[name], before[name], name)
        for pod in pods:
            self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], before["digest"])
            self.assertEqual(pod.get("/v1/kv/key-7").status, 404)
            self.assertEqual(pod.get("/v1/kv/key-8?consistency=linearizable").body, b"static-8")
        self.assertEqual(pods.leader.put("after", b"raft").status, 204)
        pods.wait_equal()

    def test_all_pods_at_once_after_a_power_cut(self):
        pods, before = self.static_set()
        for pod in pods:
            pod.kill()
        pods.edit_config({"replication.mode": "raft"})
        pods.scale(3)
        self.assert_kept(pods, before)

    def test_pod_by_pod_from_pod_0_on(self):
        pods, before = self.static_set()
        pods.edit_config({"replication.mode": "raft"})
        for pod in pods:
            pod.restart()
            pods.wait_ready()
        self.assert_kept(pods, before)

    def test_pod_by_pod_from_the_last_one_on(self):
        """Nobody is ready until pod 0 has founded: a rolling update that waits for readiness would stand still."""
        pods, before = self.static_set()
        pods.edit_config({"replication.mode": "raft"})
        for pod in reversed(list(pods)):
            pod.stop()
            pod.begin()
            if pod.ordinal > 0:
                wait_until(lambda p=pod: p.tick() or p.phase == "running", 10, "it starts", pods)
        pods[0].wait_running()
        self.assert_kept(pods, before)

    def test_back_to_mode_static_and_again_to_raft(self):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pods.scale(3)
        self.wait_voters(pods, 3)
        pods.leader.load((f"key-{n}", f"raft-{n}") for n in range(KEYS))
        before = pods.wait_equal()
        # A member that was killed may have in its log alone what it answered.
        for pod in pods:
            pod.kill()
        pods.edit_config({"replication.mode": "static"})
        pods[0].server.start()
        self.assertEqual(pods[0].server.wait(), 73)
        self.assertIn("was not closed in order", pods[0].server.log)
        pods.edit_config({"replication.mode": "raft"})
        pods.scale(3)
        pods.wait_ready()
        pods.wait_equal()
        self.assertEqual(set(pods.stop().get("store-0").values()), {0})
        pods.edit_config({"replication.mode": "static"})
        for pod in pods:
            pod.start()
        pods.wait_ready()
        self.assertEqual(pods[0].position()["role"], "leader")
        after = pods.wait_equal()
        self.assertEqual((after["seq"], after["digest"]), (before["seq"], before["digest"]))
        self.assertGreater(after["epoch"], before["epoch"])
        self.assertNotIn("raft", after)
        for pod in pods:
            self.assertFalse((pod.data_dir / "raft").exists(), pod.name)
        # What the pods have is no longer the same: nobody may go on with the old log as if it were.
        pods[2].stop()
        pods[0].load((f"key-{n}", f"static-{n}") for n in range(KEYS))
        self.assertEqual(pods[0].ask("DELETE", "/v1/kv/key-7").status, 204)
        before = pods.wait_equal(pods=[pods[0], pods[1]])
        pods.stop()
        pods.edit_config({"replication.mode": "raft"})
        pods.scale(3)
        self.assert_kept(pods, before)


class LeftBehind(support.PodTest):
    """A pod that did not come along with the others from one mode to the other, and one that went alone."""

    def raft_set(self, writes=300):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pods.scale(3)
        pods.wait_ready()
        with pods.leader.client() as client:
            for n in range(writes):
                self.assertEqual(client.ask("PUT", f"/v1/kv/key-{n}", b"raft").status, 204)
        pods.wait_equal()
        return pods

    def wait_log(self, container, text, pods):
        wait_until(lambda: text in container.log, 30, f"its log says \"{text}\"", pods)

    def test_a_member_that_was_away_while_the_mode_was_static_is_of_another_log(self):
        """Its index is further on than the new log's: it must neither skip what that brings, nor vote, nor give."""
        pods = self.raft_set()
        pods.stop()
        pods.edit_config({"replication.mode": "static"})
        for pod in (pods[0], pods[1]):
            pod.start()
        for n in range(20):
            self.assertEqual(pods[0].put(f"static-{n}", b"static").status, 204)
        present = [pods[0], pods[1]]
        pods.wait_equal(pods=present)
        for pod in present:
            pod.stop()
        pods.edit_config({"replication.mode": "raft"})
        # While it runs, whose log is the right one is not for a program to guess.
        pods[2].start()
        wait_until(lambda: pods[2].position(), 20, "it answers", pods)
        pods[0].begin()
        wait_until(lambda: pods[0].tick() or pods[0].phase == "failed", 20, "the founder refuses", pods)
        self.assertEqual(pods[0].init_exit, 65)
        self.assertIn("store-2 is a member of its cluster in mode raft", pods[0].init.log)
        pods[2].stop()
        for pod in present:
            pod.start()
        pods.wait_ready(pods=present)
        self.assertNotEqual(pods[0].position()["raft"]["log"], "0")
        # Its server, as its container would be restarted: heard by nobody, and it says why.
        pods[2].server.start()
        self.wait_log(pods[2].server, "or of another log of it", pods)
        self.wait_log(pods[0].server, "a stranger at the raft port is refused", pods)
        for n in range(20):
            self.assertEqual(pods.elected(pods=present).put(f"after-{n}", b"raft").status, 204)
        before = pods.wait_equal(pods=present)
        self.assertEqual(before["keys"], 340)
        self.assertEqual(pods[2].position()["seq"], 300)
        self.assertEqual([m["number"] for m in pods.elected(pods=present).get("/v1/members").json()["members"]], [1, 2])
        pods[2].stop()
        pods[2].begin()
        wait_until(lambda: pods[2].tick() or pods[2].phase == "failed", 20, "its init refuses", pods)
        self.assertEqual(pods[2].init_exit, 65)
        pods[2].delete_volume()
        pods[2].start()
        pods.wait_ready()
        self.assertEqual(pods.wait_equal()["digest"], before["digest"])

    def test_pod_0_in_mode_static_waits_while_the_others_go_on_in_mode_raft(self):
        pods = self.raft_set(writes=3)
        pods[0].stop()
        pods.edit_config({"replication.mode": "static"})
        pods[0].begin()
        self.wait_log(pods[0].init, "whose majority takes the cluster's writes", pods)
        pods[0].stop()
        pods.edit_config({"replication.mode": "raft"})
        pods[0].start()
        pods.wait_ready()
        pods.wait_equal()

    def test_pod_0_that_wrote_in_mode_static_founds_no_second_log_beside_the_members(self):
        pods = self.raft_set(writes=3)
        pods[0].stop()
        pods[1].stop()
        pods[2].stop()
        pods.edit_config({"replication.mode": "static"})
        pods[0].start()
        pods.wait_ready(pods=[pods[0]])
        self.assertEqual(pods[0].put("on-0", b"static").status, 204)
        pods[0].stop()
        pods.edit_config({"replication.mode": "raft"})
        others = [pods[1], pods[2]]
        for pod in others:
            pod.start()
        self.assertEqual(pods.elected(pods=others).put("on-others", b"raft").status, 204)
        pods[0].begin()
        wait_until(lambda: pods[0].tick() or pods[0].phase == "failed", 20, "its init refuses", pods)
        self.assertEqual(pods[0].init_exit, 65)
        self.assertIn("nothing is overwritten on a guess", pods[0].init.log)
        # Also where its container alone is restarted, which runs no init.
        pods[0].server.start()
        self.assertEqual(pods[0].server.wait(), 65)
        self.assertIn("no second log is founded", pods[0].server.log)
        self.assertEqual(pods[0].offline_position()["keys"], 4)
        pods[0].delete_volume()
        pods[0].start()
        pods.wait_ready()
        pods.wait_equal()
        self.assertEqual(pods[0].get("/v1/kv/on-others").body, b"raft")

    def test_a_backup_of_mode_raft_says_what_it_waits_for_and_that_helps(self):
        pods = self.raft_set()
        image = pods.leader.get("/v1/snapshot").body
        before = pods.wait_equal()
        pods.stop()
        for pod in pods:
            pod.delete_volume()
        with tarfile.open(fileobj=io.BytesIO(image)) as tar:
            tar.extractall(pods[0].data_dir)
        pods[0].start()
        self.wait_log(pods[0].server, "start this store in mode static once", pods)
        wait_until(lambda: "and it waits for a leader of that" in pods[0].ask_sidecar("/readyz?verbose").text(), 20,
                   "readiness says so too", pods)
        pods[0].stop()
        pods.edit_config({"replication.mode": "static"})
        pods[0].start()
        pods.wait_ready(pods=[pods[0]])
        pods[0].stop()
        pods.edit_config({"replication.mode": "raft"})
        pods.scale(3)
        pods.wait_ready()
        after = pods.wait_equal()
        self.assertEqual((after["seq"], after["digest"]), (before["seq"], before["digest"]))


if __name__ == "__main__":
    support.main()
