#!/usr/bin/env python3
"""Long and random: a set of pods under load, and whatever can go wrong. `make torture MINUTES=30 [SEED=N] [PODS=4]`.

A round is half a minute of faults: kills of any program, pods that die and come back, processes that stand still
(SIGSTOP), volumes deleted under followers, a configuration that changes, disks that are full or cannot sync. Writers and
readers go on all the while. Then all is well again, and it is checked that the set recovers by itself, that every pod holds
what was acknowledged and nothing else, that its digest recomputed is what it says, and that no program ended in a way that
it must not. All the time each pod's position is watched: but for a volume that was deleted, it never goes back in its history. The same SEED makes the same choices in the same order; how far each gets is up to the machine.
"""

import collections
import hashlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from course import Watch  # noqa: E402
from podset import PodSet  # noqa: E402

MINUTES = float(os.environ.get("MINUTES") or 30)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
PODS = int(os.environ.get("PODS") or 4)
ROUND_SECONDS = min(30, MINUTES * 60 / 2)
KEYS = 300  # of each writer
SHIM = support.BUILD / "faults" / "badio.so"
BAD_DISKS = SHIM.exists() and not support.SANITIZE

# How each program may end: by our kills, in order, and by what the faults call for (a bad disk, no room, not now).
MAY_END = {"init": {0, -9, 69, 73, 74, 75}, "server": {0, -9, 73, 74, 75}, "sidecar": {0, -9}}

# Live keys, and what they are changed to.
SETTINGS = {
    "log.level": ("info", "debug"), "sync.mode": ("stream", "poll"), "sync.interval": ("200ms", "1s"),
    "sync.batch_bytes": ("64KiB", "4MiB"), "server.snapshot_hold": ("1s", "60s"), "server.tombstone_keep": ("3s", "24h"),
    "readiness.max_lag": ("1s", "10s"), "server.min_seq_wait": ("100ms", "2s"),
}


