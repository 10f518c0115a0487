#!/usr/bin/env python3
"""Mode raft with whole pods: founding, the session that users of a Raft key-value store know, lost volumes, a member
that the log does not reach back to, pods that leave."""

import os
import pathlib
import re
import signal
import threading

import support
from support import wait_until

CONFIG = {"replication.mode": "raft"}
CLOSE_WAIT = "08"  # of /proc/net/tcp: the other side has closed it


def members(pod):
    return {m["number"]: m for m in pod.get("/v1/members").json()["members"]}


def voters(pod):
    return sorted(n for n, m in members(pod).items() if m["role"] == "voter")


class RaftPods(support.PodTest):
    def cluster(self, replicas=3, config=None, voters=None):
        """A set of so many pods, of which all vote, or the first `voters`."""
        pods = self.pod_set(0, CONFIG | (config or {}))
        pods.scale(replicas)
        self.wait_voters(pods, range(1, (voters or replicas) + 1))
        pods.wait_ready()
        return pods

    def wait_voters(self, pods, numbers):
        wait_until(lambda: voters(pods.leader) == list(numbers), 30, f"{list(numbers)} vote", pods)

    def write(self, pod, key, value, root="/v1/kv/"):
        """As curl -L -XPUT: any member will do."""
        reply = pod.ask("PUT", root + key, value)
        for _ in range(3):
            if reply.status != 307:
                break
            host, path = re.fullmatch(r"http://([\d.]+):\d+(/.*)", reply.headers["Location"]).groups()
            other = next(p for p in pod.set if p.ip == host)
            reply = other.ask("PUT", path, value)
        self.assertEqual(reply.status, 204, reply.body)
        return reply

    def delete(self, pod, path):
        """As curl -L -XDELETE --retry: while a new leader begins its term, it answers 503."""
        def ask():
            reply = pod.ask("DELETE", path)
            for _ in range(3):
                if reply.status != 307:
                    break
                host = re.fullmatch(r"http://([\d.]+):\d+(/.*)", reply.headers["Location"]).group(1)
                reply = next(p for p in pod.set if p.ip == host).ask("DELETE", path)
            return reply if reply.status != 503 else None
        return wait_until(ask, 20, f"an answer to DELETE {path}", pod.set)

    def read(self, pod, key):
        reply = pod.get(f"/{key}?consistency=linearizable")
        return reply.body if reply.status == 200 else reply.status

    def fill(self, pods, count):
        pods.leader.load((f"key-{n}", "x" * 100) for n in range(count))


class Session(RaftPods):
    def test_pods_that_start_at_once_found_one_cluster(self):
        pods = self.cluster(3)
        self.assertRegex(pods[0].init.log, "action=create")
        for pod in pods[1], pods[2]:
            self.assertRegex(pod.init.log, "action=seed")
        self.assertEqual(len({pod.position()["cluster"] for pod in pods}), 1)
        self.assertEqual([pod.position()["role"] for pod in pods].count("leader"), 1)
        for pod in pods:
            wait_until(lambda p=pod: p.metrics()["seedpod_raft_voters"] == 3, 20, "the metrics count three", pods)
            self.assertIn("[+]log ok", pod.ask_sidecar("/readyz?verbose").text())

    def test_the_session_of_a_raft_key_value_store(self):
        pods = self.cluster(3)
        for pod in pods:
            self.write(pod, f"by-{pod.ordinal}", b"hello", "/")
            self.assertEqual(self.read(pods.leader, f"by-{pod.ordinal}"), b"hello")
        self.write(pods[1], "my-key", b"hello", "/")
        # One is stopped, the others write on; started again, it has the new value.
        pods[1].stop()
        self.write(pods.elected(), "my-key", b"foo", "/")
        self.assertEqual(self.read(pods.leader, "my-key"), b"foo")
        pods[1].start()
        pods.wait_ready()
        self.assertEqual(pods[1].get("/my-key").body, b"foo")
        # A fourth is added, and started.
        pods.add()
        self.assertEqual(pods.leader.ask("POST", "/4", pods[3].url.encode()).status, 204)
        pods[3].start()
        self.wait_voters(pods, [1, 2, 3, 4])
        pods.wait_ready()
        self.assertEqual(pods[3].get("/my-key").body, b"foo")
        # The third is removed, and stops itself; what is left goes on.
        gone = pods[2]
        self.assertEqual(self.delete(pods.leader, "/3").status, 204)
        self.wait_voters(pods, [1, 2, 4])
        wait_until(lambda: not gone.server.running, 20, "the removed member has stopped itself", pods)
        self.write(pods.leader, "my-key", b"bar", "/")
        for pod in pods[0], pods[1], pods[3]:
            self.assertEqual(self.read(pod, "my-key"), b"bar")
        for method in "PATCH", "OPTIONS":
            reply = pods[0].ask(method, "/my-key")
            self.assertEqual(reply.status, 405)
            self.assertIn("PUT", reply.headers["Allow"])


