#!/usr/bin/env python3
"""Mode raft: what counts as being on a majority's disks, where one member stood still or its disk is slow."""

import http.client
import os
import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

SHIM = support.BUILD / "faults" / "slowdisk.so"


class Counting(support.PodTest):
    def cluster(self, prepare=lambda pod: None, config=None):
        pods = self.pod_set(0, {"replication.mode": "raft", "raft.election_timeout": "2s"} | (config or {}))
        for _ in range(3):
            prepare(pods.add())
        pods.scale(3)
        wait_until(lambda: pods.leader.position()["raft"]["voters"] == 3, 30, "three vote", pods)
        pods.wait_ready()
        self.assertEqual(pods.leader.put("before", b"value").status, 204)
        pods.wait_equal()
        return pods

    def put_later(self, pod, keys):
        """Ask for them from a thread each, and wait for no answer; {key: status}, as they come."""
        statuses = {}

        def put(key):
            try:
                statuses[key] = pod.put(key, b"value").status
            except (OSError, http.client.HTTPException):
                statuses[key] = 0

        for key in keys:
            thread = threading.Thread(target=put, args=(key,), daemon=True)
            thread.start()
            self.addCleanup(thread.join, 60)
        return statuses

    def slow_disk(self, pod):
        """Prepare a pod whose disk can be slowed."""
        if "address" in support.SANITIZE:
            self.skipTest("AddressSanitizer wants to be loaded before any other library")
        if not SHIM.exists():
            self.skipTest("slowdisk.so is not built: make faults")
        pod.dir.mkdir(parents=True, exist_ok=True)
        (pod.dir / "slow").write_bytes(bytes(12))
        pod.environment = {"LD_PRELOAD": str(SHIM), "SLOWDISK": str(pod.dir / "slow")}

    def delay_disk(self, pod, syncs=0, appends=0):
        """Each sync, and each write to the log, takes so many seconds longer."""
        with open(pod.dir / "slow", "r+b") as out:  # never truncated: the process has it mapped
            out.write(b"".join(int(seconds * 1000000).to_bytes(4, "little") for seconds in (syncs, appends)))

    def term_on_disk(self, pod):
        """As libraft writes it, before it waits for the disk: format, version, term, vote."""
        files = [path.read_bytes() for path in (pod.data_dir / "raft").glob("metadata*")]
        return max((int.from_bytes(text[16:24], "little") for text in files if len(text) >= 32), default=0)

    def entries(self, pod):
        return pod.server_metrics()["seedpod_raft_log_entries"]

    def test_what_a_former_leader_wrote_alone_counts_for_nobody(self):
        """It has entries that no other has, and stands still while another begins to lead: when it goes on, its first
        answer is to a message of before the other's own entries, and does not mean that it has these."""
        pods = self.cluster()
        former = pods.leader
        others = [pod for pod in pods if pod is not former]
        for pod in others:
            pod.server.kill()
        before, committed = self.entries(former), former.position()["raft"]["commit"]
        for n in 1, 2:
            self.put_later(former, [f"alone-{n}"])
            wait_until(lambda: self.entries(former) >= before + n, 10, "it has this one in its log", pods)
        os.kill(former.server.pid, signal.SIGSTOP)
        for pod in others:
            pod.server.start()
        leader = pods.elected(pods=others)
        third = next(pod for pod in others if pod is not leader)
        wait_until(lambda: third.position()["leader"] == leader.url, 10, "the third one follows", pods)
        wait_until(lambda: third.position()["raft"]["commit"] > committed, 10, "the new term is committed", pods)
        third.server.kill()
        before = self.entries(leader)
        statuses = self.put_later(leader, ["acknowledged"])
        wait_until(lambda: self.entries(leader) > before, 10, "the leader has it in its log", pods)
        os.kill(former.server.pid, signal.SIGCONT)
        wait_until(lambda: statuses, 30, "it is answered", pods)
        self.assertEqual(former.get("/v1/kv/alone-1").status, 404)
        # Whatever minority is lost then, what was answered is there.
        leader.server.kill()
        third.server.start()
        second = pods.elected(pods=[former, third])
        wait_until(lambda: second.get("/v1/kv/before?consistency=linearizable").body == b"value", 20, "it reads", pods)
        self.assertEqual(statuses["acknowledged"], 204)
        self.assertEqual(second.get("/v1/kv/acknowledged?consistency=linearizable").body, b"value")

    def test_entries_of_former_terms_are_not_committed_by_themselves(self):
        """A new leader has one that a majority has, and its disk takes its time with the first one of its own: until
        that is written, another leader may come who replaces both."""
        # Followers hear of what is committed with the next heartbeat: before it, the leader is lost.
        pods = self.cluster(self.slow_disk, {"raft.heartbeat": "2s", "raft.election_timeout": "5s"})
        former = pods.leader
        others = [pod for pod in pods if pod is not former]
        self.assertEqual(former.put("key", b"value").status, 204)
        former.server.kill()
        self.assertEqual([pod.get("/v1/kv/key").status for pod in others], [404, 404])
        for pod in others:
            self.delay_disk(pod, appends=8 * support.podset.SLOW)
        leader = pods.elected(pods=others, timeout=60)
        with self.assertRaises(support.podset.PodError):
            wait_until(lambda: leader.get("/v1/kv/key").status == 200, 5, "it is applied", pods)
        for pod in others:
            self.delay_disk(pod)
        wait_until(lambda: leader.get("/v1/kv/key").status == 200, 30, "the leader's own entry is written", pods)
        pods.wait_equal(pods=others)

    def test_what_is_written_after_its_term_is_answered_to_nobody(self):
        """A follower's append is on its way to a slow disk when the leader is lost, and is written while the follower, which
        was a candidate itself, writes down its vote for the other one: in the new term, before it knows who leads."""
        def prepare(pod):
            self.slow_disk(pod)
            if pod.ordinal == 2:
                pod.environment["SEEDPOD_RAFT_ELECTION_TIMEOUT"] = f"{support.podset.SLOW:.0f}s"

        pods = self.cluster(prepare, {"raft.election_timeout": f"{4 * support.podset.SLOW:.0f}s"})
        late = pods[2]
        former = pods.leader
        self.assertIsNot(former, late)
        heir = next(pod for pod in pods if pod not in (former, late))
        term, entries = former.position()["raft"]["term"], self.entries(late)
        self.delay_disk(late, appends=600)
        self.assertEqual(former.put("key", b"a value that is written late").status, 204)
        wait_until(lambda: self.entries(late) > entries, 10, "the slow one has it in its log", pods)
        former.server.kill()
        wait_until(lambda: late.position()["raft"]["role"] == "candidate", 30, "the slow one misses its leader", pods)
        self.delay_disk(late, syncs=600, appends=600)
        wait_until(lambda: self.term_on_disk(late) > term, 60, "the slow one is asked for its vote", pods)
        # The append waits for nothing but its own delay; the vote, on libraft's thread, is still being written.
        self.delay_disk(late, syncs=600)
        wait_until(lambda: any(b"written late" in path.read_bytes() for path in (late.data_dir / "raft").glob("open-*")),
                   20, "the append is written", pods)
        self.delay_disk(late)
        wait_until(lambda: not late.server.running or late.position()["leader"] == heir.url, 30, "it follows", pods)
        self.assertTrue(late.server.running, "it ended")
        self.assertEqual(heir.put("after", b"value").status, 204)
        former.server.start()
        pods.wait_equal()
        self.assertEqual([pod.get("/v1/kv/key").body for pod in pods], [b"a value that is written late"] * 3)

    def test_a_change_of_members_that_another_leader_replaced_is_taken_back(self):
        """The leader alone has the change in its log, stands still, and finds another one when it goes on; the entry of the
        members before was cut away long ago."""
        pods = self.cluster(config={"raft.trailing": "16", "raft.snapshot_every": "16", "raft.election_timeout": "1s"})
        former = pods.leader
        others = [pod for pod in pods if pod is not former]
        for n in range(200):
            self.assertEqual(former.put(f"key-{n}", b"value").status, 204)
        pods.wait_equal()
        wait_until(lambda: self.entries(former) < 100, 20, "the log is cut", pods)
        for restarted in (False, True):
            with self.subTest("restarted" if restarted else "in one life"):
                former = pods.elected()
                others = [pod for pod in pods if pod is not former]
                for pod in others:
                    pod.server.kill()
                thread = threading.Thread(target=self.forget, args=(former, others[0].ordinal + 1), daemon=True)
                thread.start()
                wait_until(lambda: former.position()["raft"]["members"] == 2, 10, "it has the change in its log", pods, pause=0.005)
                if restarted:
                    former.server.kill()
                else:
                    os.kill(former.server.pid, signal.SIGSTOP)
                for pod in others:
                    pod.server.start()
                leader = pods.elected(pods=others)
                wait_until(lambda: leader.put("after", b"value").status == 204, 10, "the others go on", pods)
                if restarted:
                    former.server.start()
                else:
                    os.kill(former.server.pid, signal.SIGCONT)
                wait_until(lambda: not former.server.running or former.position()["leader"] == leader.url, 20, "it follows", pods)
                self.assertTrue(former.server.running, "it ended")
                pods.wait_equal()
                wait_until(lambda: [pod.position()["raft"]["members"] for pod in pods] == [3, 3, 3], 10, "all know all", pods)
                thread.join(30)

    def forget(self, pod, number):
        try:
            pod.ask("DELETE", f"/v1/members/{number}")
        except (OSError, http.client.HTTPException):
            pass  # whoever it was asked stands still, or ended


if __name__ == "__main__":
    support.main()
