#!/usr/bin/env python3
"""Followers come to hold exactly what the leader holds, whatever happened in between, and at the cost of what changed."""

import http.client
import random
import signal
import threading
import time

import support
from support import quote_key


class Sync(support.PodTest):
    def test_ten_thousand_random_changes_with_a_follower_stopped_for_part_of_them(self):
        rng = support.seeded_random("test_sync")
        changes = 10_000 if not support.SANITIZE else 3_000
        pods = self.pod_set(3)
        pods.wait_ready()
        keys = [f"key-{n}".encode() for n in range(1500)] + [support.random_bytes(rng, rng.randint(1, 480))
                                                              for _ in range(500)]
        truth = {}
        with pods.leader.client() as client:
            for n in range(changes):
                if n == changes // 4:
                    pods[1].stop()
                if n == changes // 2:
                    pods[1].begin()
                if n == changes * 5 // 8:
                    pods[2].kill()
                if n == changes * 6 // 8:
                    pods[2].begin()
                key = rng.choice(keys)
                if key in truth and rng.random() < 0.3:
                    self.assertEqual(client.ask("DELETE", f"/v1/kv/{quote_key(key)}").status, 204)
                    del truth[key]
                else:
                    truth[key] = support.random_bytes(rng, rng.choice((0, 1, 20, 300, 5000)))
                    self.assertEqual(client.ask("PUT", f"/v1/kv/{quote_key(key)}", truth[key]).status, 204)
                pods[1].tick()
                pods[2].tick()
        for pod in pods:
            pod.wait_running()
        position = pods.wait_equal()
        self.assertEqual((position["seq"], position["keys"]), (changes, len(truth)))
        pods.wait_ready()
        for pod in pods:
            with pod.client() as client:
                for key in keys:
                    reply = client.ask("GET", f"/v1/kv/{quote_key(key)}")
                    if key in truth:
                        self.assertTrue(reply.status == 200 and reply.body == truth[key], (pod.name, key))
                    else:
                        self.assertEqual(reply.status, 404, (pod.name, key))
            self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], position["digest"], pod.name)

    def test_while_changes_come_the_server_pulls_by_itself(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pulled = "seedpod_server_pulled_feeds_total"
        self.assertEqual(pods[1].server_metrics()[pulled], 0)
        number = [0]

        def come():
            for _ in range(50):
                number[0] += 1
                self.assertEqual(pods.leader.put("number", b"%d" % number[0]).status, 204)
            return pods[1].server_metrics()[pulled] >= 50
        support.wait_until(come, 30, "the server has pulled", pods)
        self.assertEqual(pods[1].readyz(), 200)
        pods.wait_equal()
        self.assertEqual(pods[1].get("/v1/kv/number").body, b"%d" % number[0])
        # A leader that goes and comes back is followed as ever.
        pods.leader.kill("server")
        pods.leader.restart("server")
        pods.wait_ready()
        support.wait_until(lambda: pods.leader.put("after", b"x").status == 204, 20, "the leader takes writes", pods)
        pods.wait_equal()

    def load_until(self, leader, ended, written):
        """Writes growing numbers, as long as the leader takes them, until `ended` is set."""
        while not ended.is_set():
            try:
                with leader.client() as client:
                    while not ended.is_set():
                        if client.ask("PUT", "/v1/kv/number", b"%d" % (written[0] + 1)).status == 204:
                            written[0] += 1
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    def test_a_leader_killed_or_stopped_amid_a_stream_is_followed_again_and_no_position_goes_back(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pods.supervise()
        leader, follower = pods
        ended, written, seqs = threading.Event(), [0], [0]
        load = threading.Thread(target=self.load_until, args=(leader, ended, written))
        load.start()
        self.addCleanup(load.join, 60)
        self.addCleanup(ended.set)

        def now():
            return follower.server_metrics()["seedpod_server_pulled_feeds_total"], follower.position()["seq"]

        def follows():
            """The server itself pulls, and has something new."""
            pulled = follower.server_metrics().get("seedpod_server_pulled_feeds_total", 0)
            seq = follower.position()["seq"]
            self.assertGreaterEqual(seq, seqs[-1])
            seqs.append(seq)
            return pulled > before[0] and seq > before[1]
        for fault in ("kill", "stop", "kill", "stop"):
            before = now()
            support.wait_until(follows, 30, f"the follower follows before the {fault}", pods)
            if fault == "kill":
                leader.kill("server")
            else:
                leader.server.process.send_signal(signal.SIGSTOP)
                # Longer than the puller waits for a silent leader: it has given the stream up then.
                time.sleep(2.5)
                self.assertEqual(follower.get("/v1/kv/number").status, 200)
                leader.server.process.send_signal(signal.SIGCONT)
            before = now()
            support.wait_until(follows, 60, f"the follower follows after the {fault}", pods)
        ended.set()
        load.join(60)
        position = pods.wait_equal(timeout=60)
        self.assertGreaterEqual(int(leader.get("/v1/kv/number").body), written[0])
        self.assertEqual(follower.ask_control("GET", "/digest").json()["digest"], position["digest"])

    def test_poll_mode_syncs_every_interval(self):
        pods = self.pod_set(2, {"sync.mode": "poll", "sync.interval": "300ms"})
        pods.wait_ready()
        pods.leader.put("polled", b"x")
        support.wait_until(lambda: pods[1].get("/v1/kv/polled").status == 200, 10, "the change has come", pods)
        pods.wait_equal()

    def test_a_sidecar_killed_and_started_again_goes_on(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pods[1].kill("sidecar")
        pods.leader.load((f"meanwhile-{n}", "x") for n in range(2000))
        pods[1].restart("sidecar")
        pods.wait_equal()
        pods.wait_ready()

    def test_large_values_are_synced(self):
        rng = random.Random(3)
        pods = self.pod_set(2)
        pods.wait_ready()
        pods[1].kill("sidecar")
        values = {f"large-{n}": support.random_bytes(rng, 8 << 20) for n in range(4)}
        for key, value in values.items():
            self.assertEqual(pods.leader.put(key, value).status, 204)
        pods[1].restart("sidecar")
        pods.wait_equal()
        for key, value in values.items():
            self.assertTrue(pods[1].get(f"/v1/kv/{key}").body == value, key)


class CatchUpCost(support.PodTest):
    """The cost of catching up: of what changed, not of what there is."""

    CHANGES = 1000
    SIZES = (1_000, 1_000_000) if not support.SANITIZE else (1_000, 50_000)

    def cost(self, keys):
        """Records read and bytes sent by the leader for CHANGES changes in a store of `keys` keys."""
        pods = support.PodSet(self.dir / str(keys), support.BUILD, support.octet())
        self.addCleanup(pods.close)
        pods.scale(1)
        support.wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        pods.leader.load(((f"key/{n:09d}", "a value of the usual length") for n in range(keys)), batch=10000)
        pods.scale(2, timeout=120)
        pods.wait_ready()
        pods.wait_equal()
        # Only the sidecar is away: init must not come in between. It waits for changes, and its request must not be open
        # at the leader any more: a first change answers it, to one that stands still and is killed then.
        support.wait_until(lambda: pods.leader.server_metrics()["seedpod_server_waiting_requests"] == 1, 20,
                           "the follower waits for changes", pods)
        pods[1].sidecar.process.send_signal(signal.SIGSTOP)
        read = pods.leader.server_metrics()["seedpod_server_changes_records_read_total"]
        pods.leader.put("key/first", b"another value of this length")
        support.wait_until(lambda: pods.leader.server_metrics()["seedpod_server_changes_records_read_total"] > read, 20,
                           "its request is answered", pods)
        pods[1].kill("sidecar")
        before = pods.leader.server_metrics()
        step = keys // self.CHANGES
        pods.leader.load((f"key/{n * step:09d}", "another value of this length") for n in range(1, self.CHANGES))
        pods[1].restart("sidecar")
        pods.wait_equal()
        after = pods.leader.server_metrics()
        pods.close()
        return tuple(after[name] - before[name] for name in ("seedpod_server_changes_records_read_total",
                                                             "seedpod_server_changes_bytes_sent_total"))

    def test_catching_up_costs_the_same_in_a_small_and_in_a_large_store(self):
        small, large = (self.cost(keys) for keys in self.SIZES)
        print(f"# catching up {self.CHANGES} changes: records and bytes with {self.SIZES[0]} keys {small}, "
              f"with {self.SIZES[1]} keys {large}", flush=True)
        self.assertEqual(small[0], self.CHANGES)
        self.assertEqual(large[0], small[0])
        # Empty answers of the long poll may differ by a few; each is a header, a cut and an end.
        self.assertAlmostEqual(large[1], small[1], delta=small[1] * 0.02)


if __name__ == "__main__":
    support.main()  # slow file
