#!/usr/bin/env python3
"""The server under stress: a full volume, a map that must grow, SIGTERM under load, many clients."""

import http.client
import shutil
import socket
import threading
import time

import support
from support import wait_until


class Start(support.PodTest):
    def test_who_finds_the_control_socket_finds_the_port_too(self):
        # The sidecar calls the pod ready by what the control socket answers.
        pods = self.pod_set(1)
        pod = pods.leader
        for _ in range(10):
            pod.server.stop()
            pod.server.start()
            deadline = time.monotonic() + 20 * support.SLOW
            while True:  # without a pause: the moment is short
                try:
                    with socket.socket(socket.AF_UNIX) as control:
                        control.connect(str(pod.control_socket))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    self.assertLess(time.monotonic(), deadline, pods.log_tails())
            socket.create_connection((pod.ip, support.podset.API_PORT)).close()


class ControlSocket(support.PodTest):
    def test_a_digest_keeps_nobody_waiting(self):
        """Whoever shares a thread of the server's with it, as the sidecar's looks may, is answered all the same."""
        pod = self.pod_set(1).leader
        pod.load(((f"key-{n:06d}", "value") for n in range(300000)), batch=50000)
        lookers, over = 16, threading.Event()
        asked, waited = [0] * lookers, [0.0] * lookers  # by each: how often, and how long at most for an answer

        def look(number):
            with support.podset.Client("", 0, unix=pod.control_socket) as client:
                while not over.wait(0.002):
                    began = time.monotonic()
                    client.ask("GET", "/position")
                    waited[number] = max(waited[number], time.monotonic() - began)
                    asked[number] += 1

        def all_are_answered():
            had = list(asked)
            wait_until(lambda: all(now > then for now, then in zip(asked, had)), 20, "each has an answer", pod)

        threads = [threading.Thread(target=look, args=(n,)) for n in range(lookers)]
        for thread in threads:
            thread.start()
        shares = []
        for _ in range(7):  # each on another thread, perhaps
            all_are_answered()
            waited[:] = [0.0] * lookers
            began = time.monotonic()
            digest = pod.ask_control("GET", "/digest").json()
            took = time.monotonic() - began
            all_are_answered()
            shares.append(max(waited) / took)
            self.assertEqual(digest["digest"], pod.position()["digest"])
        over.set()
        for thread in threads:
            thread.join()
        print(f"# who waited longest did for this share of a digest's time: {[round(share, 2) for share in shares]}")
        self.assertLess(sorted(shares)[-3], 0.8)  # in one or two, the machine had other things to do


class FullVolume(support.PodTest):
    def test_a_full_volume_is_507_and_what_was_there_stays(self):
        support.need_root("mounts a small volume")
        pods = self.pod_set(0, {"server.map_size": "256MiB"})
        leader = pods.add()
        leader.mount_volume("24m")
        filler = leader.data_dir / "filler"
        filler.write_bytes(bytes(8 << 20))
        leader.start()
        wait_until(lambda: leader.position(), 20, "the leader answers", pods)
        stored = []
        for n in range(1000):
            reply = leader.put(f"key-{n:04d}", bytes([n % 256]) * 65536)
            if reply.status != 204:
                break
            stored.append(n)
        self.assertEqual(reply.status, 507, reply.body)
        self.assertEqual(reply.headers.get_content_type(), "application/problem+json")
        self.assertGreater(len(stored), 20)
        before = leader.position()
        self.assertEqual(before["keys"], len(stored))
        for n in stored:
            self.assertTrue(leader.get(f"/v1/kv/key-{n:04d}").body == bytes([n % 256]) * 65536, n)
        wait_until(lambda: leader.readyz() == 503, 20, "a leader that cannot store is unready", pods)
        # A restart on the full volume serves too.
        leader.server.stop()
        leader.server.start()
        wait_until(lambda: leader.position()["digest"] == before["digest"], 20, "it serves again", pods)
        filler.unlink()
        wait_until(lambda: leader.put("after", b"x" * 65536).status == 204, 20, "it stores again", pods)
        pods.wait_ready()
        self.assertEqual(leader.position()["keys"], len(stored) + 1)


