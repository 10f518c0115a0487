#!/usr/bin/env python3
"""kill -9 of every program at random moments under a writing load: nothing acknowledged is lost, every volume starts.

SEEDPOD_TEST_KILLS sets how often (100), SEEDPOD_TEST_SEED the moments. # slow file
"""

import http.client
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

KILLS = int(os.environ.get("SEEDPOD_TEST_KILLS", "100" if not support.SANITIZE else "30"))


class Writer(threading.Thread):
    """Writes numbered values and deletes on keys of its own; knows for each key what may be read now.

    A change that was acknowledged must be there. One whose answer never came may be there or not, until the next
    acknowledged change of the same key.
    """

    def __init__(self, pod, name, rng):
        super().__init__(daemon=True)
        self.pod, self.writer, self.rng = pod, name, rng
        self.possible = {}  # key -> the values (None: no such key) of which one must be found
        self.acknowledged = 0
        self.ended = threading.Event()
        self.wrong = []

    def run(self):
        client, number = self.pod.client(timeout=10), 0
        while not self.ended.is_set():
            number += 1
            key = f"{self.writer}-{self.rng.randrange(400)}"
            value = None if self.rng.random() < 0.2 else f"{number} ".encode() * self.rng.choice((1, 10, 400))
            before = self.possible.get(key, {None})
            self.possible[key] = before | {value}
            try:
                if value is None:
                    reply = client.ask("DELETE", f"/v1/kv/{key}")
                else:
                    reply = client.ask("PUT", f"/v1/kv/{key}", value)
            except (OSError, http.client.HTTPException):
                # No answer: the server was killed. Try again soon; what was sent may have been stored.
                self.ended.wait(0.01)
                continue
            if reply.status == 204 or (reply.status == 404 and value is None and None in before):
                self.possible[key] = {value}
                self.acknowledged += 1
            elif reply.status != 503:
                self.wrong.append((key, value and len(value), reply.status, reply.body[:200]))
                return
        client.close()


class Reader(threading.Thread):
    """Reads a number and the position at a pod, over and over, and notes what goes back."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.pod = pod
        self.ended = threading.Event()
        self.number = self.seq = self.reads = 0
        self.wrong = []

    def run(self):
        while not self.ended.is_set():
            try:
                with self.pod.client(timeout=10) as client:
                    while not self.ended.is_set():
                        self.look(client)
            except (OSError, http.client.HTTPException):
                self.ended.wait(0.005)

    def look(self, client):
        reply = client.ask("GET", "/v1/kv/number")
        if reply.status == 200:
            number = int(reply.body)
            if number < self.number:
                self.wrong.append(("number", self.number, number))
            self.number = max(self.number, number)
        reply = client.ask("GET", "/v1/position")
        if reply.status == 200:
            seq = reply.json()["seq"]
            if seq < self.seq:
                self.wrong.append(("seq", self.seq, seq))
            self.seq = max(self.seq, seq)
        self.reads += 1


class KilledFollower(support.PodTest):
    def test_what_a_killed_follower_has_shown_never_goes_back(self):
        rng = support.seeded_random("test_kill")
        pods = self.pod_set(2, {"sync.mode": "stream"})
        pods.wait_ready()
        pods.supervise()
        leader, follower = pods
        reader = Reader(follower)
        reader.start()
        number, kills = 0, 0
        with leader.client() as client:
            while kills < max(5, KILLS // 6):
                end = time.monotonic() + rng.uniform(0.3, 1.5) * support.SLOW
                # A kill counts once the follower has shown something new.
                shown = reader.number
                while time.monotonic() < end or (reader.number == shown and time.monotonic() < end + 30):
                    number += 1
                    self.assertEqual(client.ask("PUT", "/v1/kv/number", b"%d" % number).status, 204)
                self.assertGreater(reader.number, shown)
                follower.kill("server")
                kills += 1
        position = pods.wait_equal(timeout=60)
        wait_until(lambda: reader.number == number, 30, "the follower shows the last number", pods)
        reader.ended.set()
        reader.join(30)
        print(f"# {kills} kills, {reader.reads} reads, {number} writes, seq {position['seq']}", flush=True)
        self.assertEqual(reader.wrong, [])


class Kill(support.PodTest):
    def victims(self, pods, rng):
        """One random fault. Returns its name for the log."""
        follower = pods[rng.choice((1, 2))]
        fault = rng.choice(("leader's server", "follower's server", "sidecar", "leader's sidecar", "pod", "init",
                            "init on an empty volume"))
        if fault == "leader's server":
            pods.leader.kill("server")
        elif fault == "follower's server":
            follower.kill("server")
        elif fault == "sidecar":
            follower.kill("sidecar")
        elif fault == "leader's sidecar":
            pods.leader.kill("sidecar")
        else:
            # A pod's end, then its start, in which init is killed at a random moment; the supervisor runs init again.
            pod = rng.choice(list(pods)) if fault != "init on an empty volume" else follower
            with pod.lock:
                pod.kill()
                if fault == "init on an empty volume":
                    pod.delete_volume()
                pod.begin()
            if fault != "pod":
                self.pause(rng, 0.15)
                pod.kill_init()
        return fault

    def pause(self, rng, most):
        time.sleep(rng.uniform(0, most) * support.SLOW)

    def test_a_hundred_kills_lose_no_acknowledged_write(self):
        rng = support.seeded_random("test_kill")
        pods = self.pod_set(3, {"bootstrap.reseed_ratio": "0.9"})
        pods.leader.load((f"base-{n:05d}", "x" * 500) for n in range(10000))
        pods.wait_ready()
        pods.supervise()
        writers = [Writer(pods.leader, f"writer{n}", support.random.Random(rng.random())) for n in range(3)]
        for writer in writers:
            writer.start()
        counts = {}
        for _ in range(KILLS):
            self.pause(rng, 0.5)
            fault = self.victims(pods, rng)
            counts[fault] = counts.get(fault, 0) + 1
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join(60 * support.SLOW)
            self.assertEqual(writer.wrong, [])
        # The supervisor brings everything back: every volume starts, and all come to hold the same.
        position = pods.wait_equal(timeout=120)
        pods.wait_ready(timeout=120)
        acknowledged = sum(writer.acknowledged for writer in writers)
        print(f"# {KILLS} kills {counts}, {acknowledged} acknowledged changes, {position['keys']} keys, epoch "
              f"{position['epoch']}", flush=True)
        self.assertGreater(acknowledged, KILLS)
        for pod in pods:
            lost = []
            with pod.client() as client:
                for writer in writers:
                    for key, possible in writer.possible.items():
                        reply = client.ask("GET", f"/v1/kv/{key}")
                        if (reply.body if reply.status == 200 else None) not in possible:
                            lost.append((key, reply.status))
                for n in range(0, 10000, 97):
                    if client.ask("GET", f"/v1/kv/base-{n:05d}").body != b"x" * 500:
                        lost.append(f"base-{n:05d}")
            self.assertEqual(lost, [], pod.name)
            self.assertEqual(pod.ask_control("GET", "/digest").json()["digest"], position["digest"], pod.name)


if __name__ == "__main__":
    support.main()
