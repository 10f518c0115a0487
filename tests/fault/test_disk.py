#!/usr/bin/env python3
"""A disk that fails: full, broken, short of a byte, unable to sync, in each writing path of each program.

tests/fault/badio.c plays the disk, a small loop file system is a real one. What holds in every case: an answer that says
"stored" is kept, whatever comes; a refusal has the right status or exit code; when the disk is well again, so are we.
"""

import http.client
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

SHIM = support.BUILD / "faults" / "badio.so"


class BadDisk(support.PodTest):
    @classmethod
    def setUpClass(cls):
        if not SHIM.exists():
            raise unittest.SkipTest("badio.so is not built: make faults")
        if support.SANITIZE:
            raise unittest.SkipTest("a sanitizer's own library must come first")

    def setUp(self):
        super().setUp()
        self.rules = self.dir / "badio"

    def environment(self):
        return {"LD_PRELOAD": str(SHIM), "BADIO": str(self.rules)}

    def disk(self, *rules):
        """From now on the disk does this; without rules it is well. Replaced in one step: programs read it any time."""
        fresh = self.dir / "badio.fresh"
        fresh.write_text("".join(f"{rule}\n" for rule in rules))
        os.rename(fresh, self.rules)
        self.failures().unlink(missing_ok=True)

    def failures(self):
        return self.dir / "badio.log"

    def failed(self):
        """How often the disk has failed since disk()."""
        return len(self.failures().read_text().splitlines()) if self.failures().exists() else 0


