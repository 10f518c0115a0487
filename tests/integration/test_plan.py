#!/usr/bin/env python3
"""init's table of facts and actions, with real processes: what each row leaves on the volume."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import support
from support import wait_until


def stop_following(pod):
    """The pod serves what it has and gets no more: without a sidecar, and by a server that nobody told to pull."""
    pod.kill("sidecar")
    pod.restart("server")
    wait_until(pod.position, 20, f"{pod.name} serves", pod.set)


def inode(pod):
    return (pod.store_dir / "data.mdb").stat().st_ino


class Leader(support.PodTest):
    def test_with_an_empty_volume_and_no_peers_it_creates_a_store(self):
        pods = self.pod_set(1)
        self.assertEqual(pods.leader.init.exits, [0])
        position = pods.leader.position()
        self.assertEqual((position["seq"], position["keys"], position["epoch"]), (0, 0, 1))
        self.assertRegex(pods.leader.init.log, r"action=\"?create")
        pods.wait_ready()

    def test_whose_store_vanished_makes_no_new_one_until_init_has_asked(self):
        """A container that restarts runs no init: a server that finds its volume without the store is to say so."""
        pods = self.pod_set(1)
        pods.leader.put("kept", b"x")
        cluster = pods.leader.position()["cluster"]
        pods.leader.kill("server")
        for with_folder in (False, True):
            with self.subTest(with_folder=with_folder):
                shutil.rmtree(pods.leader.store_dir, ignore_errors=True)
                if with_folder:
                    pods.leader.store_dir.mkdir()
                pods.leader.server.start()
                self.assertEqual(pods.leader.server.wait(20), 73)
                self.assertIn(f"held a store of cluster {cluster}", pods.leader.server.log.splitlines()[-1])
                self.assertFalse((pods.leader.store_dir / "data.mdb").exists())
        pods.leader.stop()
        # init asks whoever there is, and says what it found.
        pods.leader.start_serving()
        self.assertNotEqual(pods.leader.position()["cluster"], cluster)
        self.assertIn("this volume has held a store, which is gone", pods.leader.init.log)
        # And by hand, as documented.
        pods.leader.kill("server")
        shutil.rmtree(pods.leader.store_dir)
        (pods.leader.data_dir / "cluster").unlink()
        pods.leader.server.start()
        self.assertEqual(wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)["seq"], 0)

    def test_whose_store_is_removed_beneath_it_takes_no_write_and_loses_none(self):
        pods = self.pod_set(2)
        pods.leader.put("kept", b"x")
        pods.wait_ready()
        restored = 0
        for path in (pods.leader.store_dir, pods.leader.data_dir):
            with self.subTest(path.name):
                shutil.rmtree(path)
                # What may be answered is what a follower had to be given before.
                reply = pods.leader.put("later", b"y")
                self.assertEqual(reply.status, 507, reply.body)
                self.assertIn("removed from its volume", reply.json()["detail"])
                wait_until(lambda: "[-]writes" in pods.leader.ask_sidecar("/readyz?verbose").text(), 20, "it is not ready", pods)
                self.assertEqual(pods.leader.get("/v1/kv/kept").body, b"x")
                pods.wait_equal()
                pods.leader.stop()
                pods.leader.make_directories()
                pods.leader.start_serving()
                restored += 1
                self.assertEqual(len(re.findall(r"action=\"?restore", pods.leader.init.log)), restored)
                pods.wait_ready()
                pods.wait_equal()
                self.assertEqual(pods.leader.get("/v1/kv/kept").body, b"x")

    def test_with_a_store_it_starts_on_it(self):
        pods = self.pod_set(1)
        pods.leader.put("kept", b"x")
        before = pods.leader.position()
        pods.leader.restart()
        wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        self.assertEqual(pods.leader.position(), before)
        self.assertRegex(pods.leader.init.log, r"action=\"?start")

    def test_that_lost_its_volume_comes_back_with_the_data_of_the_most_advanced_follower(self):
        pods = self.pod_set(3)
        pods.leader.load((f"key-{n}", f"value {n}") for n in range(1000))
        pods.wait_ready()
        pods.wait_equal()
        # Follower 1 falls behind, follower 2 has it all.
        stop_following(pods[1])
        pods.leader.load((f"late-{n}", "x") for n in range(100))
        old = pods.wait_equal(pods=[pods[0], pods[2]])
        self.assertLess(pods[1].position()["seq"], old["seq"])
        inodes = [inode(pod) for pod in pods]
        pods.leader.kill()
        pods.leader.delete_volume()
        pods[1].restart("sidecar")
        pods.leader.start()
        self.assertRegex(pods.leader.init.log, r"action=\"?restore")
        position = wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        self.assertEqual((position["cluster"], position["seq"], position["digest"]),
                         (old["cluster"], old["seq"], old["digest"]))
        self.assertEqual(position["epoch"], old["epoch"] + 1)
        # It leads on, and the followers go on with the stores that they have.
        self.assertEqual(pods.leader.put("after", b"the loss").status, 204)
        pods.wait_equal()
        pods.wait_ready()
        self.assertEqual([inode(pod) for pod in pods][1:], inodes[1:])
        for pod in pods:
            self.assertEqual(pod.get("/v1/kv/late-99").body, b"x")
            self.assertEqual(pod.get("/v1/kv/after").body, b"the loss")
        self.assertEqual([pod.server.starts for pod in pods][1:], [2, 1])

    def lost_while(self, away, back):
        """The leader loses its volume while its only peer cannot tell of the data: it waits, and then has them again."""
        pods = self.pod_set(2, {"bootstrap.peer_grace": "0s"})
        pods.leader.put("kept", b"x")
        pods.wait_equal()
        pods.leader.kill()
        pods.leader.delete_volume()
        pods[1].kill("sidecar")
        away(pods[1])
        before = len(pods.leader.init.log)
        pods.leader.begin()
        wait_until(lambda: "waiting for the next attempt" in pods.leader.init.log[before:] or not pods.leader.init.running,
                   20, "init has asked", pods)
        self.assertIn("store-1 may have data but cannot be asked", pods.leader.init.log[before:])
        back(pods[1])
        pods.leader.wait_running()
        self.assertRegex(pods.leader.init.log[before:], r"action=\"?restore")
        wait_until(lambda: pods.leader.get("/v1/kv/kept").body == b"x", 20, "the data are back", pods)

    def test_that_lost_its_volume_waits_for_a_peer_that_stands_still(self):
        self.lost_while(lambda pod: pod.server.signal(signal.SIGSTOP), lambda pod: pod.server.signal(signal.SIGCONT))

    def test_that_lost_its_volume_waits_for_a_peer_that_let_go_of_its_store(self):
        self.lost_while(lambda pod: self.assertEqual(pod.ask_control("POST", "/release").status, 204),
                        lambda pod: self.assertEqual(pod.ask_control("POST", "/open").status, 204))


class Follower(support.PodTest):
    def test_with_a_store_and_no_leader_it_starts_and_serves(self):
        pods = self.pod_set(2)
        pods.leader.put("served", b"still")
        pods.wait_equal()
        pods[1].stop()
        pods.leader.kill()
        pods[1].start()
        wait_until(lambda: pods[1].get("/v1/kv/served").body == b"still", 20, "it serves", pods)
        self.assertRegex(pods[1].init.log, r"action=\"?start")

    def test_behind_it_starts_and_the_sidecar_catches_up(self):
        pods = self.pod_set(2)
        pods.leader.load((f"key-{n}", "x") for n in range(1000))
        pods.wait_equal()
        pods[1].stop()
        before = inode(pods[1])
        pods.leader.load((f"key-{n}", "y") for n in range(50))
        pods[1].start()
        pods.wait_equal()
        self.assertEqual(inode(pods[1]), before)

    def test_far_behind_it_is_seeded_again_by_reseed_ratio(self):
        pods = self.pod_set(2, {"bootstrap.reseed_ratio": "0.2"})
        pods.leader.load((f"key-{n}", "x") for n in range(1000))
        pods.wait_equal()
        pods[1].stop()
        before = inode(pods[1])
        pods.leader.load((f"key-{n}", "y") for n in range(900))
        pods[1].start()
        self.assertRegex(pods[1].init.log, r"action=\"?seed")
        pods.wait_equal()
        self.assertNotEqual(inode(pods[1]), before)

    def test_far_behind_it_is_not_seeded_from_one_that_has_less(self):
        """Writes 101 to 150 are on two pods. A third that has less is no donor, so they outlive the leader's volume."""
        pods = self.pod_set(3)
        pods.leader.load((f"key-{n}", "first") for n in range(100))
        pods.wait_equal()
        stop_following(pods[2])
        pods.leader.load((f"key-{n}", "second") for n in range(50))
        replicated = pods.wait_equal(pods=[pods[0], pods[1]])
        pods[1].stop()
        for _ in range(2):
            pods.leader.load((f"key-{n}", "third") for n in range(100))
        self.assertEqual([p.position()["seq"] for p in (pods[0], pods[2])], [350, 100])
        code, log = pods[1].run_init()
        self.assertEqual(code, 0, log)
        self.assertRegex(log, r"action=\"?seed")
        self.assertGreaterEqual(pods[1].offline_position()["seq"], replicated["seq"])
        pods.leader.kill()
        pods.leader.delete_volume()
        pods[1].start()
        pods.leader.start_serving()
        self.assertGreaterEqual(pods.leader.position()["seq"], replicated["seq"])
        self.assertIn(pods.leader.get("/v1/kv/key-1").body, (b"second", b"third"))

    def below_horizon(self, pods):
        """Make the leader forget how to tell the changes since the follower's last one."""
        pods.leader.load((f"gone-{n}", "x") for n in range(200))
        for n in range(200):
            pods.leader.ask("DELETE", f"/v1/kv/gone-{n}")
        behind = pods[1].position()["seq"] if pods[1].server.running else pods[1].offline_position()["seq"]

        def purged():
            pods.leader.put("tick", b"x")
            return pods.leader.position()["horizon"] > behind
        wait_until(purged, 20, "the horizon has passed the follower", pods)

    def test_below_the_horizon_it_is_seeded_again(self):
        pods = self.pod_set(2, {"server.tombstone_keep": "1s"})
        pods.leader.put("x", b"x")
        pods.wait_equal()
        pods[1].stop()
        before = inode(pods[1])
        self.below_horizon(pods)
        pods[1].start()
        self.assertRegex(pods[1].init.log, r"action=\"?seed")
        pods.wait_equal()
        self.assertNotEqual(inode(pods[1]), before)
        self.assertFalse((pods[1].data_dir / "store.old").exists())

    def test_below_the_horizon_in_a_running_pod_the_sidecar_has_it_seeded_again(self):
        pods = self.pod_set(2, {"server.tombstone_keep": "1s"})
        pods.leader.put("x", b"x")
        pods.wait_ready()
        pods.wait_equal()
        stop_following(pods[1])
        server, before = pods[1].server.pid, inode(pods[1])
        self.below_horizon(pods)
        pods[1].restart("sidecar")
        pods.wait_equal()
        pods.wait_ready()
        self.assertEqual(pods[1].server.pid, server, "the server was restarted")
        self.assertNotEqual(inode(pods[1]), before)
        self.assertEqual(pods[1].init.starts, 1)

    def test_of_another_cluster_it_refuses_with_65_and_keeps_its_store(self):
        pods = self.pod_set(2)
        pods.leader.put("x", b"x")
        pods.wait_equal()
        pods.stop()
        pods.leader.delete_volume()
        pods.leader.start_serving()
        pods.leader.put("y", b"y")
        own, before = pods[1].offline_position(), inode(pods[1])
        code, log = pods[1].run_init()
        self.assertEqual(code, 65, log)
        self.assertEqual((pods[1].offline_position(), inode(pods[1])), (own, before))
        message = json.loads(pods[1].init.termination_log.read_text())
        self.assertEqual(message["found"], own["cluster"])
        self.assertEqual(message["expected"], pods.leader.position()["cluster"])

    def diverge(self, config=None):
        """A leader whose volume was put back to an earlier day, and a follower that saw what came after."""
        pods = self.pod_set(2, config)
        pods.leader.load((f"key-{n}", "x") for n in range(100))
        pods.wait_ready()
        pods.wait_equal()
        pods.leader.stop()
        shutil.copytree(pods.leader.data_dir, self.dir / "backup")
        pods.leader.start_serving()
        pods.leader.load((f"lost-{n}", "x") for n in range(20))
        pods.wait_equal()
        pods.leader.stop()
        return pods

    def put_back(self, pods, writes):
        """Put the leader's old volume back and write on: fewer changes than it lost (the follower is ahead: positions
        tell), or more (only the content tells)."""
        pods.leader.delete_volume()
        shutil.copytree(self.dir / "backup", pods.leader.data_dir, dirs_exist_ok=True)
        pods.leader.start_serving()
        pods.leader.load((f"other-{n}", "x") for n in range(writes))

    def test_not_in_the_leaders_history_it_refuses_with_65_and_keeps_its_store(self):
        pods = self.diverge()
        pods[1].stop()
        self.put_back(pods, writes=5)
        own, before = pods[1].offline_position(), inode(pods[1])
        code, log = pods[1].run_init()
        self.assertEqual(code, 65, log)
        self.assertEqual((pods[1].offline_position(), inode(pods[1])), (own, before))
        message = json.loads(pods[1].init.termination_log.read_text())
        for said, position in ((message["found"], own), (message["expected"], pods.leader.position())):
            self.assertEqual(said, "epoch {epoch} seq {seq} keys {keys} digest {digest}".format_map(position))

    def test_not_in_the_leaders_history_it_is_seeded_where_that_is_wanted(self):
        pods = self.diverge({"sync.on_divergence": "reseed"})
        pods[1].stop()
        self.put_back(pods, writes=5)
        pods[1].start()
        self.assertRegex(pods[1].init.log, r"action=\"?seed")
        pods.wait_equal()
        self.assertEqual(pods[1].get("/v1/kv/lost-1").status, 404)

    def test_divergence_in_a_running_pod_that_positions_tell_stops_the_sync_and_is_reported(self):
        self.stops_and_reports(writes=5)

    def test_divergence_in_a_running_pod_that_the_content_tells_stops_the_sync_and_is_reported(self):
        self.stops_and_reports(writes=30)

    def stops_and_reports(self, writes):
        pods = self.diverge()
        before = pods[1].position()
        self.put_back(pods, writes)
        wait_until(lambda: pods[1].status()["state"] == "diverged", 30, "the status says so", pods)
        self.assertEqual(pods[1].readyz(), 503)
        self.assertIn("[-]history diverged", pods[1].ask_sidecar("/readyz?verbose").text())
        self.assertIn(pods[1].status()["last_error"]["reason"], ("diverged", "digest"))
        self.assertIn("diverged: sync halts", pods[1].sidecar.log)
        pods.leader.load((f"further-{n}", "x") for n in range(20))
        time.sleep(1)  # in which nothing is to happen
        after = pods[1].position()
        self.assertEqual((after["seq"], after["digest"]), (before["seq"], before["digest"]))
        self.assertEqual(pods[1].get("/v1/kv/lost-1").body, b"x")

    def test_divergence_in_a_running_pod_that_positions_tell_is_seeded_over_where_that_is_wanted(self):
        self.is_seeded_over(writes=5)

    def test_divergence_in_a_running_pod_that_the_content_tells_is_seeded_over_where_that_is_wanted(self):
        self.is_seeded_over(writes=30)

    def is_seeded_over(self, writes):
        pods = self.diverge({"sync.on_divergence": "reseed"})
        server = pods[1].server.pid
        self.put_back(pods, writes)
        pods.wait_equal()
        pods.wait_ready()
        self.assertEqual(pods[1].server.pid, server)
        self.assertEqual(pods[1].get("/v1/kv/lost-1").status, 404)


