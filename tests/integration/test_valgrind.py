#!/usr/bin/env python3
"""Memory, by valgrind: none leaked by init, none lost for good by server and sidecar, no errors in any."""

import re

import support


class Valgrind(support.PodTest):
    def setUp(self):
        super().setUp()
        if support.SANITIZE:
            self.skipTest("the sanitizers look themselves")
        support.need("valgrind")

    def wrap(self, container):
        log = self.dir / f"{container.pod.name}-{container.name}.valgrind"
        container.wrap = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
                          "--errors-for-leak-kinds=definite", "--child-silent-after-fork=yes", f"--log-file={log}"]
        return log

    def lost(self, log, kinds):
        """Bytes by kind; a summary without a leak says so in one line."""
        text = log.read_text()
        if "All heap blocks were freed" in text:
            return 0
        return sum(int(re.search(rf"{kind} lost: ([\d,]+) bytes", text).group(1).replace(",", "")) for kind in kinds)

    def check(self, log, kinds):
        text = log.read_text()
        self.assertRegex(text, r"ERROR SUMMARY: 0 errors", text[-6000:])
        self.assertEqual(self.lost(log, kinds), 0, text[-6000:])

    def test_a_short_session(self):
        pods = self.pod_set(0, {"server.map_size": "64MiB", "readiness.max_lag": "60s"})
        leader, follower = pods.add(), pods.add()
        logs = {(pod.name, c.name): self.wrap(c) for pod in pods for c in pod.containers.values()}
        leader.start(timeout=120)
        support.wait_until(lambda: leader.position(), 60, "the leader answers", pods)
        leader.load(((f"key-{n}", f"value {n}") for n in range(500)), batch=100)
        follower.start(timeout=120)
        pods.wait_ready(timeout=120)
        # Every kind of request once or more, also those that fail.
        for n in range(20):
            self.assertEqual(leader.put(f"more-{n}", bytes(5000)).status, 204)
            self.assertEqual(leader.ask("DELETE", f"/v1/kv/key-{n}").status, 204)
            self.assertEqual(follower.put("x", b"x").status, 307)
        for path in ("/v1/kv?limit=50&values=true", "/v1/changes?since=0", "/v1/snapshot", "/keys", "/status?level=full",
                     "/v1/kv/%zz", "/nothing", "/v1/changes?since=99999&cluster=x&epoch=1"):
            leader.get(path)
        leader.ask("POST", "/v1/batch", b"no json\n")
        for pod in pods:
            for path in ("/metrics", "/status", "/readyz?verbose", "/livez"):
                pod.ask_sidecar(path)
        pods.edit_config({"sync.interval": "3s"})
        support.wait_until(lambda: follower.status()["config"]["hash"] == pods.config_hash(), 60, "it is acknowledged", pods)
        pods.wait_equal(timeout=120)
        for pod in (follower, leader):
            self.assertEqual(pod.stop(grace=120), {"server": 0, "sidecar": 0}, pods.log_tails())
        for (pod, name), log in logs.items():
            with self.subTest(f"{pod} {name}"):
                self.check(log, ("definitely", "indirectly", "possibly") if name == "init" else ("definitely",))


if __name__ == "__main__":
    support.main()