class Volumes(RaftPods):
    def test_a_lost_volume_is_seeded_and_joins_as_another_member(self):
        pods = self.cluster(3)
        self.fill(pods, 500)
        for lost in pods[0], pods.leader:
            number, before = lost.ordinal + 1, members(pods.leader)
            lost.kill()
            lost.delete_volume()
            pods.elected(pods=[p for p in pods if p is not lost])
            self.write(pods.leader, "meanwhile", b"written")
            lost.start()
            self.assertRegex(lost.init.log.splitlines()[-1] + lost.init.log, "action=seed")
            self.wait_voters(pods, [1, 2, 3])
            pods.wait_ready()
            self.assertNotEqual(members(pods.leader)[number]["id"], before[number]["id"])
            self.assertEqual(lost.get("/v1/kv/meanwhile").body, b"written")
        pods.wait_equal()

    def test_lost_volumes_leave_no_connections(self):
        """Each comes back as another member; what led to the former one is closed, by the leader and by the other."""
        pods = self.cluster(3)
        lost = next(pod for pod in pods if pod is not pods.leader)
        others = [pod for pod in pods if pod is not lost]

        def left_open(pod):
            inodes = set()
            for entry in pathlib.Path(f"/proc/{pod.server.pid}/fd").iterdir():
                try:
                    inodes.add(os.readlink(entry))
                except FileNotFoundError:
                    pass
            rows = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
            return sum(f"socket:[{row[9]}]" in inodes and row[3] == CLOSE_WAIT for row in rows)

        for _ in range(3):
            leader = pods.leader
            leader.server.signal(signal.SIGSTOP)  # so that it does not notice at once
            lost.kill()
            wait_until(lambda: left_open(leader) > 0, 10, "the leader has a connection to nobody", pods)
            leader.server.signal(signal.SIGCONT)
            lost.delete_volume()
            lost.start()
            self.wait_voters(pods, [1, 2, 3])
            pods.wait_ready()
        wait_until(lambda: not any(left_open(pod) for pod in others), 15, "former members' connections are closed", pods)

    def test_a_member_beyond_the_log_is_seeded_again_in_the_running_pod(self):
        pods = self.cluster(3, {"raft.trailing": "16", "raft.snapshot_every": "16"})
        away = next(pod for pod in pods if pod is not pods.leader)
        away.stop()
        with pods.leader.client() as client:
            for n in range(200):
                self.assertEqual(client.ask("PUT", f"/v1/kv/key-{n}", b"value").status, 204)
        away.start()
        wait_until(lambda: away.status()["reseeds"] == 1, 30, "it was seeded again", pods)
        pods.wait_ready()
        pods.wait_equal()
        self.assertIn("seedpod-init begins", away.sidecar.log)
        # It is the member that it was, and goes on by the log.
        self.write(pods.leader, "after", b"the seed")
        wait_until(lambda: away.get("/v1/kv/after").body == b"the seed", 20, "the log goes on", pods)
        away.restart()
        pods.wait_ready()
        pods.wait_equal()


    def test_a_log_that_lasts_for_less_than_a_seeding_takes(self):
        """Under load: who is being seeded finds the rest of the log, and is ready."""
        self.seeded_under_load(16)

    def test_a_log_that_is_longer_than_a_pointer_is_old(self):
        """The same where the pointer is within the log that is kept: that it was acknowledged does not mean much."""
        self.seeded_under_load(200)

    def seeded_under_load(self, trailing):
        pods = self.cluster(3, {"raft.trailing": str(trailing), "raft.snapshot_every": "16",
                                "bootstrap.rate_limit": "2MiB"})
        pods.leader.load((f"large-{n}", "x" * 1000) for n in range(2000))
        away = next(pod for pod in pods if pod is not pods.leader)
        away.stop()
        leader, end, failures = pods.leader, threading.Event(), []

        def load():
            with leader.client() as client:
                n = 0
                while not end.is_set():
                    status = client.ask("PUT", f"/v1/kv/key-{n % 100}", b"value").status
                    if status != 204:
                        failures.append(status)
                    n += 1

        thread = threading.Thread(target=load)
        thread.start()
        try:
            before = leader.position()["seq"]
            wait_until(lambda: leader.position()["seq"] > before + 3 * trailing + 150, 20, "the log is cut", pods)
            away.start()
            wait_until(lambda: away.readyz() == 200, 40, "it is ready while the others write", pods)
            self.assertEqual(away.status()["reseeds"], 1)
        finally:
            end.set()
            thread.join()
        self.assertEqual(failures, [])
        pods.wait_equal()
        self.assertEqual(leader.server_metrics()["seedpod_raft_log_let_go_total"], 0)
        # Then it is no longer kept.
        with leader.client() as client:
            for n in range(100):
                self.assertEqual(client.ask("PUT", f"/v1/kv/key-{n}", b"value").status, 204)
        wait_until(lambda: leader.server_metrics()["seedpod_raft_log_entries"] <= trailing + 48, 20,
                   "the log is short again", pods)


