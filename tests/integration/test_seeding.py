#!/usr/bin/env python3
"""A follower on an empty volume: seeded by tarball, unready until its content is proven to be the leader's."""

import json
import signal
import socketserver
import threading
import time

import support
from support import wait_until

KEYS = 200_000 if not support.SANITIZE else 30_000


class OtherProgram:
    """Listens where a pod's server would, and answers everything with the same bytes."""

    def __init__(self, host, port, answer):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(4096)
                self.request.sendall(answer)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer((host, port), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Seeding(support.PodTest):
    def test_a_large_store_is_seeded_by_tarball_and_readiness_is_proven(self):
        pods = self.pod_set(1)
        pods.leader.load((f"key/{n:07d}", f"the value of key number {n}") for n in range(KEYS))
        applied_before = pods.leader.server_metrics()["seedpod_server_changes_records_read_total"]
        follower = pods.add()
        follower.begin()
        # Every answer of /readyz with the digests around it: it must never say 200 before they are equal.
        answers = []
        while not answers or answers[-1][0] != 200:
            follower.tick()
            try:  # before it is asked whether it is ready: nobody writes, so what is equal stays so
                equal = follower.position()["digest"] == pods.leader.position()["digest"]
            except (OSError, support.podset.http.client.HTTPException):
                equal = False
            try:
                status = follower.readyz()
            except OSError:
                status = None
            answers.append((status, equal))
            self.assertLess(len(answers), 30000 * support.SLOW, pods.log_tails())
            time.sleep(0.002)
        self.assertEqual(follower.phase, "running")
        self.assertEqual({status for status, _ in answers} - {None, 503}, {200})
        self.assertTrue(answers[-1][1], "ready with another digest than the leader's")
        position = pods.wait_equal()
        self.assertEqual(position["keys"], KEYS)
        # By tarball: the feed carried none of the keys.
        read = pods.leader.server_metrics()["seedpod_server_changes_records_read_total"] - applied_before
        self.assertLess(read, KEYS / 100)
        self.assertRegex(follower.init.log, r"action=\"?seed")
        self.assertEqual(follower.get("/v1/kv/key%2F0000007").body, b"the value of key number 7")
        self.assertEqual([p.name for p in follower.data_dir.glob("store*")], ["store"])

    def test_a_seeded_follower_is_not_ready_before_the_leader_has_confirmed_its_content(self):
        """It has the leader's very content, and serves it; but that nobody has shown yet."""
        pods = self.pod_set(1, {"readiness.max_lag": "1h"})
        pods.leader.put("x", b"x")
        follower = pods.add()
        self.assertEqual(follower.run_init()[0], 0)
        pods.leader.server.signal(signal.SIGSTOP)
        follower.server.start()
        follower.sidecar.start()
        wait_until(lambda: follower.get("/v1/kv/x").body == b"x", 20, "it serves", pods)
        wait_until(lambda: "[+]server" in follower.ask_sidecar("/readyz?verbose").text(), 20, "its server is seen", pods)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            verbose = follower.ask_sidecar("/readyz?verbose")
            self.assertEqual(verbose.status, 503)
            self.assertIn("[-]proof", verbose.text())
        pods.leader.server.signal(signal.SIGCONT)
        pods.wait_ready()

    def test_a_follower_whose_server_has_no_store_is_unready(self):
        pods = self.pod_set(1)
        follower = pods.add()
        follower.server.start()
        support.wait_until(lambda: follower.get("/v1/position").status == 503, 20, "the server answers", pods)
        self.assertEqual(follower.get("/v1/kv/x").status, 503)
        self.assertEqual(follower.ask_control("GET", "/position").status, 404)

    def test_writes_go_on_while_followers_are_seeded_from_each_other_or_the_leader(self):
        pods = self.pod_set(1)
        pods.leader.load((f"key/{n:06d}", "x" * 100) for n in range(20000 // int(support.SLOW)))
        stop, count = threading.Event(), [0]

        def write():
            with pods.leader.client() as client:
                while not stop.is_set():
                    assert client.ask("PUT", f"/v1/kv/load-{count[0] % 500}", str(count[0]).encode()).status == 204
                    count[0] += 1
        writer = threading.Thread(target=write)
        writer.start()
        try:
            pods.scale(4)
            pods.wait_ready()
        finally:
            stop.set()
            writer.join()
        self.assertGreater(count[0], 10)
        self.assertEqual(pods.wait_equal()["keys"], pods.leader.position()["keys"])

    def test_seeding_with_zstd(self):
        pods = self.pod_set(1, {"bootstrap.compression": "zstd"})
        pods.leader.load((f"key/{n:06d}", "the same again and again " * 8) for n in range(5000))
        pods.scale(2)
        pods.wait_equal()

    def test_without_a_leader_a_follower_waits_and_is_seeded_when_one_comes(self):
        pods = self.pod_set(0)
        leader, follower = pods.add(), pods.add()
        follower.begin()
        support.wait_until(lambda: len(follower.init.log.splitlines()) >= 3, 20, "init reports its waiting", pods)
        self.assertTrue(follower.init.running)
        leader.start_serving()
        leader.put("late", b"leader")
        follower.wait_running()
        pods.wait_ready()
        pods.wait_equal()

    def test_without_a_leader_it_gives_up_after_its_attempts_with_69_and_says_why(self):
        pods = self.pod_set(0, {"bootstrap.attempts": "2"})
        pods.add()
        follower = pods.add()
        code, log = follower.run_init()
        self.assertEqual(code, 69, log)
        message = json.loads(follower.init.termination_log.read_text())
        self.assertLessEqual({"phase", "donor", "bytes", "expected", "found"}, set(message), message)
        self.assertIn("127.0.", follower.init.termination_log.read_text())
        self.assertEqual(len(follower.init.termination_log.read_text().splitlines()), 1)

    def test_a_start_tells_why_the_ones_before_it_failed(self):
        pods = self.pod_set(0, {"bootstrap.attempts": "1"})
        leader, follower = pods.add(), pods.add()
        self.assertEqual(follower.run_init()[0], 69)
        self.assertEqual(follower.run_init()[0], 69)
        leader.start_serving()
        leader.put("late", b"leader")
        code, log = follower.run_init()
        self.assertEqual(code, 0, log)
        self.assertIn("earlier starts failed", log)
        told = json.loads(follower.init.termination_log.read_text())
        self.assertEqual((told["failures"], told["first"]["exit_code"]), (2, 69))
        self.assertIn("there is no store in", told["first"]["error"])
        code, log = follower.run_init()
        self.assertEqual((code, follower.init.termination_log.read_text()), (0, ""), log)
        self.assertNotIn("earlier starts failed", log)

    def test_another_program_in_the_leaders_place_and_other_files_on_the_volume_are_named(self):
        pods = self.pod_set(0, {"bootstrap.attempts": "1"})
        pods.add()
        follower = pods.add()
        follower.data_dir.mkdir(parents=True, exist_ok=True)
        (follower.data_dir / "appendonly.aof").write_text("of another store")
        with OtherProgram(pods[0].ip, 9876, b"-ERR wrong number of arguments for 'get' command\r\n"):
            code, log = follower.run_init()
        self.assertEqual(code, 69, log)
        told = json.loads(follower.init.termination_log.read_text())["error"]
        self.assertIn(f"{pods[0].ip}:9876 does not speak seedpod's protocol", told)
        self.assertIn("which holds other files (appendonly.aof)", told)
        self.assertNotIn("empty", told)

    def test_plan_prints_facts_and_action_and_changes_nothing(self):
        pods = self.pod_set(1)
        pods.leader.put("x", b"x")
        follower = pods.add()
        code, log = follower.run_init("--plan")
        self.assertEqual(code, 0, log)
        self.assertIn("seed", log)
        self.assertIn(pods.leader.position()["cluster"], log)
        self.assertEqual([p.name for p in follower.data_dir.iterdir() if p.name != "lock"], [])

    def test_no_space_is_found_out_before_the_first_byte(self):
        support.need_root("mounts a small volume")
        pods = self.pod_set(1, {"bootstrap.attempts": "1"})
        pods.leader.load(((f"key-{n}", "x" * 50000) for n in range(400)), batch=100)
        served = pods.leader.server_metrics().get("seedpod_snapshot_bytes_total", 0)
        follower = pods.add()
        follower.mount_volume("4m")
        code, log = follower.run_init()
        self.assertEqual(code, 73, log)
        self.assertEqual([p.name for p in follower.data_dir.iterdir() if p.name.startswith("store")], [])
        self.assertLess(pods.leader.server_metrics().get("seedpod_snapshot_bytes_total", 0) - served, 4 << 20)


if __name__ == "__main__":
    support.main()
