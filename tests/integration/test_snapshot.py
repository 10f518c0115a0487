#!/usr/bin/env python3
"""The snapshot as users and tools see it: a tarball of three members that can be checked, resumed and started on."""

import io
import json
import re
import shutil
import subprocess
import tarfile
import threading

import support

MEMBERS = ["seedpod.json", "store/data.mdb", "seedpod.sums"]


class Snapshot(support.SharedPods):
    @classmethod
    def setUpClass(cls):
        support.need("tar", "bsdtar", "mdb_stat", "xxh128sum", "curl")
        super().setUpClass()
        cls.leader.load((f"key-{n:05d}", f"value {n} " * 20) for n in range(5000))

    def fetch(self, query="", headers=None):
        reply = self.leader.get(f"/v1/snapshot{query}", headers)
        self.assertEqual(reply.status, 200, reply.body[:300])
        return reply

    def unpack(self, data):
        target = self.dir / "unpacked"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        subprocess.run(["tar", "x"], input=data, cwd=target, check=True)
        return target

    def test_curl_and_tar_give_a_directory_that_mdb_stat_reads(self):
        target = self.dir / "by-curl"
        target.mkdir()
        command = f"curl -s {self.leader.ip}:9876/v1/snapshot | tar x"
        subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=target, check=True)
        stat = subprocess.run(["mdb_stat", "-a", str(target / "store")], capture_output=True, text=True)
        self.assertEqual(stat.returncode, 0, stat.stderr)
        for database in ("kv", "by_seq", "meta"):
            self.assertIn(f"Status of {database}\n", stat.stdout)
        entries = int(re.search(r"Status of kv\n(?:.*\n){4}\s*Entries: (\d+)", stat.stdout).group(1))
        self.assertGreaterEqual(entries, 5000)

    def test_three_tar_readers_list_the_same_three_members(self):
        data = self.fetch().body
        for tool in ("bsdtar", "tar"):
            listed = subprocess.run([tool, "-tf", "-"], input=data, capture_output=True, check=True)
            self.assertEqual(listed.stdout.decode().split(), MEMBERS, tool)
            self.assertEqual(listed.stderr, b"")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            self.assertEqual(archive.getnames(), MEMBERS)
            self.assertTrue(all(member.isreg() for member in archive))

    def test_the_sums_check_with_the_tool_that_everyone_has(self):
        target = self.unpack(self.fetch().body)
        sums = (target / "seedpod.sums").read_text()
        done = subprocess.run(["xxh128sum", "-c", "--strict", "-"], cwd=target, text=True, capture_output=True,
                              input="".join(line + "\n" for line in sums.splitlines() if not line.startswith("#")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = sums.splitlines(keepends=True)
        self.assertEqual([line.split()[1] for line in lines[:2]], MEMBERS[:2])
        self.assertEqual(lines[2], f"# total {support.xxh128(''.join(lines[:2]).encode())}\n")
        self.assertEqual(len(lines), 3)

    def test_seedpod_json_tells_the_position_of_the_image(self):
        position = self.leader.position()
        reply = support.fresh_snapshot(self.leader)
        target = self.unpack(reply.body)
        about = json.loads((target / "seedpod.json").read_text())
        for member in ("cluster", "epoch", "seq", "digest", "keys"):
            self.assertEqual(about[member], position[member], member)
        self.assertEqual(about["format"], 1)
        self.assertEqual(about["donor"], self.leader.name)
        self.assertEqual(about["bytes"], (target / "store" / "data.mdb").stat().st_size)
        self.assertRegex(about["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.assertEqual(int(reply.headers["Seedpod-Seq"]), position["seq"])
        self.assertEqual(int(reply.headers["Content-Length"]), len(reply.body))

    def test_a_server_starts_on_what_was_unpacked(self):
        position = self.leader.position()
        target = self.unpack(support.fresh_snapshot(self.leader).body)
        other = support.PodSet(self.dir / "other", support.BUILD, support.octet(), "other")
        self.addCleanup(other.close)
        # A pod of another address: the last ordinals are free here.
        while len(other.pods) < 9:
            other.add()
        pod = other.pods[8]
        shutil.copytree(target / "store", pod.store_dir)
        self.assertEqual(pod.offline_position()["digest"], position["digest"])
        pod.server.start()
        support.wait_until(lambda: pod.position()["seq"] == position["seq"], 20, "it serves", other)
        self.assertEqual(pod.position()["digest"], position["digest"])
        self.assertEqual(pod.get("/v1/kv/key-00042").body, b"value 42 " * 20)

    def test_it_resumes_at_any_offset_with_identical_bytes(self):
        # Read a part and hold the connection, as a download that broke would have.
        whole = self.fetch()
        name, data = whole.headers["Seedpod-Snapshot-Id"], whole.body
        for offset in (0, 1, 511, 512, 513, 4096, len(data) // 2, len(data) - 1025, len(data) - 1):
            with self.subTest(offset):
                rest = self.fetch(f"?id={name}&offset={offset}")
                self.assertEqual(rest.headers["Seedpod-Offset"], str(offset))
                self.assertEqual(rest.headers["Seedpod-Snapshot-Id"], name)
                self.assertTrue(rest.body == data[offset:])

    def test_what_is_not_held_cannot_be_resumed(self):
        reply = self.leader.get("/v1/snapshot?id=00000000-0000-4000-8000-000000000000&offset=1")
        self.problem(reply, reply.status)
        self.assertIn(reply.status, (404, 410))
        name = self.fetch().headers["Seedpod-Snapshot-Id"]
        for offset in ("x", "-1", "99999999999999"):
            self.assertIn(self.leader.get(f"/v1/snapshot?id={name}&offset={offset}").status, (400, 416), offset)
        for query in ("offset=1", "id=&offset=1", "id="):
            self.problem(self.leader.get(f"/v1/snapshot?{query}"), 400)

    def test_followers_that_ask_at_once_share_one_snapshot(self):
        replies = [None] * 4
        gate = threading.Barrier(len(replies))

        def ask(n):
            gate.wait()
            replies[n] = self.fetch()
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(replies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len({reply.headers["Seedpod-Snapshot-Id"] for reply in replies}), 1)
        self.assertEqual(len({reply.body for reply in replies}), 1)

    def test_writes_go_on_beside_a_snapshot_and_do_not_show_in_it(self):
        with self.leader.client() as client:
            client._connection = client._open()
            client._connection.request("GET", "/v1/snapshot")
            answer = client._connection.getresponse()
            seq = int(answer.headers["Seedpod-Seq"])
            for n in range(50):
                self.assertEqual(self.leader.put(f"during-{n}", b"x").status, 204)
            target = self.unpack(answer.read())
        self.assertEqual(json.loads((target / "seedpod.json").read_text())["seq"], seq)

    def test_zstd_carries_the_same_tar(self):
        support.need("zstd")
        reply = self.fetch("", {"Accept-Encoding": "zstd"})
        self.assertEqual(reply.headers["Content-Encoding"], "zstd")
        plain = subprocess.run(["zstd", "-dc"], input=reply.body, capture_output=True, check=True).stdout
        self.assertTrue(plain == self.fetch(f"?id={reply.headers['Seedpod-Snapshot-Id']}&offset=0").body)
        self.assertLess(len(reply.body), len(plain) // 2)

    def test_zstd_that_is_refused_is_not_sent(self):
        for refusal in ("zstd;q=0", "zstd; q=0.0, gzip"):
            self.assertNotIn("Content-Encoding", self.fetch("", {"Accept-Encoding": refusal}).headers)

    def test_an_id_that_is_empty_is_none(self):
        for query in ("?id=", "?id=&offset=5"):
            self.problem(self.leader.get("/v1/snapshot" + query), 400)

    def test_the_control_socket_offers_it_too(self):
        reply = self.leader.ask_control("GET", "/snapshot")
        self.assertEqual(reply.status, 200)
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as archive:
            self.assertEqual(archive.getnames(), MEMBERS)

    def test_memory_does_not_grow_with_the_snapshot(self):
        if support.SANITIZE:
            self.skipTest("sanitizers keep freed memory")
        self.leader.load(((f"bulk-{n:05d}", "x" * 60000) for n in range(1500)), batch=100)
        before = rss_anonymous_kib(self.leader.server.pid)
        self.assertGreater(len(support.fresh_snapshot(self.leader).body), 80 << 20)
        grown = rss_anonymous_kib(self.leader.server.pid) - before
        self.assertLess(grown, 32 << 10, "KiB of its own memory")


class Receiver(support.PodTest):
    def test_init_seeds_a_snapshot_that_is_larger_than_its_memory_may_be(self):
        if support.SANITIZE:
            self.skipTest("sanitizers take memory of their own")
        pods = self.pod_set(0)
        leader, follower = pods.add(), pods.add()
        leader.start_serving()
        leader.load(((f"bulk-{n:05d}", "x" * 60000) for n in range(1500)), batch=100)
        # What init may have of its own, threads' stacks with it: a fiftieth of the snapshot does not do, half of it does.
        for mib, exits in ((2, False), (44, True)):
            follower.init.wrap = ["prlimit", f"--data={mib << 20}"]
            code, log = follower.run_init()
            self.assertEqual(code == 0, exits, log)
        self.assertGreater((follower.store_dir / "data.mdb").stat().st_size, (85 << 20))
        self.assertEqual(follower.offline_position()["digest"], leader.position()["digest"])


def rss_anonymous_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


if __name__ == "__main__":
    support.main()
