#!/usr/bin/env python3
"""The lead of mode static moves: by the live key, by hand, through a rolling restart, and past a kill at any step. Writers
write all the while: what was acknowledged is there afterwards, and never do two pods acknowledge.

SEEDPOD_TEST_HANDOVERS sets how many hand-overs the test under load makes (50 for the full count)."""

import http.client
import itertools
import json
import os
import statistics
import subprocess
import threading
import time
import urllib.parse

import support
from support import wait_until

HANDOVERS = int(os.environ.get("SEEDPOD_TEST_HANDOVERS", "6"))
FAULTS = support.BUILD / "faults"


class Writers:
    """Clients that write without a pause, each its own keys, and follow redirects; they know what was acknowledged, by
    which pod, and in which epoch."""

    def __init__(self, pods, count=4):
        self.pods, self.stopping = pods, threading.Event()
        self.acked, self.times, self.hops = {}, [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.acked) > 20, 20, "the writers write", self.pods)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30 * support.SLOW)

    def _run(self, number):
        at = number % len(self.pods)
        n, client, hops = 0, None, 0
        while not self.stopping.is_set():
            key, value = f"w{number}-{n}", f"{number}.{n}".encode()
            try:
                if client is None:
                    client = self.pods[at].client(timeout=10)
                reply = client.ask("PUT", f"/v1/kv/{key}", value)
            except (OSError, http.client.HTTPException):
                client, at, hops = None, (at + 1) % len(self.pods), 0
                time.sleep(0.01)
                continue
            if reply.status == 307:
                host = urllib.parse.urlsplit(reply.headers["Location"]).hostname
                client.close()
                client, at, hops = None, int(host.rsplit(".", 1)[1]), hops + 1
                with self.lock:
                    self.hops = max(self.hops, hops)
                continue
            if reply.status != 204:
                time.sleep(0.01)
                continue
            hops = 0
            with self.lock:
                self.acked[key] = (value, at, int(reply.headers["Seedpod-Seq"]))
                self.times.append(time.monotonic())
            n += 1

    def longest_gap(self, since=0.0):
        with self.lock:
            times = [t for t in self.times if t >= since]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def count(self):
        with self.lock:
            return len(self.acked)


class HandoverTest(support.PodTest):
    def leads(self, pods, ordinal):
        return lambda: pods[ordinal].position()["role"] == "leader"

    def one_leader(self, pods):
        roles = [pods[n].position()["role"] for n in range(len(pods))]
        self.assertLessEqual(roles.count("leader"), 1, roles)

    def check_nothing_lost(self, pods, writers):
        """All pods come to the same place and hold each acknowledged write; no number was given out twice."""
        wait_until(lambda: len({(p.position()["epoch"], p.position()["seq"], p.position()["digest"]) for p in pods}) == 1,
                   60, "all pods are at the same place", pods)
        seqs = [seq for _, _, seq in writers.acked.values()]
        self.assertEqual(len(seqs), len(set(seqs)), "two pods acknowledged under one number")
        for pod in pods:
            held = {}
            for line in pod.get("/v1/changes?since=0&limit=10000000&bytes=60000000").text().splitlines():
                record = json.loads(line)
                if record.get("op") == "put":
                    held[record["key"]] = record["value"]
            lost = [key for key, (value, _, _) in writers.acked.items() if held.get(key) != value.decode()]
            self.assertEqual(lost[:10], [], f"{len(lost)} of {len(writers.acked)} acknowledged writes are not on {pod.name}")


class LiveKey(HandoverTest):
    def test_under_load_no_acknowledged_write_is_lost_in_either_direction(self):
        pods = self.pod_set(3)
        pods.wait_ready()
        pauses, gaps = [], []
        with Writers(pods) as writers:
            for turn in range(HANDOVERS):
                old, new = turn % 2, (turn + 1) % 2
                began, before = time.monotonic(), writers.count()
                pods.edit_config({"replication.leader_ordinal": str(new)})
                wait_until(self.leads(pods, new), 20, f"pod {new} leads", pods)
                wait_until(lambda: writers.count() > before + 50, 20, "writes go on", pods)
                last = wait_until(lambda: (lambda h: h["last"] if h["last"] and h["last"]["state"] == "done" and
                                           h["last"]["to"] == f"store-{new}" else None)(pods[old].status()["handover"]),
                                  20, "the old leader's status tells of it", pods)
                pauses.append(last["pause_ms"])
                gaps.append(1000 * writers.longest_gap(began))
                self.one_leader(pods)
        writers.stop()
        self.check_nothing_lost(pods, writers)
        for name, values in (("pause_ms", pauses), ("gap_ms", gaps)):
            values = sorted(values)
            print(f"# {name} of {len(values)} hand-overs: median {statistics.median(values):.0f}, "
                  f"p90 {values[int(0.9 * (len(values) - 1))]:.0f}, most {values[-1]:.0f}; "
                  f"{len(writers.acked)} writes acknowledged, at most {writers.hops} redirects in a row", flush=True)
        self.assertEqual(pods[0].position()["epoch"], HANDOVERS + 1)
        self.assertLessEqual(writers.hops, 4)