class HalfDone(support.PodTest):
    """What an earlier life left on the volume."""

    def prepared(self):
        pods = self.pod_set(2)
        pods.leader.load((f"key-{n}", "x") for n in range(100))
        pods.wait_equal()
        pods[1].stop()
        return pods, pods[1].data_dir

    def finish(self, pods):
        pods[1].start()
        self.finish_running(pods)

    def finish_running(self, pods):
        pods.wait_equal()
        self.assertEqual([p.name for p in pods[1].data_dir.glob("store*")], ["store"])

    def test_a_half_done_download_is_cleared(self):
        pods, data = self.prepared()
        before = inode(pods[1])
        (data / "store.incoming").mkdir()
        (data / "store.incoming" / "data.mdb").write_bytes(b"half")
        self.finish(pods)
        self.assertEqual(inode(pods[1]), before)

    def test_a_complete_new_store_is_put_in_place(self):
        pods, data = self.prepared()
        shutil.copytree(data / "store", data / "store.ready")
        fresh = (data / "store.ready" / "data.mdb").stat().st_ino
        self.finish(pods)
        self.assertEqual(inode(pods[1]), fresh)

    def test_a_new_store_that_is_older_by_now_is_dropped(self):
        """A reseed in a running pod, killed between commit and swap: the server goes on with the store that it had."""
        pods, data = self.prepared()
        shutil.copytree(data / "store", data / "store.ready")
        before = inode(pods[1])
        pods[1].server.start()
        pods[1].sidecar.start()
        pods.leader.load((f"late-{n}", "y") for n in range(20))
        pods.wait_equal()
        pods[1].stop()
        pods.leader.stop()
        own = pods[1].offline_position()
        pods[1].start_serving()
        self.assertEqual(pods[1].position()["seq"], own["seq"])
        self.assertEqual(inode(pods[1]), before)
        pods.leader.start_serving()
        self.finish_running(pods)

    def test_a_swap_cut_between_its_renames_is_finished(self):
        pods, data = self.prepared()
        shutil.copytree(data / "store", data / "store.ready")
        fresh = (data / "store.ready" / "data.mdb").stat().st_ino
        (data / "store").rename(data / "store.old")
        self.finish(pods)
        self.assertEqual(inode(pods[1]), fresh)

    def test_an_old_store_without_a_new_one_is_put_back(self):
        pods, data = self.prepared()
        before = inode(pods[1])
        (data / "store").rename(data / "store.old")
        self.finish(pods)
        self.assertEqual(inode(pods[1]), before)

    def test_an_old_store_beside_the_new_one_is_deleted(self):
        pods, data = self.prepared()
        shutil.copytree(data / "store", data / "store.old")
        self.finish(pods)


