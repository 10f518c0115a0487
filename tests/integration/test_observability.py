#!/usr/bin/env python3
"""What a pod says about itself: liveness, readiness, metrics, status, logs."""

import re
import subprocess

import support
from support import wait_until


class Sidecar(support.SharedPods):
    replicas = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.follower = cls.pods[1]
        cls.leader.put("x", b"x")
        cls.pods.wait_equal()

    def test_promtool_accepts_the_metrics_of_every_pod(self):
        support.need("promtool")
        for pod in self.pods:
            reply = pod.ask_sidecar("/metrics")
            self.assertEqual(reply.status, 200)
            self.assertRegex(reply.headers["Content-Type"], r"^text/plain; version=0\.0\.4")
            done = subprocess.run(["promtool", "check", "metrics"], input=reply.body, capture_output=True)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""), pod.name)
        done = subprocess.run(["promtool", "check", "metrics"], input=self.leader.ask_control("GET", "/metrics").body,
                              capture_output=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""), "the control socket's")

    def test_the_metrics_of_the_contract_are_there(self):
        position = self.pods.wait_equal()
        wait_until(lambda: self.follower.metrics()["seedpod_leader_seq"] == position["seq"], 20, "the numbers are in",
                   self.pods)
        text = self.follower.ask_sidecar("/metrics").text()
        metrics = self.follower.metrics()
        for name, value in {"seedpod_ready": 1, "seedpod_seq": position["seq"], "seedpod_leader_seq": position["seq"],
                            "seedpod_lag_changes": 0, "seedpod_digest_mismatch_total": 0,
                            "seedpod_config_reload_success": 1}.items():
            self.assertEqual(metrics[name], value, name)
        for name in ("seedpod_lag_seconds", "seedpod_applied_changes_total", "seedpod_sync_errors_total",
                     "seedpod_config_reload_timestamp_seconds", "seedpod_config_info", "seedpod_build_info",
                     "seedpod_snapshot_bytes_total", "seedpod_snapshot_duration_seconds"):
            self.assertRegex(text, rf"(?m)^# TYPE {name} ")
        self.assertTrue(any(name.startswith("seedpod_build_info{") and "version=" in name for name in metrics))
        self.assertTrue(all(line.startswith(("#", "seedpod_")) for line in text.splitlines() if line), text)

    def test_readyz_is_terse_and_verbose_on_demand(self):
        for pod in self.pods:
            reply = pod.ask_sidecar("/readyz")
            self.assertEqual(reply.status, 200)
            verbose = pod.ask_sidecar("/readyz?verbose")
            self.assertEqual(verbose.status, 200)
            lines = verbose.text().splitlines()
            self.assertIn("[+]server ok", lines)
            checks = [line for line in lines if line.startswith("[")]
            self.assertTrue(all(re.fullmatch(r"\[\+\][a-z_]+ .+", line) for line in checks), lines)
        names = {line.split()[0] for line in self.follower.ask_sidecar("/readyz?verbose").text().splitlines()}
        self.assertIn("[+]lag", names)

    def test_livez_is_200(self):
        for pod in self.pods:
            self.assertEqual(pod.ask_sidecar("/livez").status, 200)

    def test_the_status_tells_both_positions_and_the_lag(self):
        position = self.pods.wait_equal()
        self.leader.put("status", b"x")
        position = self.pods.wait_equal()
        wait_until(lambda: self.follower.status()["leader_position"]["seq"] == position["seq"], 20, "the status is fresh", self.pods)
        status = self.follower.status()
        self.assertEqual(status["position"]["seq"], position["seq"])
        self.assertEqual(status["position"]["digest"], status["leader_position"]["digest"])
        self.assertEqual(status["lag"]["changes"], 0)
        self.assertLess(status["lag"]["seconds"], 10)
        self.assertEqual(status["config"]["hash"], self.pods.config_hash())
        self.assertIn("state", status)

    def test_other_paths_and_methods(self):
        self.assertEqual(self.leader.ask_sidecar("/nothing").status, 404)
        for path in ("/livez", "/readyz", "/metrics", "/status"):
            reply = self.leader.ask_sidecar(path, "POST", b"")
            self.assertEqual(reply.status, 405, path)
            self.assertIn("GET", reply.headers["Allow"])
        self.assertEqual(self.leader.ask_sidecar("/readyz", "POST", b"a body").status, 405)
        self.assertEqual(self.leader.ask_sidecar("/nothing", "POST", b"a body").status, 404)

    def test_logs_are_one_logfmt_line_each(self):
        for pod in self.pods:
            for container in pod.containers.values():
                for line in container.log.splitlines():
                    self.assertRegex(line, r"^time=\S+ level=(debug|info|warn|error) program=seedpod-\w+ msg=", container.name)


class Trouble(support.PodTest):
    def test_a_dead_server_makes_the_pod_unready_but_not_dead(self):
        pods = self.pod_set(1)
        pods.wait_ready()
        pods.leader.kill("server")
        wait_until(lambda: pods.leader.readyz() == 503, 20, "it is unready", pods)
        self.assertIn("[-]server ", pods.leader.ask_sidecar("/readyz?verbose").text())
        self.assertEqual(pods.leader.ask_sidecar("/livez").status, 200)
        self.assertEqual(pods.leader.metrics()["seedpod_ready"], 0)
        pods.leader.restart("server")
        pods.wait_ready()

    def test_a_lost_leader_leaves_followers_serving_and_their_lag_growing(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pods.leader.kill()
        wait_until(lambda: pods[1].metrics()["seedpod_lag_seconds"] > 1.5, 30, "the lag grows", pods)
        self.assertEqual(pods[1].readyz(), 200)
        self.assertEqual(pods[1].ask_sidecar("/livez").status, 200)
        self.assertGreater(pods[1].metrics()['seedpod_sync_errors_total{reason="unreachable"}'], 0)
        wait_until(lambda: pods[1].status()["stale"], 20, "it says that it is stale", pods)
        self.assertEqual(pods[1].metrics()["seedpod_stale"], 1)
        self.assertEqual(pods[1].readyz(), 200)

    def test_a_lost_leader_makes_followers_unready_where_that_is_wanted(self):
        pods = self.pod_set(2, {"readiness.leader_loss": "unready", "readiness.max_lag": "1s"})
        pods.wait_ready()
        pods.leader.kill()
        wait_until(lambda: pods[1].readyz() == 503, 30, "it is unready", pods)
        pods.leader.start()
        pods.wait_ready()

    def test_a_follower_with_a_full_volume_is_unready_and_says_why_and_how_far_behind(self):
        support.need_root("mounts a small volume")
        pods = self.pod_set(1, {"readiness.max_lag": "1s"})
        follower = pods.add()
        follower.mount_volume("6m")
        follower.start()
        pods.leader.put("before", b"x")
        pods.wait_ready()
        pods.wait_equal()
        pods.leader.load(((f"key-{n}", "x" * 50000) for n in range(300)), batch=50)
        wait_until(lambda: follower.readyz() == 503, 30, "it is unready", pods)
        wait_until(lambda: "[-]lag " in follower.ask_sidecar("/readyz?verbose").text(), 30, "it says how far", pods)
        self.assertEqual(follower.status()["last_error"]["code"], "SP_ENOSPACE")
        self.assertEqual(follower.get("/v1/kv/before").body, b"x")
        self.assertGreater(follower.metrics()["seedpod_lag_changes"], 100)


if __name__ == "__main__":
    support.main()