class ServerWrites(BadDisk):
    def start(self, config=None):
        self.pods = self.pod_set(0, config)
        self.leader = self.pods.add()
        self.leader.environment = self.environment()
        self.disk()
        self.leader.start_serving()
        self.kept = {}

    def put(self, key, value):
        """One write; the answer's status, or None where there came none. What is acknowledged is noted."""
        try:
            reply = self.leader.put(key, value)
        except (OSError, http.client.HTTPException):
            return None
        if reply.status == 204:
            self.kept[key] = value
        else:
            self.assertEqual(reply.headers.get_content_type(), "application/problem+json")
        return reply.status

    def well_again(self):
        """The disk is well: the server serves (started again where it ended itself), and has all that it answered for."""
        self.disk()
        leader = self.leader
        ended = None
        if not leader.server.running or leader.server.process.poll() is not None:
            ended = leader.server.reap()
            leader.server.start()
        wait_until(leader.position, 20, "the leader serves", self.pods)
        for key, value in self.kept.items():
            self.assertTrue(leader.get(f"/v1/kv/{key}").body == value, key)
        self.assertEqual(leader.ask_control("GET", "/digest").json()["digest"], leader.position()["digest"])
        self.assertEqual(self.put("after", b"well again"), 204)
        return ended

    def test_a_commit_that_fails_anywhere(self):
        """The first, second, … write or sync of a commit fails, once: not acknowledged, and nothing else is lost."""
        self.fail_anywhere("data.mdb", 3 << 20)  # more than the journal takes

    def test_a_journal_that_fails_anywhere(self):
        self.fail_anywhere("/journal", 30000)

    def test_a_group_that_was_not_written_to_its_end_is_not_there_after_a_crash(self):
        """All but its last bytes, which are zeros, are in the file when the disk says that it is full."""
        self.start()
        self.assertEqual(self.put("before", b"1"), 204)
        self.disk("write /journal short")
        self.assertEqual(self.put("refused", b"2"), 507)
        self.assertGreater(self.failed(), 0)
        self.leader.server.kill()
        self.well_again()
        self.assertEqual(self.leader.get("/v1/kv/refused").status, 404)

    def fail_anywhere(self, file, size):
        self.start()
        self.leader.load((f"key-{n:04d}", "x" * 300) for n in range(2000))
        self.kept |= {f"key-{n:04d}": b"x" * 300 for n in range(0, 2000, 50)}
        outcomes = {}
        for call, what in (("write", "ENOSPC"), ("write", "EDQUOT"), ("write", "EIO"), ("write", "EROFS"),
                           ("write", "short"), ("sync", "EIO"), ("sync", "ENOSPC")):
            if (file, what) == ("/journal", "short"):
                continue  # the rest is written
            for after in range(4):
                with self.subTest(call=call, what=what, after=after):
                    self.leader.get("/v1/kv?limit=1")  # so that nothing is left to flush
                    self.disk(f"{call} {file} {what} {after} 1")
                    status = self.put(f"{call}-{what}-{after}", os.urandom(size))
                    failed = self.failed()
                    if status == 204:
                        # The commit had fewer writes than that.
                        self.assertEqual(failed, 0, "acknowledged, though the disk failed")
                    elif status is None:
                        self.leader.server.wait(10)
                        self.assertEqual(self.leader.server.exits[-1], 74, self.pods.log_tails())
                    else:
                        self.assertEqual(status, 507)
                        self.assertIn(what, ("ENOSPC", "EDQUOT", "short"))
                    if (call, what) == ("sync", "EIO") and failed:
                        # On a full disk the commit is refused, and its pages are written anew by the next one; after any
                        # other failure nobody knows what is on the disk.
                        self.assertIsNone(status, "a sync failed, and the server goes on as if it were durable")
                    outcomes.setdefault((call, what), []).append(status or "exit 74")
                    self.well_again()
        for (call, what), statuses in outcomes.items():
            print(f"# {call:<5} {what:<6} {statuses}", flush=True)
        self.assertTrue(all(any(s != 204 for s in statuses) for statuses in outcomes.values()), outcomes)

    def test_a_full_disk_answers_507_until_there_is_room(self):
        self.start()
        self.assertEqual(self.put("before", b"1"), 204)
        self.disk("write /store/ ENOSPC")
        for n in range(5):
            self.assertEqual(self.put(f"full-{n}", b"2"), 507)
            self.assertEqual(self.leader.get("/v1/kv/before").body, b"1")
        batch = self.leader.ask("POST", "/v1/batch", b'{"op":"put","key":"a","value":"1"}\n')
        self.assertEqual(batch.status, 507)
        for n in range(100):
            self.assertEqual(self.put(f"full-{n}", b"2"), 507)
        self.assertIsNone(self.well_again())
        self.pods.wait_ready()
        self.assertEqual(self.leader.position()["keys"], 2)
        # A line at the change and one at the end, and not one for each of the 106 refusals.
        wait_until(lambda: self.put("after", b"3") == 204 and "writes are stored again" in self.leader.server.log, 20,
                   "the log says that it is over", self.pods)
        self.assertEqual(self.leader.server.log.count("the volume is full; writes are refused"), 1)
        self.assertRegex(self.leader.server.log, 'msg="the volume has room; writes are stored again" refused=106')

    def test_a_journal_that_cannot_be_flushed(self):
        """What is in the journal is served, also after a kill; then writes are refused, until there is room."""
        self.start()
        self.assertEqual(self.put("before", b"1"), 204)
        self.disk("write data.mdb ENOSPC")
        statuses = []

        def refused():
            statuses.append(self.put(f"full-{len(statuses)}", b"2"))
            return statuses[-1] != 204
        wait_until(refused, 20, "writes are refused", self.pods)
        self.assertEqual(statuses[-1], 507)
        for key, value in self.kept.items():
            self.assertEqual(self.leader.get(f"/v1/kv/{key}").body, value)
        self.leader.server.kill()
        self.leader.server.start()
        wait_until(self.leader.position, 20, "the leader serves from its journal", self.pods)
        self.assertEqual(self.leader.position()["keys"], len(self.kept))
        self.assertEqual(self.leader.get("/v1/kv/before").body, b"1")
        self.assertEqual(self.put("still-full", b"2"), 507)
        self.disk()
        wait_until(lambda: self.put("room-again", b"3") == 204, 20, "writes are taken", self.pods)
        self.assertIsNone(self.well_again())

    def test_a_flush_that_fails_ends_the_server_and_nothing_is_lost(self):
        for call in ("write", "sync"):
            with self.subTest(call):
                if call == "write":
                    self.start()
                self.assertEqual(self.put(f"before-{call}", b"1"), 204)
                self.leader.get("/v1/kv?limit=1")  # flushed
                self.disk(f"{call} data.mdb EIO 0 1")
                self.assertEqual(self.put(f"last-{call}", b"2"), 204)
                self.assertEqual(self.leader.server.wait(20), 74)
                self.well_again()

    def test_async_a_sync_that_fails_ends_the_server_and_the_next_begins_an_epoch(self):
        """What is on disk is not known, so what followers have may be more."""
        self.start({"server.durability": "async"})
        self.put("before", b"1")
        self.disk("sync store/journal EIO 0 1")
        self.put("key", b"value")
        self.assertEqual(self.leader.server.wait(20), 74)
        self.assertEqual(self.failed(), 1)
        self.disk()
        self.leader.server.start()
        position = wait_until(self.leader.position, 20, "the leader serves", self.pods)
        self.assertIn("the journal is in doubt", self.leader.server.log)
        self.assertEqual(position["epoch"], 2)
        self.assertEqual(self.leader.get("/v1/kv/before").body, b"1")

    def test_small_files_that_cannot_be_put_on_disk_end_the_start(self):
        """A member's number: what would not outlive the machine is not gone on with."""
        for config, file in (({"replication.mode": "raft"}, "/raft/member"),):
            self.start(config)
            self.leader.stop()
            for call, what, exits in (("open", "ENOSPC", 73), ("write", "ENOSPC", 73), ("write", "EIO", 74),
                                      ("sync", "EIO", 74), ("rename", "EIO", 74)):
                with self.subTest(file=file, call=call, what=what):
                    self.leader.delete_volume()
                    self.disk(f"{call} {file} {what}")
                    self.leader.server.start()
                    self.assertEqual(self.leader.server.wait(20), exits, self.leader.server.log[-1000:])
                    self.assertGreater(self.failed(), 0)
                    self.assertIn(file[1:], self.leader.server.log.splitlines()[-1])
                    self.assertFalse((self.leader.data_dir / file[1:]).exists())
            self.disk()
            self.leader.delete_volume()
            self.leader.start_serving()
            wait_until(lambda: self.leader.put("key", b"value").status == 204, 20, "it takes writes", self.pods)
            self.leader.stop()

    def test_a_volume_that_cannot_be_marked_serves_all_the_same(self):
        """data_dir/cluster only tells a store that vanished from one that never was: what is stored does not hang on it."""
        self.start({})
        self.assertTrue((self.leader.data_dir / "cluster").exists())
        for call, what in (("open", "ENOSPC"), ("write", "EIO"), ("rename", "EIO")):
            with self.subTest(call=call, what=what):
                self.leader.stop()
                (self.leader.data_dir / "cluster").unlink(missing_ok=True)
                self.disk(f"{call} /cluster {what}")
                self.leader.start_serving()
                wait_until(lambda: self.leader.put("key", b"value").status == 204, 20, "it takes writes", self.pods)
                self.assertGreater(self.failed(), 0)
                self.assertIn("cannot be marked", self.leader.server.log)
                self.assertFalse((self.leader.data_dir / "cluster").exists())
                self.disk()

    def test_a_first_store_on_a_bad_disk(self):
        pods = self.pod_set(0, {"bootstrap.peer_grace": "0s"})
        leader = pods.add()
        leader.environment = self.environment()
        for rule, exits in (("open /lock ENOSPC", 73), ("open /lock EROFS", 73), ("open /lock EACCES", 77),
                            ("mkdir /store ENOSPC", 73), ("write store.new ENOSPC", 73), ("write store.new EIO", 74),
                            ("sync store.new EIO", 74), ("rename data.mdb EIO", 74), ("rename data.mdb ENOSPC", 73),
                            ("sync /store EIO", 74)):
            with self.subTest(rule):
                leader.delete_volume()
                self.disk(rule)
                leader.server.start()
                self.assertEqual(leader.server.wait(20), exits, leader.server.log[-1000:])
                self.assertGreater(self.failed(), 0)
                self.assertIn(str(leader.data_dir), leader.server.log.splitlines()[-1])
                self.disk()
                leader.start_serving()
                self.assertEqual(leader.put("key", b"value").status, 204)
                leader.kill()

    def test_a_follower_applies_when_its_disk_is_well_again(self):
        pods = self.pod_set(0, {"readiness.max_lag": "1s"})
        leader, follower = pods.add(), pods.add()
        self.disk()
        follower.environment = self.environment()
        leader.start_serving()
        follower.start_serving()
        pods.wait_ready()
        self.disk("write data.mdb ENOSPC", "write journal ENOSPC")
        leader.load((f"key-{n}", "x" * 100) for n in range(500))
        wait_until(lambda: follower.readyz() == 503 and self.failed() > 0, 20, "the follower is unready", pods)
        self.assertLess(follower.position()["seq"], leader.position()["seq"])
        self.disk()
        pods.wait_equal()
        pods.wait_ready()
        # And one that breaks: the server ends, the kubelet starts it again.
        pods.supervise()
        self.disk("sync data.mdb EIO 0 1")
        leader.put("more", b"1")
        wait_until(lambda: 74 in follower.server.exits, 20, "the follower's server ended", pods)
        self.disk()
        pods.wait_equal()
        pods.wait_ready()