class Volume(support.PodTest):
    def test_init_answers_75_while_a_server_has_the_store(self):
        pods = self.pod_set(1)
        code, log = pods.leader.run_init()
        self.assertEqual(code, 75, log)

    def test_the_plan_for_a_store_that_was_released_can_be_asked(self):
        pods = self.pod_set(2)
        pods.wait_equal()
        pods[1].kill("sidecar")
        self.assertEqual(pods[1].ask_control("POST", "/release").status, 204)
        code, log = pods[1].run_init("--plan")
        self.assertEqual(code, 0, log)
        self.assertRegex(log, r"action +start")
        self.assertEqual(pods[1].ask_control("POST", "/open").status, 204)

    def test_a_damaged_store_is_not_started_on_and_not_deleted(self):
        pods = self.pod_set(2)
        pods.leader.load((f"key-{n}", "x") for n in range(100))
        pods.wait_equal()
        pods[1].stop()
        image = pods[1].store_dir / "data.mdb"
        image.write_bytes(b"this is no store" * 1024)
        code, log = pods[1].run_init()
        self.assertEqual(code, 65, log)
        self.assertEqual(image.read_bytes()[:16], b"this is no store")

    def test_a_volume_that_vanishes_beneath_init_is_73(self):
        pods = self.pod_set(1, {"bootstrap.rate_limit": "1MiB"})
        pods.leader.load((f"key-{n}", "x" * 5000) for n in range(400))
        follower = pods.add()
        follower.begin()
        wait_until((follower.data_dir / "store.incoming").exists, 20, "the download has begun", pods)
        follower.init.signal(signal.SIGSTOP)
        shutil.rmtree(follower.data_dir)
        follower.init.signal(signal.SIGCONT)
        self.assertEqual(follower.init.wait(), 73, follower.init.log)
        self.assertIn("No such file", follower.init.termination_log.read_text())

    def test_a_volume_that_cannot_be_written_is_73_or_77(self):
        pods = self.pod_set(1)
        follower = pods.add()
        shutil.rmtree(follower.data_dir)
        follower.data_dir.write_text("a file is in the way")
        code, log = follower.run_init()
        self.assertIn(code, (73, 77), log)
        follower.server.start()
        self.assertEqual(follower.server.wait(), 73, follower.server.log)

    def init_as_another_user(self, data_dir):
        """seedpod-init of a leader without peers, as a user that may not use data_dir yet."""
        program = data_dir.parent / "seedpod-init"
        if not program.exists():
            shutil.copy(support.BUILD / "seedpod-init", program)
        return subprocess.Popen(
            [program], user=65532, group=65532, extra_groups=[], stderr=subprocess.PIPE, text=True, cwd="/",
            env={"SEEDPOD_CONFIG": "/dev/null", "POD_NAME": "store-0", "SEEDPOD_SERVER_DATA_DIR": str(data_dir),
                 "SEEDPOD_POD_TERMINATION_LOG": "", "SEEDPOD_BOOTSTRAP_MAX_PEERS": "1",
                 "SEEDPOD_BOOTSTRAP_PEER_GRACE": "0s"})

    def test_a_volume_that_is_opened_to_its_pod_a_moment_late_is_waited_for(self):
        support.need_root("starts init as another user")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="sp-late-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, directory)
        directory.chmod(0o755)
        for name, opened in ("opened", True), ("shut", False):
            data_dir = directory / name
            data_dir.mkdir(mode=0o750)
            init, asleep = self.init_as_another_user(data_dir), 0
            while opened and asleep < 3:  # it starts without sleeping: what sleeps now has been refused
                self.assertIsNone(init.poll(), "it did not wait")
                state = pathlib.Path(f"/proc/{init.pid}/stat").read_text().rpartition(")")[2].split()[0]
                asleep = asleep + 1 if state == "S" else 0
                time.sleep(0.02)
            if opened:
                data_dir.chmod(0o777)
            log = init.communicate(timeout=30 * support.SLOW)[1]
            self.assertEqual(init.returncode, 0 if opened else 77, log)
            self.assertEqual("Permission denied" in log, not opened, log)

    def test_a_file_where_the_store_belongs_is_73_and_stays(self):
        pods = self.pod_set(0)
        leader = pods.add()
        leader.store_dir.write_text("a file is in the way")
        code, log = leader.run_init()
        self.assertEqual(code, 73, log)
        self.assertIn(f"{leader.store_dir} is no directory", log)
        self.assertEqual(leader.store_dir.read_text(), "a file is in the way")


if __name__ == "__main__":
    support.main()
