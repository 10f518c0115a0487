#!/usr/bin/env python3
"""Mode raft: the server's side. A cluster founds itself, grows, elects, and keeps what it has answered."""

import json
import shutil
import threading
import time
from http.client import HTTPException

import support
from support import wait_until

RAFT = {"replication.mode": "raft"}


class RaftTest(support.PodTest):
    def raft_set(self, config=None):
        return self.pod_set(0, RAFT | (config or {}))

    def leads(self, pod, pods, timeout=20):
        return wait_until(lambda: pod.position()["role"] == "leader" and pod.position(), timeout,
                          f"{pod.name} leads", pods)


class Founding(RaftTest):
    def test_pod_0_founds_the_cluster_and_a_restart_replays_nothing_twice(self):
        pods = self.raft_set()
        pod = pods.add()
        pod.server.start()
        position = self.leads(pod, pods)
        self.assertEqual(position["mode"], "raft")
        self.assertEqual(position["leader"], pod.url)
        raft = position["raft"]
        self.assertEqual((raft["role"], raft["number"], raft["members"], raft["voters"]), ("leader", 1, 1, 1))
        for n in range(20):
            self.assertEqual(pod.put(f"key-{n}", b"value").status, 204)
        self.assertEqual(pod.put("key-1", b"other", headers={"If-None-Match": "*"}).status, 412)
        before = pod.position()
        self.assertEqual(before["seq"], 20)
        pod.server.kill()
        pod.server.start()
        after = self.leads(pod, pods)
        for name in ("cluster", "seq", "digest", "keys"):
            self.assertEqual(after[name], before[name])
        self.assertEqual(after["raft"]["id"], raft["id"])
        self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], before["digest"])
        self.assertEqual(pod.server.stop(), 0)


