#!/usr/bin/env python3
"""Mode raft: the server's side. A cluster founds itself, grows, elects, and keeps what it has answered."""

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


if __name__ == "__main__":
    support.main()