def value_of(key, number, size):
    """A value that shows whose it is, and whether it is whole."""
    head = f"{key} {number} ".encode()
    body = head * (size // len(head) + 1)
    return hashlib.md5(body).hexdigest().encode() + body


class Failure(Exception):
    """Something that must not be."""


class Writer(threading.Thread):
    """Writes and deletes on keys of its own, and knows for each which values may be found (None: no such key)."""

    def __init__(self, pod, name, seed):
        super().__init__(name=name, daemon=True)
        self.pod, self.rng = pod, random.Random(seed)
        self.possible, self.highest = {}, 0
        self.answers = collections.Counter()
        self.ended, self.wrong = threading.Event(), None

    def run(self):
        client = self.pod.client(timeout=15)
        while not self.ended.is_set():
            self.highest += 1
            key = f"{self.name}-{self.rng.randrange(KEYS)}"
            gone = self.rng.random() < 0.2
            value = None if gone else value_of(key, self.highest, self.rng.choice((10, 100, 1000, 20000)))
            before = self.possible.get(key, {None})
            self.possible[key] = before | {value}
            try:
                reply = client.ask("DELETE" if gone else "PUT", f"/v1/kv/{key}", value)
            except (OSError, http.client.HTTPException):
                self.answers["none"] += 1
                self.ended.wait(0.02)
                continue
            self.answers[reply.status] += 1
            if reply.status == 204 or (reply.status == 404 and gone and None in before):
                self.possible[key] = {value}
            elif reply.status == 507:
                self.possible[key] = before
                self.ended.wait(0.02)
            elif reply.status == 503:
                self.ended.wait(0.02)
            else:
                self.wrong = f"{key}: {'DELETE' if gone else 'PUT'} answered {reply.status} {reply.body[:200]!r}"
                return
        client.close()


class Reader(threading.Thread):
    """Reads any key at any pod. What comes must be whole, of that key, and of a write that was tried."""

    def __init__(self, pods, writers, seed):
        super().__init__(name="reader", daemon=True)
        self.pods, self.writers, self.rng = pods, writers, random.Random(seed)
        self.answers = collections.Counter()
        self.ended, self.wrong = threading.Event(), None

    def run(self):
        while not self.ended.wait(0.005):
            pod, writer = self.rng.choice(list(self.pods)), self.rng.choice(self.writers)
            key = f"{writer.name}-{self.rng.randrange(KEYS)}"
            try:
                with pod.client(timeout=5) as client:
                    reply = client.ask("GET", f"/v1/kv/{key}")
            except (OSError, http.client.HTTPException):
                self.answers["none"] += 1
                continue
            self.answers[reply.status] += 1
            if reply.status == 200:
                number = int(reply.body[32:].split(b" ", 2)[1])
                whole = hashlib.md5(reply.body[32:]).hexdigest().encode() == reply.body[:32]
                if not whole or not reply.body[32:].startswith(f"{key} ".encode()) or number > writer.highest:
                    self.wrong = f"{pod.name}: {key} read as {reply.body[:100]!r}"
            elif reply.status not in (404, 503):
                self.wrong = f"{pod.name}: GET {key} answered {reply.status} {reply.body[:200]!r}"


class Torture:
    def __init__(self, root):
        self.rng = random.Random(SEED)
        self.pods = PodSet(root, support.BUILD, support.octet(), "store",
                           {"readiness.max_lag": "10s", "bootstrap.reseed_ratio": "0.9"})
        self.faults, self.exits = collections.Counter(), collections.Counter()
        self.sick, self.stopped = {}, []
        self.volumes = collections.Counter()  # of each pod, how often its volume was deleted
        for n in range(PODS):
            pod = self.pods.add()
            if BAD_DISKS:
                pod.environment = {"LD_PRELOAD": str(SHIM), "BADIO": str(pod.dir / "badio")}
                self.disk(pod)
        self.pods.leader.start_serving()
        self.pods.scale(PODS)
        self.pods.wait_ready()
        self.pods.supervise()
        self.writers = [Writer(self.pods.leader, f"writer{n}", self.rng.random()) for n in range(3)]
        self.readers = [Reader(self.pods, self.writers, self.rng.random()) for _ in range(2)]
        self.watch = Watch(self.pods, self.position_of, lambda pod: self.volumes[pod])
        for thread in [*self.writers, *self.readers, self.watch]:
            thread.start()

    def position_of(self, pod):
        try:
            with pod.client(timeout=2) as client:
                reply = client.ask("GET", "/v1/position")
        except (OSError, http.client.HTTPException):
            return None
        return reply.json() if reply.status == 200 else None

    # --- faults; each draws from self.rng alone, so that a seed gives the same ones ---

    def disk(self, pod, *rules):
        fresh = pod.dir / "badio.fresh"
        fresh.write_text("".join(f"{rule}\n" for rule in rules))
        os.rename(fresh, pod.dir / "badio")

    def any_pod(self):
        return self.pods[self.rng.randrange(PODS)]

    def any_follower(self):
        return self.pods[self.rng.randrange(1, PODS)]

    def kill_program(self):
        pod, name = self.any_pod(), self.rng.choice(("server", "sidecar"))
        pod.kill(name)

    def kill_pod(self):
        pod, init_too, pause = self.any_pod(), self.rng.random() < 0.5, self.rng.uniform(0, 0.1)
        with pod.lock:
            pod.kill()
            pod.begin()
        if init_too:
            time.sleep(pause)
            pod.kill_init()

    def delete_volume(self):
        pod, init_too, pause = self.any_follower(), self.rng.random() < 0.7, self.rng.uniform(0, 0.2)
        with pod.lock:
            pod.kill()
            pod.delete_volume()
            self.volumes[pod] += 1
            pod.begin()
        if init_too:
            time.sleep(pause)
            pod.kill_init()

    def stand_still(self):
        pod, name, seconds = self.any_pod(), self.rng.choice(("server", "sidecar", "init")), self.rng.uniform(0.1, 3)
        with pod.lock:
            pod.containers[name].signal(signal.SIGSTOP)
        self.stopped.append((time.monotonic() + seconds, pod, name))

    def away(self):
        """A pod that is gone for a while, longer than tombstones may be kept."""
        pod, seconds = self.any_follower(), self.rng.uniform(1, 6)
        with pod.lock:
            if pod.phase != "stopped":
                pod.kill()
        self.sick[pod] = (time.monotonic() + seconds, "away")

    def lag_behind(self):
        """One follower stands still; another goes on, and is then away for long enough to be seeded again."""
        slow, other = self.rng.sample(range(1, PODS), 2)
        pause, seconds = self.rng.uniform(0.2, 1), self.rng.uniform(1.5, 4)
        with self.pods[slow].lock:
            self.pods[slow].sidecar.signal(signal.SIGSTOP)
        self.stopped.append((time.monotonic() + pause + seconds + 1, self.pods[slow], "sidecar"))
        time.sleep(pause)
        with self.pods[other].lock:
            if self.pods[other].phase != "stopped":
                self.pods[other].kill()
        self.sick[self.pods[other]] = (time.monotonic() + seconds, "away")

    def configure(self):
        key = self.rng.choice(sorted(SETTINGS))
        self.pods.edit_config({key: self.rng.choice(SETTINGS[key])})

    def full_disk(self):
        pod, seconds = self.any_pod(), self.rng.uniform(0.2, 3)
        self.disk(pod, "write data.mdb ENOSPC")
        self.sick[pod] = (time.monotonic() + seconds, "disk")

    def filling_disk(self):
        pod, seconds, after = self.any_pod(), self.rng.uniform(0.2, 2), self.rng.randrange(1, 30)
        self.disk(pod, f"write data.mdb {self.rng.choice(('ENOSPC', 'short'))} {after}")
        self.sick[pod] = (time.monotonic() + seconds, "disk")

    def broken_sync(self):
        pod, after = self.any_pod(), self.rng.randrange(20)
        self.disk(pod, f"sync data.mdb EIO {after} 1")
        self.sick[pod] = (time.monotonic() + self.rng.uniform(0.2, 1), "disk")

    def heal(self, everything=False):
        """End what was to last for a while."""
        now = time.monotonic()
        for entry in list(self.stopped):
            if everything or entry[0] <= now:
                self.stopped.remove(entry)
                entry[1].containers[entry[2]].signal(signal.SIGCONT)
        for pod, (until, what) in list(self.sick.items()):
            if not everything and until > now:
                continue
            del self.sick[pod]
            if BAD_DISKS:
                self.disk(pod)
        for pod in self.pods:
            with pod.lock:
                if pod.phase == "stopped" and pod not in self.sick:
                    pod.begin()

    def round(self, seconds):
        faults = [self.kill_program] * 4 + [self.kill_pod] * 2 + [self.delete_volume, self.stand_still, self.stand_still,
                                                                 self.away, self.configure, self.configure]
        if PODS > 2:
            faults.append(self.lag_behind)
        if BAD_DISKS:
            faults += [self.full_disk, self.filling_disk, self.broken_sync]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.rng.uniform(0, 0.8))
            self.heal()
            fault = self.rng.choice(faults)
            fault()
            self.faults[fault.__name__] += 1
        self.heal(everything=True)

    # --- what must hold ---

    def check(self):
        """After a round: the set recovers by itself, and holds what it must."""
        for writer in self.writers:
            writer.ended.set()
        for writer in self.writers:
            writer.join(60)
        wrong = [t.wrong for t in self.writers + self.readers if t.wrong] + self.watch.wrong
        if wrong:
            raise Failure("\n".join(wrong))
        self.pods.edit_config({"readiness.max_lag": "10s"})
        position = self.pods.wait_equal(timeout=120)
        self.pods.wait_ready(timeout=120)
        expected = {key: values for writer in self.writers for key, values in writer.possible.items()}
        for pod in self.pods:
            with pod.client() as client:
                for key, values in expected.items():
                    reply = client.ask("GET", f"/v1/kv/{key}")
                    found = reply.body if reply.status == 200 else None
                    if reply.status not in (200, 404) or found not in values:
                        raise Failure(f"{pod.name}: {key} is {found and found[:80]!r} (status {reply.status}), "
                                      f"acknowledged {[v and v[:80] for v in values]}")
            if pod.ask_control("GET", "/digest").json()["digest"] != position["digest"]:
                raise Failure(f"{pod.name}: the digest recomputed is another")
            for name, container in pod.containers.items():
                bad = [code for code in container.exits if code not in MAY_END[name]]
                self.exits.update((name, code) for code in container.exits)
                container.exits.clear()
                if bad:
                    raise Failure(f"{pod.name}: {name} ended with {bad}")
        return position

    def go_on(self):
        """The next round's writers, who know what the last ones left."""
        writers = []
        for old in self.writers:
            new = Writer(self.pods.leader, old.name, self.rng.random())
            new.possible, new.highest, new.answers = old.possible, old.highest, old.answers
            writers.append(new)
        for reader in self.readers:
            reader.writers = writers
        self.writers = writers
        for writer in writers:
            writer.start()