class ThreeMembers(RaftTest):
    def cluster(self, replicas=3, config=None):
        pods = self.raft_set(config)
        for _ in range(replicas):
            pods.add().start()
        self.wait_voters(pods, replicas)
        return pods

    def members(self, pod):
        return pod.get("/v1/members").json()["members"]

    def wait_voters(self, pods, count, timeout=20):
        def all_vote():
            members = self.members(self.leader(pods))
            return [m["role"] for m in members] == ["voter"] * count and members
        return wait_until(all_vote, timeout, f"{count} members vote", pods)

    def leader(self, pods):
        """The running pod that leads; waits for one."""
        def find():
            for pod in pods:
                if pod.server.running:
                    try:
                        if pod.position()["role"] == "leader":
                            return pod
                    except (OSError, HTTPException):
                        pass
            return None
        return wait_until(find, 20, "a member leads", pods)

    def test_the_leader_is_lost_and_comes_back_and_nothing_is_missing(self):
        pods = self.cluster()
        first = self.leader(pods)
        for n in range(30):
            self.assertEqual(first.put(f"key-{n}", b"one").status, 204)
        follower = next(pod for pod in pods if pod is not first)
        wait_until(lambda: follower.position()["leader"] == first.url, 10, "the follower knows its leader", pods)
        reply = follower.put("key-0", b"two")
        self.assertEqual((reply.status, reply.headers["Location"]), (307, first.url + "/v1/kv/key-0"))
        first.server.kill()
        second = self.leader(pods)
        self.assertIsNot(second, first)
        self.assertEqual(second.put("while-away", b"new").status, 204)
        self.assertEqual(second.position()["keys"], 31)
        first.server.start()
        wait_until(lambda: first.get("/while-away").body == b"new", 20, "the old leader has the new value", pods)
        position = pods.wait_equal()
        # The epoch is the term that wrote, and the history says where it began.
        self.assertGreater(position["epoch"], 1)
        self.assertEqual(position["history"][-1], {"epoch": position["epoch"], "since": 30})

    def test_linearizable_reads_see_each_write_at_every_member(self):
        pods = self.cluster()
        leader = self.leader(pods)
        for n in range(40):
            value = b"%d" % n
            self.assertEqual(leader.put("key", value).status, 204)
            for pod in pods:
                self.assertEqual(pod.get("/v1/kv/key?consistency=linearizable").body, value, pod.name)
            self.assertEqual(pods[n % 3].get("/key?consistency=linearizable").body, value)
        items = pods[1].get("/v1/kv?values=true&consistency=linearizable").json()["items"]
        self.assertEqual(items[0]["value"], "39")
        self.assertEqual(leader.get("/v1/kv/key?consistency=strong").status, 400)
        self.assertEqual(leader.get("/v1/kv/key?consistency=local").body, b"39")
        # Without a majority nobody can tell: reads that may be stale still can.
        others = [pod for pod in pods if pod is not leader]
        for pod in others:
            pod.server.kill()
        def refused():
            reply = leader.get("/v1/kv/key?consistency=linearizable")
            return reply.status == 503 and reply.headers["Retry-After"]
        wait_until(refused, 20, "a leader without followers does not vouch for its reads", pods)
        self.assertEqual(leader.get("/v1/kv/key").body, b"39")
        wait_until(lambda: leader.put("key", b"lost").status == 503, 20, "nor takes it writes", pods)
        for pod in others:
            pod.server.start()
        leader = self.leader(pods)
        self.assertEqual(leader.put("key", b"40").status, 204)
        self.assertEqual(others[0].get("/v1/kv/key?consistency=linearizable").body, b"40")

    def test_the_seq_of_each_answer_keeps_plain_reads_from_going_back(self):
        """A client that hands on the highest Seedpod-Seq reads at any member, through kill -9 of each, and never goes back."""
        pods = self.cluster()
        leader = self.leader(pods)
        leader.put("count", b"0")
        leader.put("gone", b"x")
        deleted = leader.ask("DELETE", "/v1/kv/gone").headers["Seedpod-Seq"]
        for path in ("/v1/kv/gone", "/v1/kv", "/v1/kv/count"):
            self.assertTrue(leader.get(path).headers["Seedpod-Seq"], path)
        for pod in pods:
            reply = pod.get("/v1/kv/gone", {"Seedpod-Min-Seq": deleted})
            self.assertGreaterEqual((reply.status, int(reply.headers["Seedpod-Seq"])), (404, int(deleted)))
        ended, written = threading.Event(), [0]

        def write():
            while not ended.is_set():
                for pod in pods:
                    try:
                        if pod.ask("PUT", "/v1/kv/count", b"%d" % (written[0] + 1), timeout=5).status == 204:
                            written[0] += 1
                            break
                    except (OSError, HTTPException):
                        pass  # killed just now; what is not answered may be written, and is then written again

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        self.addCleanup(ended.set)
        last = seq = reads = 0
        for kill in range(6):
            victim, begun, seen = pods[kill % 3], written[0], 0
            victim.server.kill()
            deadline = time.monotonic() + 60 * support.SLOW
            restarted = False
            while seen < 300 or written[0] < begun + 20:
                self.assertLess(time.monotonic(), deadline, (kill, seen, written[0]))
                if seen >= 100 and not restarted:
                    victim.server.start()
                    restarted = True
                for pod in pods:
                    try:
                        reply = pod.get("/v1/kv/count", {"Seedpod-Min-Seq": str(seq)})
                    except (OSError, HTTPException):
                        continue
                    if reply.status != 200:
                        self.assertIn(reply.status, (307, 503))
                        continue
                    self.assertGreaterEqual(int(reply.body), last, f"{pod.name} went back, at seq {seq}")
                    last, seq = int(reply.body), max(seq, int(reply.headers["Seedpod-Seq"]))
                    seen += 1
            reads += seen
        ended.set()
        writer.join(30 * support.SLOW)
        print(f"# {reads} plain reads through 6 kills, {written[0]} writes: none went back", flush=True)

    def test_a_leader_that_is_told_to_stop_hands_over_first(self):
        # So long that nobody could be elected for want of a leader.
        pods = self.cluster(config={"raft.election_timeout": "20s"})
        leader = self.leader(pods)
        self.assertEqual(leader.put("key", b"value").status, 204)
        self.assertEqual(leader.server.stop(), 0)
        self.assertIn("the lead is handed over", leader.server.log)
        second = self.leader(pods)
        wait_until(lambda: second.put("key", b"other").status == 204, 10, "the next leader takes writes", pods)
        leader.server.start()
        wait_until(lambda: leader.get("/v1/kv/key").body == b"other", 10, "it comes back", pods)

    def test_a_member_that_was_away_for_longer_than_the_log_lasts_is_seeded_and_goes_on(self):
        pods = self.cluster(config={"raft.trailing": "16", "raft.snapshot_every": "64"})
        leader = self.leader(pods)
        late = next(pod for pod in pods if pod is not leader)
        self.assertEqual(leader.put("before", b"value").status, 204)
        pods.wait_equal()
        old_id = late.position()["raft"]["id"]
        late.server.kill()
        for n in range(600):
            self.assertEqual(leader.put(f"key-{n % 50}", b"%d" % n).status, 204)
        late.server.start()
        wait_until(lambda: late.get("/v1/kv/key-49?consistency=linearizable").body == b"599", 30,
                   "the late one has it all", pods)
        self.assertIn("log begins beyond its store", late.server.log)
        self.assertEqual(late.position()["raft"]["id"], old_id)
        position = pods.wait_equal()
        self.assertEqual(late.ask_control("GET", "/digest").json()["digest"], position["digest"])
        # It votes on: with the former leader gone the two others go on.
        leader.server.kill()
        second = self.leader(pods)
        self.assertEqual(second.put("after", b"value").status, 204)

    def test_a_snapshot_is_of_the_present_log_also_where_no_key_changed(self):
        """Whoever needs index N must not be given for ever what was made before it, because seq is the same."""
        pods = self.cluster(1)
        pod = self.leader(pods)
        self.assertEqual(pod.put("key", b"value").status, 204)
        first = pod.get("/v1/snapshot").headers["Seedpod-Snapshot-Id"]
        self.assertEqual(pod.get("/v1/snapshot").headers["Seedpod-Snapshot-Id"], first)
        before = pod.position()
        # An entry of the log, and no change of the store's seq.
        self.assertEqual(pod.ask("POST", "/7", b"http://127.0.0.1:9").status, 204)
        after = wait_until(lambda: pod.position()["raft"]["applied"] > before["raft"]["applied"] and pod.position(), 10,
                           "it is applied", pods)
        self.assertEqual(after["seq"], before["seq"])
        self.assertNotEqual(pod.get("/v1/snapshot").headers["Seedpod-Snapshot-Id"], first)

    def test_the_log_is_cut_and_a_restart_goes_on_from_the_pointer(self):
        pods = self.cluster(1, config={"raft.trailing": "16", "raft.snapshot_every": "64"})
        pod = self.leader(pods)
        with pod.client() as client:
            for n in range(500):
                self.assertEqual(client.ask("PUT", f"/v1/kv/key-{n % 100}", b"%d" % n).status, 204)
        raft_dir = pod.data_dir / "raft"
        wait_until(lambda: [p for p in raft_dir.glob("snapshot-*") if not p.name.endswith(".meta")], 10, "a pointer", pods)
        for pointer in raft_dir.glob("snapshot-*"):
            self.assertLess(pointer.stat().st_size, 4096)
        before = pod.position()
        for stop in (pod.server.kill, pod.server.stop):
            stop()
            pod.server.start()
            self.leads(pod, pods)
            after = pod.position()
            self.assertEqual((after["seq"], after["digest"]), (before["seq"], before["digest"]))
        self.assertEqual(pod.get("/v1/kv/key-99").body, b"499")

    def test_large_values_cut_the_log_early(self):
        pods = self.cluster()
        value = bytes(range(256)) * (8 << 12)
        for n in range(5):
            # On a machine that is busy so much at once may cost a leader its followers' patience: 503, and another leads.
            wait_until(lambda: self.leader(pods).put(f"key-{n % 3}", value).status == 204, 20, "it is stored", pods)
        # 40 MiB went through the log; from 32 on it is cut.
        self.assertGreaterEqual(self.leader(pods).server_metrics()["seedpod_raft_log_cuts_total"], 1)
        pods.wait_equal(timeout=120)
        self.assertTrue(pods[1].get("/v1/kv/key-2").body == value)

    def test_a_member_that_is_taken_out_stops_and_comes_back_as_another(self):
        pods = self.cluster()
        leader = self.leader(pods)
        victim = next(pod for pod in pods if pod is not leader)
        old_id = victim.position()["raft"]["id"]
        number = str(victim.ordinal + 1)
        for bad in (f"{number}%00", f"{number}%00x", f"+{number}", f"-{2 ** 64 - int(number)}", f"%20{number}", f"{number}x"):
            self.assertIn(leader.ask("DELETE", f"/v1/members/{bad}").status, (400, 404), bad)
        self.assertEqual([m["role"] for m in self.members(leader)], ["voter"] * 3)
        self.assertEqual(leader.ask("DELETE", f"/v1/members/{number}").status, 204)
        self.assertEqual(leader.ask("DELETE", f"/v1/members/{number}").status, 404)
        self.assertEqual(victim.server.wait(20), 0)
        self.assertIn("taken out of the cluster", victim.server.log)
        self.assertEqual([m["role"] for m in self.members(leader)], ["voter", "voter"])
        self.assertEqual(leader.put("key", b"value").status, 204)
        victim.server.start()
        members = self.wait_voters(pods, 3)
        self.assertNotIn(old_id, [m["id"] for m in members])
        pods.wait_equal()

    def test_a_volume_that_was_lost_comes_back_as_another_member(self):
        pods = self.cluster()
        leader = self.leader(pods)
        self.assertEqual(leader.put("key", b"value").status, 204)
        victim = next(pod for pod in pods if pod is not leader)
        old_id = victim.position()["raft"]["id"]
        victim.kill()
        shutil.rmtree(victim.data_dir)
        victim.data_dir.mkdir()
        self.assertEqual(leader.put("key", b"other").status, 204)
        victim.start()
        wait_until(lambda: old_id not in [m["id"] for m in self.members(self.leader(pods))], 20,
                   "the old member is out", pods)
        self.wait_voters(pods, 3)
        self.assertEqual(victim.get("/v1/kv/key?consistency=linearizable").body, b"other")
        pods.wait_equal()

    def test_a_store_of_another_cluster_is_not_taken_in(self):
        pods = self.cluster(1)
        leader = self.leader(pods)
        stranger = {"number": 7, "id": str(1 << 16 | 7), "name": "x", "url": "http://127.0.0.1:1", "raft": "127.0.0.1:2",
                    "cluster": "00000000-0000-4000-8000-000000000000"}
        reply = leader.ask("POST", "/v1/members", json.dumps(stranger))
        self.assertEqual((reply.status, reply.json()["code"]), (409, "SP_EDIVERGED"))
        unreachable = {**stranger, "cluster": leader.position()["cluster"], "raft": "127.0.0.1:123456789"}
        for wrong in ({"number": 0}, {"number": 7, "id": "9"}, {"number": 7, "id": "x"}, [], unreachable):
            reply = leader.ask("POST", "/v1/members", json.dumps(wrong))
            self.assertEqual(reply.status, 400, wrong)
        self.assertEqual(len(self.members(leader)), 1)
        self.assertEqual(leader.ask("DELETE", "/v1/members/1").status, 409)