class Leaving(RaftPods):
    def test_the_leader_is_taken_out_and_its_writes_stay(self):
        pods = self.cluster(3)
        for _ in range(2):
            leader = pods.leader
            number = leader.ordinal + 1
            self.write(leader, f"by-{number}", b"value")
            # It hands over first, and sends us to who leads then.
            reply = leader.ask("DELETE", f"/v1/members/{number}")
            self.assertEqual(reply.status, 307, reply.body)
            self.assertIn("the lead is handed over", leader.server.log)
            self.assertEqual(self.delete(leader, f"/v1/members/{number}").status, 204)
            others = [pod for pod in pods if pod is not leader]
            second = pods.elected(pods=others)
            # Asked again: it is out.
            self.assertEqual(self.delete(second, f"/v1/members/{number}").status, 404)
            self.assertNotIn(number, members(second))
            self.write(second, "after", b"it went")
            wait_until(lambda p=leader: not p.server.running, 20, "it has stopped itself", pods)
            leader.stop()
            leader.start()
            self.wait_voters(pods, [1, 2, 3])
            pods.wait_ready()
            self.assertEqual(leader.get(f"/v1/kv/by-{number}").body, b"value")

    def test_the_last_voter_stays(self):
        pods = self.cluster(2, {"raft.max_voters": "1"}, voters=1)
        self.assertEqual(members(pods.leader)[2]["role"], "standby")
        reply = pods.leader.ask("DELETE", "/v1/members/1")
        self.assertEqual(reply.status, 409, reply.body)
        self.assertEqual(pods.leader.ask("DELETE", "/v1/members/2").status, 204)

    def leave(self, pod, when="now"):
        pod.sidecar.stop()
        pod.sidecar.arguments = ["--leave", when]
        try:
            pod.sidecar.start()
            return pod.sidecar.wait()
        finally:
            pod.sidecar.arguments = []

    def test_a_pod_that_is_scaled_away_leaves_and_one_that_returns_joins_again(self):
        pods = self.cluster(3)
        gone = next(pod for pod in pods if pod is not pods.leader)
        self.assertEqual(self.leave(gone), 0)
        self.assertNotIn(gone.ordinal + 1, members(pods.leader))
        wait_until(lambda: not gone.server.running, 20, "it has stopped itself", pods)
        gone.stop()
        self.write(pods.leader, "key", b"of two")
        gone.start()
        self.wait_voters(pods, [1, 2, 3])
        pods.wait_ready()
        self.assertEqual(gone.get("/v1/kv/key").body, b"of two")

    def test_outside_kubernetes_nobody_leaves_by_the_statefulset(self):
        pods = self.cluster(1)
        self.assertEqual(self.leave(pods[0], "scaled"), 78)
        self.assertEqual(voters(pods[0]), [1])


if __name__ == "__main__":
    support.main()