def words(counter):
    return ", ".join(f"{' '.join(map(str, k)) if isinstance(k, tuple) else k} {n}" for k, n in sorted(counter.items(), key=str))


def main():
    began = time.monotonic()
    root = pathlib.Path(tempfile.mkdtemp(prefix="seedpod-torture-"))
    print(f"torture: {MINUTES:g} minutes, {PODS} pods, SEED={SEED}" + ("" if BAD_DISKS else ", without bad disks"), flush=True)
    t, rounds, failure = None, 0, None
    try:
        t = Torture(root)
        while True:
            left = MINUTES * 60 - (time.monotonic() - began)
            if left < 1 and rounds > 0:
                break
            t.round(min(ROUND_SECONDS, max(left, 1)))
            position = t.check()
            rounds += 1
            print(f"round {rounds}: ok after {time.monotonic() - began:.0f} s: seq {position['seq']}, {position['keys']} keys, "
                  f"epoch {position['epoch']}, {sum(t.faults.values())} faults", flush=True)
            t.go_on()
    except (Failure, support.PodError) as problem:
        failure = problem
    finally:
        if t:
            for thread in [*t.writers, *t.readers, t.watch]:
                thread.ended.set()
            t.heal(everything=True) if failure is None else None
            t.pods.close()
    if t:
        print(f"faults:  {words(t.faults)}")
        print(f"writes:  {words(sum((w.answers for w in t.writers), collections.Counter()))}")
        print(f"reads:   {words(sum((r.answers for r in t.readers), collections.Counter()))}")
        print(f"ends:    {words(t.exits)}")
        print(f"watched: {t.watch.looks} positions")
    if failure is not None:
        print(f"FAILED in round {rounds + 1} after {time.monotonic() - began:.0f} s (SEED={SEED}; kept {root}):\n{failure}")
        return 1
    shutil.rmtree(root, ignore_errors=True)
    print(f"torture: {rounds} rounds in {time.monotonic() - began:.0f} s, nothing lost (SEED={SEED})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