class RollingRestart(HandoverTest):
    """leader_ordinal is changed, and `kubectl rollout restart` does what it does: the highest ordinal first, each waiting
    until the one before is ready."""

    def roll(self, pods, writers, order=None):
        for ordinal in order or range(len(pods) - 1, -1, -1):
            pods[ordinal].stop()
            pods[ordinal].start(30)
            self.one_leader_of_those_that_run(pods)
            pods.wait_ready(30, [pods[ordinal]])

    def one_leader_of_those_that_run(self, pods):
        roles = []
        for pod in pods:
            try:
                roles.append(pod.position()["role"])
            except (OSError, http.client.HTTPException):
                pass
        self.assertLessEqual(roles.count("leader"), 1, roles)

    def move(self, old, new):
        pods = self.pod_set(3)
        pods.wait_ready()
        pods.edit_config({"replication.leader_ordinal": str(old)})
        wait_until(self.leads(pods, old), 20, f"pod {old} leads", pods)
        with Writers(pods) as writers:
            pods.edit_config({"replication.leader_ordinal": str(new)})
            self.roll(pods, writers)
            wait_until(self.leads(pods, new), 20, f"pod {new} leads", pods)
            before = writers.count()
            wait_until(lambda: writers.count() > before + 50, 20, "writes go on", pods)
        self.check_nothing_lost(pods, writers)
        self.assertEqual([p.position()["role"] for p in pods].index("leader"), new)

    def test_from_0_to_1(self):
        self.move(0, 1)

    def test_from_1_to_0(self):
        self.move(1, 0)

    def test_pods_that_learn_of_it_one_by_one_in_any_order(self):
        """ConfigMaps reach pods up to a minute apart: here each learns of it when it is restarted, and not before."""
        rng = support.seeded_random("one_by_one")
        pods = self.pod_set(3)
        pods.wait_ready()
        leader = 0
        with Writers(pods) as writers:
            orders = list(itertools.permutations(range(3)))
            rng.shuffle(orders)
            for order in orders if HANDOVERS >= 50 else orders[:2]:
                new = 1 - leader
                for pod in pods:
                    pod.environment = {"SEEDPOD_REPLICATION_LEADER_ORDINAL": str(leader)}
                    pod.restart("server")
                    pod.restart("sidecar")
                pods.wait_ready()
                for ordinal in order:
                    pods[ordinal].environment = {"SEEDPOD_REPLICATION_LEADER_ORDINAL": str(new)}
                    self.roll(pods, writers, [ordinal])
                wait_until(self.leads(pods, new), 20, f"pod {new} leads", pods)
                leader = new
        self.check_nothing_lost(pods, writers)