class FullVolume(RaftTest):
    def test_writes_are_refused_before_the_log_is_full_and_go_on_with_room(self):
        support.need_root("mounts a small volume")
        pods = self.raft_set({"server.map_size": "256MiB"})
        pod = pods.add()
        pod.mount_volume("64m")
        filler = pod.data_dir / "filler"
        filler.write_bytes(bytes(16 << 20))
        pod.server.start()
        self.leads(pod, pods)
        for n in range(1000):
            reply = pod.put(f"key-{n}", bytes([n % 256]) * 262144)
            if reply.status != 204:
                break
        self.assertEqual(reply.status, 507, reply.body)
        self.assertGreater(n, 2)
        self.assertTrue(pod.get("/v1/kv/key-0").body == bytes(262144))
        filler.unlink()
        wait_until(lambda: pod.put("after", b"value").status == 204, 20, "it stores again", pods)
        self.assertEqual(pod.position()["keys"], n + 1)
        pod.server.kill()
        pod.server.start()
        self.assertEqual(self.leads(pod, pods)["keys"], n + 1)


class RootApi(RaftTest):
    def test_keys_at_the_root(self):
        pods = self.raft_set()
        pod = pods.add()
        pod.server.start()
        self.leads(pod, pods)
        self.assertEqual(pod.ask("PUT", "/greeting", b"hello").status, 204)
        self.assertEqual(pod.get("/greeting").body, b"hello")
        self.assertEqual(pod.get("/v1/kv/greeting").body, b"hello")
        self.assertEqual(pod.get("/none").status, 404)
        self.assertEqual(pod.ask("PUT", "/a/b%20c", b"deep").status, 204)
        self.assertEqual(pod.get("/v1/kv/a%2Fb%20c").body, b"deep")
        reply = pod.ask("PATCH", "/greeting", b"")
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "PUT, GET, HEAD, POST, DELETE"))
        # Other APIs keep their paths.
        self.assertEqual(pod.ask("PUT", "/set/UPPER", b"x").status, 404)
        self.assertEqual(pod.ask("PUT", "/v1/other", b"x").status, 404)
        self.assertEqual(pod.ask("PUT", "/keys", b"x").status, 405)
        self.assertEqual(pod.ask("POST", "/nonsense", b"http://127.0.0.1:1").status, 400)
        self.assertEqual(pod.ask("POST", "/4", b"nonsense").status, 400)
        self.assertEqual(pod.ask("DELETE", "/4").status, 404)

    def test_mode_static_has_none_of_it(self):
        pods = self.pod_set(1)
        self.assertEqual(pods.leader.get("/greeting").status, 404)
        self.assertEqual(pods.leader.get("/v1/members").status, 404)
        self.assertEqual(pods.leader.ask("DELETE", "/4").status, 404)


if __name__ == "__main__":
    support.main()
