#!/usr/bin/env python3
"""A store that is not what it was: found when it is opened or read, named, never served as good."""

import http.client
import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

PAGE = 4096
VALUE = "v" * 700


class Damage(support.PodTest):
    def setUp(self):
        super().setUp()
        self.pods = self.pod_set(1)
        self.pod = self.pods.leader
        self.pod.load((f"key-{n:05d}", f"{n:05d} {VALUE}") for n in range(2000))
        self.pod.stop()
        self.data = self.pod.store_dir / "data.mdb"
        self.whole = self.data.read_bytes()

    def verify(self):
        done = subprocess.run([str(support.BUILD / "seedpod-server"), "--verify", "--store", str(self.pod.store_dir)],
                              capture_output=True, text=True, timeout=60 * support.SLOW)
        return done.returncode, done.stderr

    def put(self, content):
        shutil.rmtree(self.pod.store_dir)
        self.pod.store_dir.mkdir()
        self.data.write_bytes(content)

    def newest(self):
        """Where the newer meta page is."""
        return max((0, PAGE), key=lambda at: int.from_bytes(self.whole[at + 144:at + 152], "little"))

    def changed(self, at, bytes_):
        return self.whole[:at] + bytes_ + self.whole[at + len(bytes_):]

    def test_what_is_no_store_any_more_is_named_by_each_program_and_kept(self):
        state = self.whole.rindex(b"seedpod\0")
        for what, content in (
                ("truncated", self.whole[:len(self.whole) // 2]),
                ("truncated to a page", self.whole[:PAGE]),
                ("of another LMDB", self.changed(self.newest() + 20, b"\7")),
                ("a last page that cannot be", self.changed(self.newest() + 136, (1 << 50).to_bytes(8, "little"))),
                ("of a later seedpod", self.changed(state + 8, b"\2")),
                ("a text", b"this is somebody's file\n" * 500),
                ("zeros", bytes(8 * PAGE))):
            with self.subTest(what):
                self.put(content)
                code, text = self.verify()
                self.assertEqual(code, 65, text)
                self.assertIn(str(self.pod.store_dir), text)
                code, log = self.pod.run_init()
                self.assertEqual(code, 65, log)
                self.pod.server.start()
                self.assertEqual(self.pod.server.wait(20), 65)
                self.assertIn(str(self.pod.store_dir), self.pod.server.log.splitlines()[-1])
                self.assertEqual(self.data.read_bytes(), content, "it is left for whoever looks into the matter")

    def test_a_foreign_directory_in_its_place_is_left_alone(self):
        shutil.rmtree(self.pod.store_dir)
        self.pod.store_dir.mkdir()
        (self.pod.store_dir / "data.mdb").mkdir()
        (self.pod.store_dir / "data.mdb" / "holiday.jpg").write_text("not ours")
        self.assertEqual(self.verify()[0], 65)
        self.pod.server.start()
        self.assertEqual(self.pod.server.wait(20), 65)
        self.assertEqual((self.pod.store_dir / "data.mdb" / "holiday.jpg").read_text(), "not ours")

    def test_a_flipped_bit_in_a_value_is_an_error_and_never_an_answer(self):
        at = self.whole.index(b"00777 " + VALUE.encode()) + 300
        self.put(self.changed(at, b"w"))
        code, text = self.verify()
        self.assertEqual(code, 65)
        self.assertIn("key-00777", text)
        self.pod.server.start()
        wait_until(self.pod.position, 20, "it serves", self.pods)
        self.assertEqual(self.pod.get("/v1/kv/key-00777").status, 500)
        self.assertEqual(self.pod.get("/v1/kv/key-00778").status, 200)
        for prefix in ("key-0077", "key-00777"):
            self.assertEqual(self.pod.get(f"/v1/kv?prefix={prefix}").status, 500, "a list that leaves it out")
        self.assertEqual(self.pod.ask_control("GET", "/digest").status, 500)

    def test_a_page_that_leads_lmdb_astray_ends_the_server_once_and_is_named_by_its_next_start(self):
        # The node's offset in a leaf of records points outside of what LMDB may read: deep enough to be read late.
        leaf = self.whole.index(b"key-01500") // PAGE * PAGE
        lower = int.from_bytes(self.whole[leaf + 12:leaf + 14], "little")
        self.put(self.changed(leaf + 16, b"\xf8\xff" * ((lower - 16) // 2)))
        self.pod.environment = support.quiet_sanitizers()
        code, text = self.verify()
        self.assertEqual(code, 65)
        self.assertIn(f"page {leaf // PAGE} is damaged", text)
        self.pod.server.start()
        wait_until(self.pod.position, 20, "it serves what it can", self.pods)
        wrong = []
        for n in range(2000):
            try:
                reply = self.pod.get(f"/v1/kv/key-{n:05d}")
            except (OSError, http.client.HTTPException):
                break
            if reply.status == 200 and reply.body != f"{n:05d} {VALUE}".encode():
                wrong.append(n)
        self.assertEqual(wrong, [])
        if not self.pod.server.running:
            self.pod.server.wait(10)
            self.assertIn("the next start verifies the store", self.pod.server.log)
            self.pod.server.exits.clear()  # the crash is what is tested
            self.pod.server.start()
            self.assertEqual(self.pod.server.wait(20), 65)
            self.assertIn(f"page {leaf // PAGE} is damaged", self.pod.server.log)

    def test_a_page_that_the_disk_does_not_give_back_is_named(self):
        """A file that is cut while the server runs: reading it through memory is SIGBUS."""
        self.put(self.whole)
        self.pods.edit_config({"log.format": "json"})
        self.pod.environment = support.quiet_sanitizers()
        self.pod.server.start()
        wait_until(self.pod.position, 20, "it serves", self.pods)
        with open(self.data, "r+b") as out:
            out.truncate(len(self.whole) // 4)
        for n in range(0, 2000, 10):
            try:
                self.pod.get(f"/v1/kv/key-{n:05d}")
            except (OSError, http.client.HTTPException):
                break
        self.pod.server.wait(20)
        said = json.loads(self.pod.server.log.splitlines()[-1])
        self.assertEqual((said["level"], said["program"]), ("error", "seedpod-server"))
        self.assertIn("the next start verifies the store", said["msg"])
        self.pod.server.exits.clear()
        self.pod.server.start()
        self.assertEqual(self.pod.server.wait(20), 65)
        self.assertIn(str(self.data), self.pod.server.log.splitlines()[-1])


if __name__ == "__main__":
    support.main()