class InitWrites(BadDisk):
    def test_a_seed_that_cannot_be_written(self):
        pods = self.pod_set(0)
        leader, follower = pods.add(), pods.add()
        leader.start_serving()
        leader.load((f"key-{n:04d}", f"old {n} " * 600) for n in range(1500))
        self.disk()
        follower.environment = self.environment()
        self.assertEqual(follower.run_init()[0], 0)
        old = follower.offline_position()
        volume = self.dir / "volume"
        shutil.copytree(follower.data_dir, volume)
        leader.load((f"key-{n:04d}", f"new {n} " * 600) for n in range(1500))
        new = leader.position()
        # What fails, the exit code, and which store the next run finds where no leader helps it.
        for rule, exits, left in (
                ("mkdir store.incoming ENOSPC", 73, old), ("mkdir store.incoming EACCES", 77, old),
                ("open store.incoming/data.mdb ENOSPC", 73, old),
                ("write store.incoming/data.mdb ENOSPC", 73, old), ("write store.incoming/data.mdb ENOSPC 3", 73, old),
                ("write store.incoming/data.mdb EDQUOT 2", 73, old), ("write store.incoming/data.mdb EIO 2", 74, old),
                ("write store.incoming/data.mdb short", 0, new),
                ("sync store.incoming/data.mdb EIO", 74, old), ("sync store.incoming EIO 1", 74, old),
                ("rename store.ready EIO", 74, old), ("rename store.ready ENOSPC", 73, old),
                ("rename store.old EIO", 74, new), ("rename data/store EIO 2 1", 74, new),
                ("open seed.json ENOSPC", 0, new), ("write seed.json ENOSPC", 0, new), ("write seed.json EIO", 0, new),
                ("sync seed.json EIO", 0, new), ("rename seed.json EIO", 0, new)):
            with self.subTest(rule):
                shutil.rmtree(follower.data_dir)
                shutil.copytree(volume, follower.data_dir)
                self.disk(rule)
                code, log = follower.run_init("--reseed")
                self.assertEqual(code, exits, log)
                self.assertGreater(self.failed(), 0, log)
                if exits:
                    self.assertIn(str(follower.data_dir), log.splitlines()[-1])
                    self.assertIn(f'"exit_code":{exits}', follower.init.termination_log.read_text().replace(" ", ""))
                self.disk()
                follower.environment |= {"SEEDPOD_POD_PEER_URL": f"http://127.0.{pods.octet}.{{ordinal}}:9"}
                code, log = follower.run_init()
                follower.environment = self.environment()
                self.assertEqual(code, 0, log)
                found = follower.offline_position()
                self.assertEqual(found["digest"], left["digest"])
                done = subprocess.run([str(support.BUILD / "seedpod-server"), "--verify", "--store",
                                       str(follower.store_dir)], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_restore_whose_origin_cannot_be_written(self):
        pods = self.pod_set(2)
        pods.leader.load((f"key-{n}", "x" * 100) for n in range(100))
        pods.wait_ready()
        pods.leader.stop()
        for rule, exits in (("open /seedpod.json ENOSPC", 73), ("write /seedpod.json EIO", 74),
                            ("sync /seedpod.json EIO", 74), ("rename /seedpod.json EIO", 74)):
            with self.subTest(rule):
                pods.leader.delete_volume()
                pods.leader.environment = self.environment()
                self.disk(rule)
                code, log = pods.leader.run_init()
                self.assertEqual(code, exits, log)
                self.assertGreater(self.failed(), 0, log)
                self.assertFalse(pods.leader.store_dir.exists(), "a store that would go on in an epoch of another's")
        self.disk()
        pods.leader.start()
        wait_until(lambda: pods.leader.position()["keys"] == 100, 20, "the leader has its peer's data", pods)

    def test_a_termination_log_that_cannot_be_written_changes_no_exit_code(self):
        pods = self.pod_set(0, {"bootstrap.attempts": "1"})
        pods.add()
        follower = pods.add()
        follower.environment = self.environment()
        self.disk("write /termination/ ENOSPC", "open /termination/ ENOSPC")
        self.assertEqual(follower.run_init()[0], 69)
        self.assertGreater(self.failed(), 0)


class LoopDisk(support.PodTest):
    """A real file system that is too small."""

    def mount(self, pod, size):
        """An ext4 of `size` under a pod's data directory."""
        support.need_root("mounts a file system")
        support.need("mkfs.ext4", "mount")
        image = self.dir / f"{pod.name}.ext4"
        with open(image, "wb") as out:
            out.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        done = subprocess.run(["mount", "-o", "loop", str(image), str(pod.data_dir)], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"no loop file systems here: {done.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(pod.data_dir)])

    def test_ext4_fills_up_and_is_emptied_three_times(self):
        pods = self.pod_set(0, {"server.map_size": "1GiB"})
        leader = pods.add()
        self.mount(leader, 14 << 20)
        filler = leader.data_dir / "filler"
        filler.write_bytes(os.urandom(2 << 20))
        leader.start_serving()
        kept = {}
        for turn in range(3):
            n, status = 0, 204
            while status == 204:
                key, value = f"turn-{turn}-{n}", os.urandom(50000)
                status = leader.put(key, value).status
                if status == 204:
                    kept[key] = value
                n += 1
            self.assertEqual(status, 507)
            self.assertTrue(all(leader.get(f"/v1/kv/{k}").body == v for k, v in kept.items()))
            leader.server.kill()
            leader.server.start()
            wait_until(leader.position, 20, "it serves on the full volume", pods)
            self.assertEqual(leader.position()["keys"], len(kept))
            if filler.exists():
                filler.unlink()
            else:
                for key in list(kept)[:len(kept) // 2]:
                    self.assertIn(leader.ask("DELETE", f"/v1/kv/{key}").status, (204, 507))
                    if leader.get(f"/v1/kv/{key}").status == 404:
                        del kept[key]
        self.assertEqual(leader.ask_control("GET", "/digest").json()["digest"], leader.position()["digest"])
        self.assertTrue(all(leader.get(f"/v1/kv/{k}").body == v for k, v in kept.items()))

    def test_init_on_an_ext4_that_is_too_small_or_fills_up_meanwhile(self):
        pods = self.pod_set(0)
        leader, follower = pods.add(), pods.add()
        leader.start_serving()
        leader.load((f"key-{n:04d}", "x" * 4000) for n in range(2500))
        self.mount(follower, 24 << 20)
        filler = follower.data_dir / "filler"
        filler.write_bytes(os.urandom(14 << 20))
        code, log = follower.run_init()
        self.assertEqual(code, 73, log)
        self.assertIn("bytes free", log.splitlines()[-1])
        filler.unlink()
        self.assertEqual(follower.run_init()[0], 0)
        self.assertEqual(follower.offline_position()["digest"], leader.position()["digest"])


if __name__ == "__main__":
    support.main()
