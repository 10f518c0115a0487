#!/usr/bin/env python3
"""Kill each program at each of its steps (lib/base/fault.h), start it again: the old state or the new one, never a third.

A row says at which point what is killed and which of the two must be found. `make crash-matrix` runs all rows and prints
them as a table, except those of a hand-over, which tests/integration/test_handover.py always runs. `make test` runs some of
each scenario, others each time (SEEDPOD_TEST_SEED repeats them).
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

ALL = os.environ.get("CRASH_MATRIX") == "all"
FAULTS = support.BUILD / "faults"
SOME = 1  # rows of a scenario that `make test` runs

OLD, NEW = "old", "new"

# What may lie in a data directory once all is done.
AT_REST = {"cluster", "lock", "store", "seed.json", "seedpod.json.used"}
AT_REST |= {f"{name}.new" for name in AT_REST - {"store"}}  # of an atomic write that was killed; the next one takes it

# scenario: ((point[:N-th time], what must be found), …). "old" is the state before the step, "new" the one after.
MATRIX = {
    "seed an empty follower": (
        ("init.locked", OLD), ("volume.incoming_removed", OLD), ("init.facts", OLD), ("init.planned", OLD),
        ("init.connected", OLD), ("init.incoming_made", OLD), ("init.file_made", OLD), ("init.piece_taken", OLD),
        ("init.piece_taken:5", OLD), ("init.piece_written", OLD), ("init.downloaded", OLD),
        ("init.verified", OLD), ("init.file_synced", OLD), ("init.checked", OLD), ("init.origin_left", OLD),
        ("file.renamed", NEW), ("file.renamed:2", NEW), ("volume.swapped", NEW), ("init.swapped", NEW),
        ("file.written", NEW), ("file.renamed:3", NEW), ("init.recorded", NEW), ("volume.incoming_removed:2", NEW),
        ("init.cleaned", NEW)),
    "replace a follower's store": (
        ("init.facts", OLD), ("init.planned", OLD), ("init.connected", OLD), ("init.incoming_made", OLD),
        ("init.piece_taken:3", OLD), ("init.downloaded", OLD), ("init.verified", OLD), ("init.file_synced", OLD),
        ("init.checked", OLD), ("file.renamed", NEW), ("volume.committed", NEW), ("file.renamed:2", NEW),
        ("volume.put_aside", NEW), ("file.renamed:3", NEW), ("volume.swapped", NEW), ("init.swapped", NEW),
        ("file.written", NEW), ("file.removed", NEW), ("file.removed:2", NEW), ("init.cleaned", NEW)),
    # With on_divergence = reseed; until the new store is ready, the old one stays, and is what a start without peers serves.
    "replace a diverged follower's store": (
        ("init.planned", OLD), ("init.connected", OLD), ("init.incoming_made", OLD), ("init.piece_taken", OLD),
        ("init.piece_taken:3", OLD), ("init.downloaded", OLD), ("init.verified", OLD), ("init.checked", OLD),
        ("volume.committed", NEW), ("volume.put_aside", NEW), ("volume.swapped", NEW), ("file.removed", NEW)),
    "finish a swap that was killed": (
        ("init.locked", NEW), ("volume.committed", NEW), ("file.renamed", NEW), ("volume.put_aside", NEW),
        ("file.renamed:2", NEW), ("volume.swapped", NEW), ("volume.incoming_removed", NEW), ("file.removed", NEW),
        ("init.facts", NEW)),
    "put a former store back": (
        ("file.removed", OLD), ("volume.empty_removed", OLD), ("file.renamed", OLD), ("volume.put_back", OLD)),
    "restore an empty leader": (
        ("init.piece_taken:2", OLD), ("init.checked", OLD), ("file.written", OLD), ("file.renamed", OLD),
        ("init.origin_left", OLD), ("file.renamed:2", NEW), ("volume.swapped", NEW), ("init.cleaned", NEW)),
    "begin the restored leader's epoch": (
        ("open.locked", NEW), ("open.attached", NEW), ("open.settled", NEW), ("open.decided", NEW), ("commit.ready", NEW),
        ("commit.done", NEW), ("open.left_history", NEW), ("open.in_role", NEW), ("file.renamed", NEW), ("open.done", NEW)),
    "create a leader's first store": (
        ("open.locked", OLD), ("create.directories", OLD), ("create.filled", OLD), ("create.written", OLD),
        ("create.renamed", NEW), ("file.removed", NEW), ("open.attached", NEW), ("open.settled", NEW),
        ("open.in_role", NEW), ("open.done", NEW)),
    "put a key": (
        ("journal.ready", OLD), ("journal.created", OLD), ("journal.written", NEW), ("journal.synced", NEW),
        ("commit.told:2", NEW), ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("flush.done", NEW)),
    "delete a key": (
        ("journal.ready", OLD), ("journal.created", OLD), ("journal.written", NEW), ("journal.synced", NEW),
        ("commit.told:2", NEW), ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("flush.done", NEW)),
    "put and delete in a batch": (
        ("journal.ready", OLD), ("journal.created", OLD), ("journal.written", NEW), ("journal.synced", NEW),
        ("commit.told:2", NEW), ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("flush.done", NEW)),
    "put what needs a larger map": (("store.grown", OLD), ("commit.ready", OLD), ("commit.done", NEW)),
    "put with durability = async": (
        ("journal.ready", OLD), ("journal.created", OLD), ("journal.written", NEW), ("journal.synced", NEW),
        ("commit.told:2", NEW), ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("flush.done", NEW)),
    # What a majority has in its log is there, whether or not it was applied and answered.
    "put a key, mode raft": (
        ("raft.proposed", OLD), ("raft.committed", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("raft.told:2", NEW)),
    # In test_crash_matrix_raft.py. What is new is there as soon as it is in the log of a majority.
    "found a cluster": (("raft.identity", NEW), ("raft.bootstrapped", NEW), ("raft.started", NEW)),
    "take a member in, in the leader": (
        ("raft.member_noted", NEW), ("raft.member_step", NEW), ("raft.member_stepped", NEW), ("raft.member_step:2", NEW),
        ("raft.member_stepped:2", NEW), ("raft.member_step:3", NEW), ("raft.member_stepped:3", NEW)),
    "join a cluster, in the member": (
        ("raft.identity", NEW), ("raft.started", NEW), ("raft.join_asking", NEW), ("raft.joined", NEW)),
    "take a member out, in the leader": (("raft.member_step", OLD), ("raft.member_stepped", NEW)),
    "come back after having been taken out": (("raft.log_removed", NEW), ("raft.identity", NEW), ("raft.joined", NEW)),
    "cut the log": (
        ("raft.pointer_ready", NEW), ("raft.pointer_written", NEW), ("raft.pointer_ready:2", NEW),
        ("raft.pointer_written:2", NEW)),
    "be seeded again as a member": (
        ("raft.restored", NEW), ("raft.needs", NEW), ("close.begun", NEW), ("close.done", NEW), ("reseed.released", NEW),
        ("init.piece_taken", NEW), ("volume.committed", NEW), ("volume.put_aside", NEW), ("volume.swapped", NEW),
        ("reseed.seeded", NEW), ("open.attached:2", NEW), ("open.done:2", NEW)),
    "take new certificates": (("tls.read", NEW), ("tls.taken", NEW)),
    "open a store with a journal": (
        ("open.locked", NEW), ("journal.loaded", NEW), ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW),
        ("flush.done", NEW), ("journal.removed", NEW), ("open.attached", NEW), ("open.done", NEW)),
    "apply a feed": (
        ("apply.record", OLD), ("apply.record:40", OLD), ("apply.records", OLD), ("journal.ready", OLD),
        ("journal.created", OLD), ("journal.written", NEW), ("journal.synced", NEW), ("apply.told", NEW),
        ("flush.frozen", NEW), ("commit.ready", NEW), ("commit.done", NEW), ("flush.done", NEW)),
    "apply a part of a feed": (
        ("apply.record", OLD), ("apply.record:40", OLD), ("commit.ready", OLD), ("commit.done", NEW), ("apply.told", NEW)),
    "promote a follower": (("commit.ready", OLD), ("commit.done", NEW)),
    # In tests/integration/test_handover.py, under load. What is old: the old leader leads on, and hands over later.
    "hand the lead over, in the old leader's server": (
        ("handover.holding", OLD), ("handover.releasing", OLD), ("handover.released", NEW)),
    "hand the lead over, in the new leader's sidecar": (
        ("handover.prepared", OLD), ("handover.caught_up", OLD), ("handover.committed", NEW)),
    "hand the lead over, in the new leader's server": (("handover.beginning", NEW), ("handover.leading", NEW)),
    "drop a tombstone": (("expire.one", OLD), ("commit.ready", OLD), ("commit.done", NEW)),
    "reload, in the server": (("reload.parsed", NEW), ("reload.applied", NEW)),
    "reload, in the sidecar": (("reload.parsed", NEW), ("reload.applied", NEW)),
    "stop the server": (
        ("stop.begun", NEW), ("stop.drained", NEW), ("stop.unlistened", NEW), ("close.begun", NEW), ("close.closed", NEW),
        ("close.done", NEW)),
    "give a snapshot": (("snapshot.piece", NEW), ("snapshot.piece:2", NEW), ("snapshot.tail", NEW)),
    "sync, in the sidecar": (("sync.fetched", NEW), ("sync.applied", NEW)),
    "reseed a running pod, in the server": (
        ("close.begun", NEW), ("close.closed", NEW), ("close.done", NEW), ("open.locked", NEW), ("open.attached", NEW),
        ("open.settled", NEW), ("open.in_role", NEW), ("open.done", NEW)),
    "reseed a running pod, in the sidecar": (("reseed.released", NEW), ("reseed.seeded", NEW)),
    "reseed a running pod, in its init": (
        ("init.planned", NEW), ("init.piece_taken:2", NEW), ("volume.committed", NEW), ("volume.put_aside", NEW),
        ("volume.swapped", NEW), ("file.removed", NEW)),
}


def content(pod):
    """All that a pod's server holds, {key: value}, from the change feed; checked against what it says of itself."""
    found = {}
    for line in pod.get("/v1/changes?since=0&limit=1000000&bytes=60000000").text().splitlines():
        record = json.loads(line)
        if record.get("op") == "put":
            found[record["key"]] = record["value"]
    position = pod.position()
    assert position["keys"] == len(found), (position, len(found))
    digest = pod.ask_control("GET", "/digest").json()["digest"]
    assert digest == position["digest"], (digest, position)
    return found