class ByHand(HandoverTest):
    def sidecar(self, pod, *arguments):
        done = subprocess.run([*pod.sidecar.command(), *arguments], env=pod.sidecar.environment(), capture_output=True,
                              text=True, timeout=60 * support.SLOW)
        return done.returncode, done.stdout + done.stderr

    def test_it_holds_until_the_value_of_the_key_changes(self):
        pods = self.pod_set(3)
        pods.wait_ready()
        with Writers(pods) as writers:
            code, said = self.sidecar(pods[1], "--role", "leader")
            self.assertEqual(code, 0, said)
            self.assertRegex(said, r"^store-1: leads, from epoch 1 seq \d+ of pod 0; writes waited \d+ ms$")
            self.assertEqual(self.sidecar(pods[1], "--role", "leader"), (0, "store-1: leads already\n"))
            # Another reload, and restarts, leave it so; the pod that is named says what it waits for.
            pods.edit_config({"readiness.max_lag": "11s"})
            wait_until(lambda: "by hand" in pods[0].status()["handover"]["why"], 20, "pod 0 says why", pods)
            self.assertIn("by hand", pods[0].ask_sidecar("/readyz?verbose").text())
            self.assertEqual(pods[0].readyz(), 200)
            pods[1].restart()
            wait_until(self.leads(pods, 1), 20, "pod 1 leads on", pods)
            # The most advanced follower takes it, and the others find it.
            pods.wait_ready()
            code, said = self.sidecar(pods[1], "--role", "follower")
            self.assertEqual(code, 0, said)
            new = int(said.split("pod ")[1].split()[0])
            wait_until(self.leads(pods, new), 20, f"pod {new} leads", pods)
            pods.edit_config({"replication.leader_ordinal": "1"})
            wait_until(self.leads(pods, 1), 20, "the configured pod leads", pods)
            pods.edit_config({"replication.leader_ordinal": "0"})
            wait_until(self.leads(pods, 0), 20, "the configured pod leads", pods)
        self.check_nothing_lost(pods, writers)

    def test_without_the_leader_only_force_helps(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        pods.wait_equal()
        pods.wait_ready()
        pods[0].stop()
        pods.edit_config({"replication.leader_ordinal": "1"})
        wait_until(lambda: pods[1].status()["handover"]["waiting"], 20, "it is to lead", pods)
        code, said = self.sidecar(pods[1], "--role", "leader")
        self.assertEqual(code, 69, said)
        self.assertIn("no pod that holds the lead answers", said)
        self.assertEqual(pods[1].position()["role"], "follower")
        code, said = self.sidecar(pods[1], "--role", "leader", "--force")
        self.assertEqual(code, 0, said)
        self.assertEqual(pods[1].put("key", b"of the new one").status, 204)
        # The old one comes back, and sees who leads.
        pods[0].start_serving()
        pods.wait_equal()
        self.assertEqual(pods[0].position()["role"], "follower")
        self.assertEqual(pods[0].put("key", b"redirected").headers["Location"], f"{pods[1].url}/v1/kv/key")

    def test_what_it_does_not_take_is_64(self):
        pods = self.pod_set(1)
        for arguments in (("--role", "king"), ("--role", "follower", "--force"), ("--force",)):
            self.assertEqual(self.sidecar(pods[0], *arguments)[0], 64, arguments)


class Interrupted(HandoverTest):
    """The pod that is to lead goes away in the midst, and stays away for a while."""

    def step(self, pod, step, to, at=None):
        body = {"step": step, "to": to, "by_hand": True}
        return pod.ask_control("POST", "/handover", json.dumps(body | ({"at": at} if at else {})))

    def test_writes_wait_no_longer_than_the_hold_and_are_made_by_the_old_leader(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        at = pods.wait_equal()
        self.assertEqual(self.step(pods[0], "commit", 1, at).status, 412)
        self.assertEqual(self.step(pods[0], "prepare", 1, at).status, 200)
        self.assertEqual(pods[0].position()["lead"]["handover"]["state"], "holding")
        # Another pod is not let in between, and this one cannot claim what it has not.
        self.assertEqual(self.step(pods[0], "prepare", 5, at).status, 503)
        self.assertEqual(self.step(pods[0], "commit", 1, at | {"seq": 0}).status, 409)
        self.assertEqual(self.step(pods[0], "commit", 1, at | {"digest": "0" * 32}).status, 409)
        began = time.monotonic()
        self.assertEqual(pods[0].put("held", b"value").status, 204)
        self.assertGreater(time.monotonic() - began, 1.0)
        last = wait_until(lambda: (lambda h: h if h and h["state"] != "holding" else None)(
            pods[0].status()["handover"]["last"]), 20, "the status tells of the end", pods)
        self.assertEqual((last["state"], last["from"], last["to"]), ("failed", "store-0", "store-1"))
        self.assertGreater(last["pause_ms"], 1000)
        self.assertEqual(self.step(pods[0], "commit", 1, at).status, 412)
        samples = wait_until(lambda: (lambda m: m if m.get('seedpod_handovers_total{result="failed"}') == 1 else None)(
            pods[0].metrics()), 20, "the metrics count it", pods)
        self.assertEqual(samples['seedpod_handovers_total{result="done"}'], 0)
        self.assertGreater(samples["seedpod_handover_pause_seconds"], 1)
        self.assertEqual(pods[0].position()["epoch"], 1)

    def test_a_hold_that_is_cancelled_ends_at_once(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        at = pods.wait_equal()
        self.assertEqual(self.step(pods[0], "prepare", 1, at).status, 200)
        writer = threading.Thread(target=pods[0].put, args=("held", b"value"))
        writer.start()
        self.assertEqual(self.step(pods[0], "cancel", 1).status, 204)
        writer.join(20 * support.SLOW)
        self.assertEqual(pods[0].get("/v1/kv/held").body, b"value")
        self.assertLess(pods[0].position()["lead"]["handover"]["pause_ms"], 2000)

    def test_a_pod_that_was_given_the_lead_takes_it_when_it_returns(self):
        pods = self.pod_set(2)
        pods.leader.put("key", b"value")
        at = pods.wait_equal()
        pods[1].stop()
        self.assertEqual(self.step(pods[0], "prepare", 1, at).status, 200)
        released = self.step(pods[0], "commit", 1, at).json()
        self.assertEqual((released["role"], released["lead"]["kind"], released["lead"]["to"]), ("follower", "released", 1))
        # Done already is fine. The pod that gave it away takes no write any more, here and after a restart.
        self.assertEqual(self.step(pods[0], "commit", 1, at).status, 200)
        reply = pods[0].put("lost", b"value")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))
        pods[0].restart()
        wait_until(pods[0].position, 20, "it serves", pods)
        self.assertEqual(pods[0].put("lost", b"value").status, 503)
        why = wait_until(lambda: pods[0].status()["handover"]["why"], 20, "it says why nobody leads", pods)
        self.assertIn("this pod handed the lead to pod 1, which does not lead yet", why)
        pods[1].start_serving()
        wait_until(self.leads(pods, 1), 20, "the pod that was given the lead leads", pods)
        self.assertEqual(pods[1].position()["epoch"], 2)
        wait_until(lambda: pods[0].put("key", b"to the new one").status == 307, 20, "writes are sent on", pods)
        self.assertEqual(pods[1].put("key", b"at the new one").status, 204)
        pods.wait_equal()


class Killed(HandoverTest):
    """The old or the new leader is killed at a step: containers are started again, and the set is writable by itself."""

    def kill_at(self, point, where):
        pods = self.pod_set(3, build=FAULTS)
        pods.wait_ready()
        victim = pods[0 if where == "old" else 1]
        mark, when = self.dir / "mark", self.dir / "when"
        victim.environment = {"FAULT_AT": point, "FAULT_MARK": str(mark), "FAULT_WHEN": str(when)}
        victim.restart("server")
        victim.restart("sidecar")
        pods.wait_ready()
        pods.supervise()
        with Writers(pods) as writers:
            when.touch()
            pods.edit_config({"replication.leader_ordinal": "1"})
            wait_until(mark.exists, 30, f"{point} is reached", pods)
            wait_until(self.leads(pods, 1), 30, "pod 1 leads", pods)
            before = writers.count()
            wait_until(lambda: writers.count() > before + 50, 30, "writes go on", pods)
        self.check_nothing_lost(pods, writers)
        self.assertEqual([p.position()["role"] for p in pods], ["follower", "leader", "follower"])
        # A write that was acknowledged by the old leader came before the epoch of the new one.
        since = pods[1].position()["history"][-1]["since"]
        late = [k for k, (_, at, seq) in writers.acked.items() if (at == 0) != (seq <= since)]
        self.assertEqual(late[:5], [])
        pods.unsupervise()
        print(f"# killed at {point} in the {where} leader: gap {writers.longest_gap():.2f} s", flush=True)

    def test_the_old_leader_while_it_holds_writes(self):
        self.kill_at("handover.holding", "old")

    def test_the_old_leader_before_the_release_is_on_disk(self):
        self.kill_at("handover.releasing", "old")

    def test_the_old_leader_before_it_answers_that_it_released(self):
        self.kill_at("handover.released", "old")

    def test_the_new_leader_after_prepare(self):
        self.kill_at("handover.prepared", "new")

    def test_the_new_leader_before_it_asks_for_the_release(self):
        self.kill_at("handover.caught_up", "new")

    def test_the_new_leader_before_it_begins(self):
        self.kill_at("handover.committed", "new")

    def test_the_new_leader_before_its_epoch_is_on_disk(self):
        self.kill_at("handover.beginning", "new")

    def test_the_new_leader_before_the_old_one_knows(self):
        self.kill_at("handover.leading", "new")


if __name__ == "__main__":
    support.main()