class MapGrowth(support.PodTest):
    def test_the_map_grows_with_the_data(self):
        pods = self.pod_set(2, {"server.map_size": "16MiB"})
        value = bytes(range(256)) * 4096
        with pods.leader.client() as client:
            for n in range(100):
                self.assertEqual(client.ask("PUT", f"/v1/kv/mib-{n}", value).status, 204, n)
        pods.wait_equal(timeout=120)
        for pod in pods:
            for n in (0, 50, 99):
                self.assertTrue(pod.get(f"/v1/kv/mib-{n}").body == value)
        pods.leader.restart()
        wait_until(lambda: pods.leader.position()["keys"] == 100, 20, "it opens the grown store", pods)

    def test_a_value_larger_than_the_map_is_stored(self):
        pods = self.pod_set(1, {"server.map_size": "16MiB", "server.max_value": "32MiB"})
        self.assertEqual(pods.leader.put("large", bytes(32 << 20)).status, 204)
        self.assertTrue(pods.leader.get("/v1/kv/large").body == bytes(32 << 20))


class Termination(support.PodTest):
    def write(self, pod, name, acknowledged, stop):
        """Put numbers until told to stop or the server leaves; note each that was acknowledged."""
        client = pod.client()
        while not stop.is_set():
            n = len(acknowledged)
            try:
                reply = client.ask("PUT", f"/v1/kv/{name}-{n:06d}", str(n).encode())
            except (OSError, http.client.HTTPException):
                break
            if reply.status == 503:
                break
            assert reply.status == 204, reply
            acknowledged.append(n)
        client.close()

    def test_sigterm_under_load_keeps_every_acknowledged_write_and_exits_0(self):
        pods = self.pod_set(1)
        leader = pods.leader
        for turn in range(3):
            stop = threading.Event()
            writers = {f"writer-{turn}-{n}": [] for n in range(8)}
            threads = [threading.Thread(target=self.write, args=(leader, name, done, stop))
                       for name, done in writers.items()]
            for thread in threads:
                thread.start()
            wait_until(lambda: all(len(done) > 20 for done in writers.values()), 60, "all writers write", pods)
            began = time.monotonic()
            self.assertEqual(leader.server.stop(), 0, pods.log_tails())
            self.assertLess(time.monotonic() - began, 15 * support.SLOW)
            stop.set()
            for thread in threads:
                thread.join()
            leader.server.start()
            wait_until(lambda: leader.position(), 20, "the leader answers again", pods)
            with leader.client() as client:
                for name, done in writers.items():
                    for n in done:
                        self.assertEqual(client.ask("GET", f"/v1/kv/{name}-{n:06d}").body, str(n).encode())

    def test_every_program_of_a_pod_ends_with_0_on_sigterm(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        for pod in (pods[1], pods[0]):
            began = time.monotonic()
            self.assertEqual(pod.stop(), {"server": 0, "sidecar": 0}, pods.log_tails())
            self.assertLess(time.monotonic() - began, 10 * support.SLOW)

    def test_a_long_poll_and_a_snapshot_under_way_do_not_hold_up_the_end(self):
        pods = self.pod_set(1)
        seq = pods.leader.position()["seq"]
        waiting = threading.Thread(target=self.ask_until_cut, args=(pods.leader, f"/v1/changes?since={seq}&wait=60s"))
        waiting.start()
        wait_until(lambda: self.asked, 20, "the long poll is under way", pods)
        began = time.monotonic()
        self.assertEqual(pods.leader.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 15 * support.SLOW)
        waiting.join()

    asked = False

    def ask_until_cut(self, pod, path):
        with pod.client(timeout=90) as client:
            client._connection = client._open()
            try:
                client._connection.request("GET", path)
                self.asked = True
                client._connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                pass

    def test_init_ends_on_sigterm_and_leaves_the_volume_startable(self):
        pods = self.pod_set(0)
        pods.add()
        follower = pods.add()
        follower.begin()
        wait_until(lambda: follower.init.log, 20, "init has begun", pods)
        began = time.monotonic()
        self.assertEqual(follower.init.stop(), 75)
        self.assertLess(time.monotonic() - began, 5 * support.SLOW)


class ManyClients(support.PodTest):
    def test_concurrent_writers_of_one_key_get_distinct_numbers_and_conditional_puts_lose_nothing(self):
        pods = self.pod_set(1)
        rounds, workers = 40, 8

        def increment():
            with pods.leader.client() as client:
                for _ in range(rounds):
                    while True:
                        got = client.ask("GET", "/v1/kv/counter")
                        number = int(got.body) if got.status == 200 else 0
                        condition = {"If-Match": got.headers["ETag"]} if number else {"If-None-Match": "*"}
                        put = client.ask("PUT", "/v1/kv/counter", str(number + 1).encode(), condition)
                        if put.status == 204:
                            break
                        assert put.status == 412, put
        threads = [threading.Thread(target=increment) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(pods.leader.get("/v1/kv/counter").body, str(rounds * workers).encode())
        self.assertEqual(pods.leader.position()["seq"], rounds * workers)

    def test_durability_async_reads_what_was_answered(self):
        pods = self.pod_set(1, {"server.durability": "async"})
        with pods.leader.client() as client:
            for n in range(50):
                self.assertEqual(client.ask("PUT", f"/v1/kv/async-{n}", b"x").status, 204)
                self.assertEqual(client.ask("GET", f"/v1/kv/async-{n}").status, 200, n)

    def test_durability_async_outlives_the_process_whatever_kills_it(self):
        pods = self.pod_set(1, {"server.durability": "async"})
        seq = pods.leader.load((f"key-{n}", "x") for n in range(1000))
        pods.leader.kill()
        pods.leader.start()
        pods.wait_ready()
        self.assertEqual(pods.leader.position()["seq"], seq)

    def go_down(self, pods, writes):
        """The leader's machine goes down, and none of `writes` got to its disk: (what did, the seq of the last one)."""
        leader, kept = pods.leader, self.dir / "kept"
        leader.put("first", b"x")
        leader.stop()
        on_disk = leader.offline_position()
        shutil.copytree(leader.store_dir, kept)
        leader.start_serving()
        seq = leader.load(writes)
        pods.wait_equal()
        leader.kill()
        journal = (leader.store_dir / "journal").read_bytes()
        shutil.rmtree(leader.store_dir)
        shutil.copytree(kept, leader.store_dir)
        # Its head was on disk before the first group; it says in which life of the machine that was.
        (leader.store_dir / "journal").write_bytes(journal[:28] + b"another boot".ljust(40, b"\0") + bytes(4096 - 68))
        return on_disk, seq

    def test_durability_async_goes_on_in_a_new_epoch_after_the_machine_went_down(self):
        pods = self.pod_set(1, {"server.durability": "async"})
        on_disk, seq = self.go_down(pods, ((f"late-{n}", "x") for n in range(20)))
        self.assertTrue(pods.leader.offline_position()["tail_lost"])
        pods.leader.start_serving()
        position = pods.leader.position()
        self.assertLess(position["seq"], seq)
        self.assertEqual((position["seq"], position["digest"]), (on_disk["seq"], on_disk["digest"]))
        self.assertEqual(position["history"][-1], {"epoch": on_disk["epoch"] + 1, "since": on_disk["seq"]})
        self.assertIn("the journal is in doubt", pods.leader.server.log)
        # Once is enough.
        pods.leader.put("after", b"x")
        pods.leader.restart()
        wait_until(lambda: pods.leader.get("/v1/kv/after").body == b"x", 20, "it serves", pods)
        self.assertEqual(pods.leader.position()["epoch"], position["epoch"])

    def test_durability_async_takes_what_its_machine_lost_from_a_follower(self):
        pods = self.pod_set(2, {"server.durability": "async"})
        pods.wait_equal()
        on_disk, seq = self.go_down(pods, ((f"late-{n}", "x") for n in range(20)))
        self.assertLess(pods.leader.offline_position()["seq"], seq)
        pods.leader.start_serving()
        self.assertRegex(pods.leader.init.log, r"action=\"?restore donor=store-1")
        position = pods.leader.position()
        self.assertEqual((position["seq"], position["epoch"]), (seq, on_disk["epoch"] + 1))
        self.assertEqual(pods.leader.get("/v1/kv/late-19").body, b"x")
        pods.leader.put("after", b"x")
        pods.wait_equal()
        pods.wait_ready()

    def test_durability_async_syncs_and_survives_a_clean_stop(self):
        pods = self.pod_set(2, {"server.durability": "async"})
        seq = pods.leader.load((f"key-{n}", "x") for n in range(1000))
        pods.leader.restart()
        wait_until(lambda: pods.leader.position()["seq"] == seq, 20, "the data is back", pods)
        self.assertEqual(pods.wait_equal()["keys"], 1000)


if __name__ == "__main__":
    support.main()