def has_applied(pod):
    """Whether a leader has applied all that its log holds: a write that changes nothing comes after that."""
    return pod.ask("DELETE", "/v1/kv/no-such-key").status == 404


class Crash(support.PodTest):
    """One scenario a test: `setting()` once, then `row()` for each of its rows."""

    @classmethod
    def setUpClass(cls):
        if not (FAULTS / "seedpod-init").exists():
            raise unittest.SkipTest("programs with fault points are not built: make faults")

    def setUp(self):
        super().setUp()
        self.marks, self.victims = 0, []

    def rows(self, scenario):
        rows = MATRIX[scenario]
        if not ALL and len(rows) > SOME:
            rows = [rows[n] for n in sorted(self.rng().sample(range(len(rows)), SOME))]
        return rows

    _rng = None

    @classmethod
    def rng(cls):
        if Crash._rng is None:
            Crash._rng = support.seeded_random("test_crash_matrix")
        return Crash._rng

    def each(self, scenario, run):
        """Run the rows of a scenario; `run(point)` gives back which state was found and a word on what lay there."""
        for point, expected in self.rows(scenario):
            for pod in self.victims:
                pod.kill()
            with self.subTest(scenario=scenario, point=point):
                began = time.monotonic()
                found, note = run(point)
                print("# %-38s %-26s %-4s %5.2f s  %s" % (scenario, point, found, time.monotonic() - began, note),
                      flush=True)
                self.assertEqual(found, expected)

    # --- killing ---

    def fault(self, point, armed=True):
        """The environment for a kill at `point`, once; with armed=False it counts only from arm() on."""
        self.marks += 1
        self.mark = self.dir / f"mark-{self.marks}"
        self.when = self.dir / f"when-{self.marks}"
        if armed:
            self.arm()
        return {"FAULT_AT": point, "FAULT_MARK": str(self.mark), "FAULT_WHEN": str(self.when)}

    def arm(self):
        self.when.touch()

    def killed(self, container, timeout=20):
        """Wait until the container has been killed at its point."""
        code = container.wait(timeout)
        self.assertEqual(code, -signal.SIGKILL, container.log[-3000:])
        self.assertTrue(self.mark.exists(), "it was killed elsewhere")

    def init_alone(self, pod, *arguments, environment=None):
        """Run a pod's init to its end."""
        before, pod.environment = pod.environment, environment or {}
        try:
            return pod.run_init(*arguments)
        finally:
            pod.environment = before

    def init_done(self, pod, *arguments):
        code, log = self.init_alone(pod, *arguments)
        self.assertEqual(code, 0, log)

    def init_killed(self, pod, point, *arguments):
        code, log = self.init_alone(pod, *arguments, environment=self.fault(point))
        self.assertEqual(code, -signal.SIGKILL, log)
        self.assertTrue(self.mark.exists(), log)
        return " ".join(sorted(p.name for p in pod.data_dir.iterdir() if p.name != "lock")) or "nothing"

    def init_unaided(self, pod):
        """Run init where no peer can be reached: what it makes of the volume is all its own."""
        return self.init_alone(pod, environment={"SEEDPOD_POD_PEER_URL": f"http://127.0.{pod.set.octet}.{{ordinal}}:9",
                                                 "SEEDPOD_BOOTSTRAP_ATTEMPTS": "1"})

    def start_server(self, pod, environment=None):
        self.start(pod, pod.server, environment)

    def start(self, pod, container, environment=None):
        pod.environment = environment or {}
        container.start()
        pod.environment = {}

    def serving(self, pod):
        """Start a pod's server, and wait for it."""
        self.start_server(pod)
        wait_until(pod.position, 20, f"{pod.name} serves", pod.set)

    def served_content(self, pod):
        """What a stopped pod's store holds, as its server serves it."""
        self.serving(pod)
        if pod.set.config.get("replication.mode") == "raft":
            # Its log is applied once it leads.
            wait_until(lambda: has_applied(pod), 20, f"{pod.name} leads", pod.set)
        found = content(pod)
        pod.server.kill()
        return found

    def check_offline(self, pod):
        """The store on a stopped pod's volume is whole; its position, or None where there is none."""
        if not (pod.store_dir / "data.mdb").exists():
            return None
        done = subprocess.run([str(FAULTS / "seedpod-server"), "--verify", "--store", str(pod.store_dir)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return pod.offline_position()

    def put_volume(self, pod, template):
        """A stopped pod's volume as it was kept in `template`; None empties it."""
        shutil.rmtree(pod.data_dir)
        if template is None:
            pod.data_dir.mkdir(mode=0o700)
        else:
            shutil.copytree(template, pod.data_dir)

    def keep_volume(self, pod, name):
        shutil.copytree(pod.data_dir, self.dir / name)
        return self.dir / name

    def which(self, found, old, new):
        """The word for what was found; anything else fails here."""
        self.assertIn(found, (old, new), "a third state")
        return OLD if found == old else NEW

    def at_rest(self, pod):
        left = {p.name for p in pod.data_dir.iterdir()}
        self.assertLessEqual(left, AT_REST, "left behind")


class Init(Crash):
    """A leader that runs all the time, a follower whose init is killed."""

    def setting(self, config=None):
        self.pods = self.pod_set(0, config, build=FAULTS)
        self.leader, self.follower = self.pods.add(), self.pods.add()
        self.leader.start_serving()
        self.victims = [self.follower]
        self.leader.load((f"key-{n:04d}", f"old {n} " * 150) for n in range(1500))
        self.old = content(self.leader)
        self.init_done(self.follower)
        self.served_content(self.follower)
        self.old_volume = self.keep_volume(self.follower, "old-volume")
        self.leader.load((f"key-{n:04d}", f"new {n} " * 150) for n in range(0, 1500, 2))
        for n in range(1, 100, 2):
            self.leader.ask("DELETE", f"/v1/kv/key-{n:04d}")
        self.new = content(self.leader)

    def found(self, pod, old):
        """Which state a killed init left, once init has run again without help; then all the way, with the leader."""
        code, log = self.init_unaided(pod)
        position = self.check_offline(pod)
        if position is None:
            self.assertNotEqual(code, 0, log)
            state = self.which(None, old, self.new)
        else:
            self.assertEqual(code, 0, log)
            self.at_rest(pod)
            state = self.which(self.served_content(pod), old, self.new)
        self.init_done(pod, "--reseed")
        self.at_rest(pod)
        self.assertEqual(self.check_offline(pod)["digest"], self.leader.position()["digest"])
        return state

    def test_seed(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, None)
            left = self.init_killed(self.follower, point)
            return self.found(self.follower, None), f"left {left}"
        self.each("seed an empty follower", run)

    def test_replace(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, self.old_volume)
            left = self.init_killed(self.follower, point, "--reseed")
            return self.found(self.follower, self.old), f"left {left}"
        self.each("replace a follower's store", run)

    def test_replace_diverged(self):
        self.setting({"sync.on_divergence": "reseed"})
        self.put_volume(self.follower, self.old_volume)
        self.serving(self.follower)
        self.assertEqual(self.follower.ask_control("POST", "/role", b'{"role":"leader"}').status, 200)
        self.follower.load((f"own-{n}", "its own " * 50) for n in range(200))
        own = content(self.follower)
        self.assertIn("own-7", own)
        self.follower.server.stop()
        volume = self.keep_volume(self.follower, "diverged-volume")

        def run(point):
            self.put_volume(self.follower, volume)
            left = self.init_killed(self.follower, point)
            if not (self.follower.store_dir / "data.mdb").exists():
                self.assertIn("store.ready", left)  # in the midst of the swap: the new one is whole, the old one aside
                self.assertIn("store.old", left)
            return self.found(self.follower, own), f"left {left}"
        self.each("replace a diverged follower's store", run)

    def test_finish(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, self.old_volume)
            self.init_killed(self.follower, "volume.committed", "--reseed")
            left = self.init_killed(self.follower, point)
            return self.found(self.follower, self.old), f"left {left}"
        self.each("finish a swap that was killed", run)

    def test_put_back(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, self.old_volume)
            self.follower.store_dir.rename(self.follower.data_dir / "store.old")
            self.follower.store_dir.mkdir()
            (self.follower.store_dir / "data.mdb").touch()
            left = self.init_killed(self.follower, point)
            return self.found(self.follower, self.old), f"left {left}"
        self.each("put a former store back", run)


class Restore(Crash):
    """A leader with an empty volume and a follower that has the data."""

    def setting(self):
        self.pods = self.pod_set(0, build=FAULTS)
        self.leader, self.follower = self.pods.add(), self.pods.add()
        self.leader.start_serving()
        self.leader.load((f"key-{n:04d}", f"value {n} " * 150) for n in range(1500))
        self.follower.start_serving()
        self.pods.wait_ready()
        self.leader.kill()
        # A donor that was promoted for a while. (As long as it leads, the leader's init waits.)
        for role in (b'{"role":"leader"}', b'{"role":"follower"}'):
            self.assertEqual(self.follower.ask_control("POST", "/role", role).status, 200)
        self.data = content(self.follower)
        self.epoch = self.follower.position()["epoch"]
        self.victims = [self.leader]

    def check_leads(self):
        """However far it came: started whole, the leader has all data and an epoch of its own."""
        self.init_done(self.leader)
        self.serving(self.leader)
        self.assertEqual(content(self.leader), self.data)
        self.assertGreater(self.leader.position()["epoch"], self.epoch)
        self.at_rest(self.leader)
        self.leader.server.kill()

    def test_restore(self):
        self.setting()

        def run(point):
            self.put_volume(self.leader, None)
            left = self.init_killed(self.leader, point)
            present = any((self.leader.data_dir / name).exists() for name in ("store", "store.ready"))
            self.check_leads()
            return NEW if present else OLD, f"left {left}"
        self.each("restore an empty leader", run)

    def test_begin_epoch(self):
        self.setting()
        self.put_volume(self.leader, None)
        self.init_done(self.leader)
        restored = self.keep_volume(self.leader, "restored")

        def run(point):
            self.put_volume(self.leader, restored)
            self.start_server(self.leader, self.fault(point))
            self.killed(self.leader.server)
            epoch = self.check_offline(self.leader)["epoch"]
            self.check_leads()
            return NEW, f"killed at epoch {epoch}"
        self.each("begin the restored leader's epoch", run)


class Create(Crash):
    def test_create(self):
        pods = self.pod_set(0, {"bootstrap.peer_grace": "0s"}, build=FAULTS)
        leader = pods.add()
        self.victims = [leader]

        def run(point):
            self.put_volume(leader, None)
            self.init_done(leader)
            self.start_server(leader, self.fault(point))
            self.killed(leader.server)
            left = " ".join(sorted(p.name for p in leader.data_dir.iterdir()))
            before = self.check_offline(leader)
            self.init_done(leader)
            self.serving(leader)
            self.assertEqual(content(leader), {})
            if before:
                self.assertEqual(leader.position()["cluster"], before["cluster"])
            self.assertEqual(leader.put("key", b"value").status, 204)
            self.at_rest(leader)
            leader.server.kill()
            return NEW if before else OLD, f"left {left}"
        self.each("create a leader's first store", run)


class Write(Crash):
    """A leader whose server is killed in a write."""

    config = {}

    def setting(self, config=None):
        self.pods = self.pod_set(0, config, build=FAULTS)
        self.leader = self.pods.add()
        self.leader.start_serving()
        self.leader.sidecar.stop()
        self.leader.load((f"key-{n:03d}", f"value {n}") for n in range(200))
        self.data = content(self.leader)
        self.leader.server.stop()
        self.victims = [self.leader]
        self.volume = self.keep_volume(self.leader, "volume")

    def write(self, scenario, request, changes):
        """Rows of one write: `request` as (method, path, body); `changes` are what it makes of the data."""
        new = {k: v for k, v in (self.data | changes).items() if v is not None}

        def run(point):
            self.put_volume(self.leader, self.volume)
            # The thread that tells may still be at it when the answer is here: so that one is counted from the start, the
            # write of has_applied() being the first.
            self.start_server(self.leader, self.fault(point, armed="told" in point))
            self.leads()
            self.arm()
            try:
                status = self.leader.ask(*request).status
            except (OSError, http.client.HTTPException):
                status = "none"
            self.killed(self.leader.server)
            found = self.which(self.served_content(self.leader), self.data, new)
            if status != "none":
                self.assertIn((status, found), ((204, NEW), (200, NEW)), "answered, and not there")
            # Whatever was lost can be done again.
            self.start_server(self.leader)
            self.leads()
            self.assertIn(self.leader.ask(*request).status, (200, 204, 404))
            self.assertEqual(content(self.leader), new)
            self.leader.server.kill()
            return found, f"answer {status}"
        self.each(scenario, run)

    def leads(self):
        wait_until(lambda: has_applied(self.leader), 20, "the leader leads", self.pods)

    def test_raft(self):
        self.setting({"replication.mode": "raft"})
        self.write("put a key, mode raft", ("PUT", "/v1/kv/key-007", b"fresh"), {"key-007": "fresh"})

    def test_put(self):
        self.setting()
        self.write("put a key", ("PUT", "/v1/kv/key-007", b"fresh"), {"key-007": "fresh"})

    def test_delete(self):
        self.setting()
        self.write("delete a key", ("DELETE", "/v1/kv/key-007"), {"key-007": None})

    def test_batch(self):
        self.setting()
        lines = [{"op": "put", "key": f"key-{n:03d}", "value": "batch"} for n in range(50, 150)]
        lines += [{"op": "delete", "key": f"key-{n:03d}"} for n in range(150, 200)]
        changes = {line["key"]: line.get("value") for line in lines}
        body = "\n".join(json.dumps(line) for line in lines).encode()
        self.write("put and delete in a batch", ("POST", "/v1/batch", body), changes)

    def test_grow(self):
        self.setting({"server.map_size": "16MiB", "server.max_value": "32MiB"})
        value = "x" * (20 << 20)
        self.write("put what needs a larger map", ("PUT", "/v1/kv/large", value.encode()), {"large": value})

    def test_open_with_a_journal(self):
        self.setting()
        new = self.data | {"key-007": "fresh"}
        self.start_server(self.leader, self.fault("flush.frozen", armed=False))
        wait_until(self.leader.position, 20, "the leader serves", self.pods)
        self.arm()
        self.assertEqual(self.leader.put("key-007", b"fresh").status, 204)
        self.killed(self.leader.server)
        self.assertTrue((self.leader.store_dir / "journal").exists())
        # What looks at a store that nobody has open sees the journal too, and leaves it.
        self.assertEqual(self.check_offline(self.leader)["seq"], 201)
        volume = self.keep_volume(self.leader, "with-journal")

        def run(point):
            self.put_volume(self.leader, volume)
            self.start_server(self.leader, self.fault(point))
            self.killed(self.leader.server)
            left = " ".join(sorted(p.name for p in self.leader.store_dir.iterdir() if p.name != "lock.mdb"))
            found = self.which(self.served_content(self.leader), self.data, new)
            self.assertEqual(self.check_offline(self.leader)["seq"], 201)
            return found, f"left {left}"
        self.each("open a store with a journal", run)

    def test_async(self):
        self.setting({"server.durability": "async"})
        self.write("put with durability = async", ("PUT", "/v1/kv/key-007", b"fresh"), {"key-007": "fresh"})

    def test_stop(self):
        for durability in ("sync", "async"):
            with self.subTest(durability):
                self.stop_killed({"server.durability": durability})

    def stop_killed(self, config):
        self.dir = self.dir / config["server.durability"]
        self.dir.mkdir()
        self.setting(config)
        new = self.data | {"last": "write"}

        def run(point):
            self.put_volume(self.leader, self.volume)
            self.start_server(self.leader, self.fault(point))
            wait_until(self.leader.position, 20, "the leader serves", self.pods)
            self.assertEqual(self.leader.put("last", b"write").status, 204)
            self.leader.server.signal(signal.SIGTERM)
            self.killed(self.leader.server)
            return self.which(self.served_content(self.leader), self.data, new), config["server.durability"]
        self.each("stop the server", run)
        self.leader.kill()
        self.dir = self.dir.parent

    def test_expire(self):
        self.setting({"server.tombstone_keep": "1s"})
        self.serving(self.leader)
        self.assertEqual(self.leader.ask("DELETE", "/v1/kv/key-000").status, 204)
        seq, horizon = self.leader.position()["seq"], self.leader.position()["horizon"]
        self.leader.server.stop()
        shutil.rmtree(self.volume)
        self.volume = self.keep_volume(self.leader, "volume")

        def run(point):
            self.put_volume(self.leader, self.volume)
            self.start_server(self.leader, self.fault(point))
            self.killed(self.leader.server)
            found = self.which(self.check_offline(self.leader)["horizon"], horizon, seq)
            self.serving(self.leader)
            wait_until(lambda: self.leader.position()["horizon"] == seq, 20, "the tombstone is dropped", self.pods)
            self.assertEqual(self.leader.get("/v1/kv/key-000").status, 404)
            self.assertEqual(self.leader.ask_control("GET", "/digest").json()["digest"], self.leader.position()["digest"])
            self.leader.server.kill()
            return found, ""
        self.each("drop a tombstone", run)


class Follow(Crash):
    """A leader that runs, a follower's server that is killed."""

    def setting(self):
        self.pods = self.pod_set(2, build=FAULTS)
        self.leader, self.follower = self.pods
        self.leader.load((f"key-{n:03d}", f"value {n} " * 1000) for n in range(200))
        self.pods.wait_equal()
        self.old = content(self.follower)
        self.follower.stop()
        self.victims = [self.follower]
        self.volume = self.keep_volume(self.follower, "volume")
        self.leader.load((f"key-{n:03d}", "changed") for n in range(50, 150))
        self.new = content(self.leader)

    def test_apply(self):
        self.setting()
        position = self.follower.offline_position()
        feed = self.leader.get(f"/v1/changes?since={position['seq']}", {"Accept": "application/vnd.seedpod.changes"}).body

        def run(point):
            self.put_volume(self.follower, self.volume)
            self.start_server(self.follower, self.fault(point, armed=False))
            wait_until(self.follower.position, 20, "the follower serves", self.pods)
            self.arm()
            try:
                status = self.follower.ask_control("POST", "/apply", feed).status
            except (OSError, http.client.HTTPException):
                status = "none"
            self.killed(self.follower.server)
            found = self.which(self.served_content(self.follower), self.old, self.new)
            return found, f"answer {status}"
        self.each("apply a feed", run)

    def test_apply_part(self):
        self.setting()
        position = self.follower.offline_position()
        feed = self.leader.get(f"/v1/changes?since={position['seq']}&limit=60",
                               {"Accept": "application/vnd.seedpod.changes"}).body
        part = self.old | {f"key-{n:03d}": "changed" for n in range(50, 110)}

        def run(point):
            self.put_volume(self.follower, self.volume)
            self.start_server(self.follower, self.fault(point, armed=False))
            wait_until(self.follower.position, 20, "the follower serves", self.pods)
            self.arm()
            try:
                status = self.follower.ask_control("POST", "/apply", feed).status
            except (OSError, http.client.HTTPException):
                status = "none"
            self.killed(self.follower.server)
            found = self.which(self.served_content(self.follower), self.old, part)
            return found, f"answer {status}"
        self.each("apply a part of a feed", run)

    def test_promote(self):
        self.setting()
        epoch = self.follower.offline_position()["epoch"]

        def run(point):
            self.put_volume(self.follower, self.volume)
            self.start_server(self.follower, self.fault(point, armed=False))
            wait_until(self.follower.position, 20, "the follower serves", self.pods)
            self.arm()
            with self.assertRaises((OSError, http.client.HTTPException)):
                self.follower.ask_control("POST", "/role", b'{"role":"leader"}')
            self.killed(self.follower.server)
            found = self.which(self.check_offline(self.follower)["epoch"], epoch, epoch + 1)
            self.assertEqual(self.served_content(self.follower), self.old)
            return found, ""
        self.each("promote a follower", run)

    def test_sync(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, self.volume)
            self.serving(self.follower)
            self.start(self.follower, self.follower.sidecar, self.fault(point))
            self.killed(self.follower.sidecar)
            self.which(content(self.follower), self.old, self.new)
            self.follower.sidecar.start()
            self.pods.wait_equal()
            wait_until(lambda: self.follower.readyz() == 200, 20, "the follower is ready", self.pods)
            found = self.which(content(self.follower), self.old, self.new)
            self.follower.sidecar.stop()
            self.follower.server.kill()
            return found, ""
        self.each("sync, in the sidecar", run)

    def test_give_snapshot(self):
        self.setting()

        def run(point):
            self.put_volume(self.follower, None)
            self.leader.kill("server")
            self.start_server(self.leader, self.fault(point))
            wait_until(self.leader.position, 20, "the leader serves", self.pods)
            self.follower.init.start()
            self.killed(self.leader.server)
            self.serving(self.leader)
            self.assertEqual(self.follower.init.wait(30), 0, self.pods.log_tails())
            return self.which(self.served_content(self.follower), None, self.new), ""
        self.each("give a snapshot", run)


class Reload(Crash):
    def test_reload(self):
        pods = self.pod_set(1, build=FAULTS)
        pod = pods.leader
        for name, container in (("server", pod.server), ("sidecar", pod.sidecar)):
            def run(point):
                container.stop()
                self.start(pod, container, self.fault(point))
                wait_until(lambda: pod.position() and pod.ask_sidecar("/livez").status == 200, 20, "it serves", pods)
                pods.edit_config({"log.level": "debug" if pods.config.get("log.level") == "info" else "info"})
                self.killed(container)
                container.start()
                wait_until(lambda: pod.position() and pod.status()["config"]["hash"] == pods.config_hash(), 20,
                           "the new configuration is in force", pods)
                wait_until(lambda: f"config_hash={pods.config_hash()}" in pod.server.log
                           or f"hash={pods.config_hash()}" in pod.server.log, 20, "in the server too", pods)
                return NEW, ""
            self.each(f"reload, in the {name}", run)


class Reseed(Crash):
    """A running follower whose data are another cluster's, and may be replaced; one of its programs is killed."""

    def setting(self):
        self.pods = self.pod_set(2, {"sync.on_divergence": "reseed"}, build=FAULTS)
        self.leader, self.follower = self.pods
        self.leader.load((f"key-{n:03d}", f"value {n}") for n in range(1000))
        self.pods.wait_ready()
        self.follower.stop()
        self.old_volume = self.keep_volume(self.follower, "of-the-former-cluster")
        self.old = {f"key-{n:03d}": f"value {n}" for n in range(1000)}
        self.leader.stop()
        self.leader.delete_volume()
        self.leader.start_serving()
        self.victims = [self.follower]
        self.leader.load((f"other-{n:03d}", f"other {n} " * 250) for n in range(1000))
        self.new = content(self.leader)

    def reseed(self, scenario, victim):
        self.setting()
        follower = self.follower

        def run(point):
            self.put_volume(follower, self.old_volume)
            fault = self.fault(point, armed=False)
            self.start_server(follower, fault if victim == "server" else None)
            wait_until(follower.position, 20, "the follower serves", self.pods)
            self.arm()
            self.start(follower, follower.sidecar, fault if victim != "server" else None)
            wait_until(self.mark.exists, 20, "the point is passed", self.pods)
            if victim != "init":
                container = follower.containers[victim]
                self.killed(container)
                container.start()
            wait_until(lambda: follower.readyz() == 200, 60, "the follower is ready", self.pods)
            found = self.which(content(follower), self.old, self.new)
            wait_until(lambda: {p.name for p in follower.data_dir.iterdir()} <= AT_REST, 20, "all is cleared", self.pods)
            follower.sidecar.stop()
            follower.server.kill()
            return found, ""
        self.each(scenario, run)

    def test_server(self):
        self.reseed("reseed a running pod, in the server", "server")

    def test_sidecar(self):
        self.reseed("reseed a running pod, in the sidecar", "sidecar")

    def test_init(self):
        self.reseed("reseed a running pod, in its init", "init")


class Whole(unittest.TestCase):
    def test_every_fault_point_has_a_row(self):
        rows = {point.split(":")[0] for rows in MATRIX.values() for point, _ in rows}
        points = {name for folder in ("lib", "conf", "server", "init", "sidecar")
                  for path in (support.ROOT / folder).rglob("*.c")
                  for name in re.findall(r'FAULT_POINT\("([^"]+)"\)', path.read_text())}
        self.assertEqual(points, rows)


if __name__ == "__main__":
    support.main()
