#!/usr/bin/env python3
"""A donor that sends what no donor should: init refuses, says which and why, and keeps what was there."""

import http.server
import io
import json
import re
import shutil
import tarfile
import threading
import time

import support
from support import wait_until


class Donor:
    """Answers /v1/position as a leader does and /v1/snapshot as it is told: `answer(handler)` writes the whole answer."""

    def __init__(self, ip, position):
        donor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0]
                if path == "/v1/position":
                    self.send(json.dumps(donor.position).encode(), "application/json")
                elif path == "/v1/snapshot":
                    donor.asked += 1
                    donor.answer(self)
                else:
                    self.send_error(404)

            def send(self, body, kind="application/x-tar", length=None, headers=()):
                """One answer; `length` is what it claims to be, where that is not true."""
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if length is not None and length != len(body):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.position, self.answer, self.asked = position, None, 0
        self.ended = threading.Event()
        self._server = http.server.ThreadingHTTPServer((ip, support.podset.API_PORT), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that leaves is expected here
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, body, **how):
        name = [("Seedpod-Snapshot-Id", "5eed0000-0000-4000-8000-000000000001"), ("Seedpod-Seq", str(self.position["seq"]))]

        def answer(handler):
            if "id=" in handler.path:
                handler.send_error(404)  # this donor holds nothing to resume
            else:
                handler.send(body, headers=name, **how)
        self.answer = answer


def member(name, content=b"", **fields):
    """A tar member: its header and its content, padded."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    for field, value in fields.items():
        setattr(info, field, value)
    head = info.tobuf(tarfile.PAX_FORMAT)
    return head + content + bytes(-len(content) % 512)


def archive(*members):
    return b"".join(members) + bytes(1024)


def sums_of(about, image):
    lines = f"{support.xxh128(about)}  seedpod.json\n{support.xxh128(image)}  store/data.mdb\n"
    return (lines + f"# total {support.xxh128(lines.encode())}\n").encode()


class Offered(support.SharedPods):
    """One true snapshot is taken from a real leader; a follower below its horizon is offered that and altered ones."""

    config = {"server.tombstone_keep": "1s", "bootstrap.attempts": "2", "bootstrap.retry_delay": "20ms",
              "bootstrap.stall_timeout": "1s", "bootstrap.donor": "leader"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        pods, leader = cls.pods, cls.leader
        leader.load((f"key-{n:04d}", f"value {n} " * 10) for n in range(500))
        cls.follower = pods.add().start()
        pods.wait_equal()
        cls.follower.stop()
        shutil.copytree(cls.follower.data_dir, cls.dir / "volume")
        for n in range(200):
            leader.ask("DELETE", f"/v1/kv/key-{n:04d}")

        def purged():
            leader.put("tick", b"x")
            return leader.position()["horizon"] > 500
        wait_until(purged, 20, "the horizon has passed the follower", pods)
        cls.position = leader.position()
        cls.tar = support.fresh_snapshot(leader).body
        assert leader.position()["seq"] == cls.position["seq"]
        with tarfile.open(fileobj=io.BytesIO(cls.tar)) as parts:
            cls.about, cls.image, cls.sums = (parts.extractfile(part).read() for part in parts)
        leader.stop()
        cls.donor = Donor(leader.ip, cls.position)
        cls.addClassCleanup(cls.donor.close)

    def setUp(self):
        self.follower.delete_volume()
        shutil.copytree(self.dir / "volume", self.follower.data_dir, dirs_exist_ok=True)
        self.before = self.follower.offline_position()
        self.inode = (self.follower.store_dir / "data.mdb").stat().st_ino


class BadSnapshots(Offered):
    def refused(self, named, codes=(65,), timeout=60):
        """Run init against the donor: it must fail with one of `codes`, name `named` (a pattern), and keep the store."""
        asked = self.donor.asked
        code, log = self.follower.run_init(timeout=timeout)
        message = self.follower.init.termination_log.read_text()
        self.assertGreater(self.donor.asked, asked, f"the donor was not asked\n{log}")
        self.assertIn(code, codes, log)
        self.assertRegex(message, re.compile(named, re.I), log)
        told = json.loads(message)
        self.assertLessEqual({"phase", "donor", "bytes", "expected", "found"}, set(told))
        self.assertEqual(told["donor"], self.leader.name)
        self.assertEqual(self.follower.offline_position(), self.before)
        self.assertEqual((self.follower.store_dir / "data.mdb").stat().st_ino, self.inode)
        left = {p.name for p in self.follower.data_dir.glob("store*")}
        self.assertLessEqual(left, {"store", "store.incoming"})
        for place in (self.dir, self.follower.data_dir):
            self.assertEqual(list(place.glob("**/evil*")), [])

    def snapshot(self, about=None, image=None, sums=None):
        about = self.about if about is None else about
        image = self.image if image is None else image
        sums = sums_of(about, image) if sums is None else sums
        return member("seedpod.json", about), member("store/data.mdb", image), member("seedpod.sums", sums)

    def altered_about(self, **changes):
        return json.dumps(json.loads(self.about) | changes).encode()

    # --- cut short, stalled, endless ---

    def test_cut_short_below_the_announced_length(self):
        for part in (0, 100, 600, len(self.tar) // 2, len(self.tar) - 1500):
            with self.subTest(part):
                self.donor.serve(self.tar[:part], length=len(self.tar))
                self.refused("cut|closed|short|end|truncat", (65, 69))

    def test_cut_short_with_a_length_that_agrees(self):
        for part in (0, 512, 5000, len(self.tar) // 2, self.tar.index(b"seedpod.sums\0") - 512,
                     self.tar.index(b"seedpod.sums\0") + 512):
            with self.subTest(part):
                self.donor.serve(self.tar[:part])
                self.refused("cut|short|end|truncat|missing|seedpod.sums|bytes")

    def test_without_its_last_member_it_is_no_snapshot(self):
        about, image, _ = self.snapshot()
        self.donor.serve(archive(about, image))
        self.refused("seedpod.sums")

    def test_stalled(self):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(self.tar)))
            handler.end_headers()
            handler.wfile.write(self.tar[:len(self.tar) // 2])
            self.donor.ended.wait(20 * support.SLOW)
        self.donor.answer = answer
        began = time.monotonic()
        self.refused("stall|silent|no byte", (69,))
        self.assertLess(time.monotonic() - began, 15 * support.SLOW)

    def endless(self, head, piece):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(head), head))
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
            while not self.donor.ended.is_set():
                handler.wfile.write(chunk)
        self.donor.answer = answer

    def test_endless_after_the_archives_end(self):
        self.endless(self.tar, bytes(1 << 20))
        self.refused("more|after|end|trail|large|beyond|too")

    def test_endless_garbage_after_the_archives_end(self):
        self.endless(self.tar, b"x" * (1 << 20))
        self.refused("more|after|end|trail|large|beyond|too")

    def test_an_endless_first_member(self):
        self.endless(member("seedpod.json", size=1 << 40), b" " * (1 << 20))
        self.refused("seedpod.json", (65, 73))

    def test_an_endless_image(self):
        self.endless(member("seedpod.json", self.about) + member("store/data.mdb", size=1 << 45), bytes(1 << 20))
        self.refused("data.mdb|space|size|bytes", (65, 73))

    def test_an_endless_pax_header(self):
        info = tarfile.TarInfo("evil-header")
        info.type, info.size = tarfile.XHDTYPE, 1 << 40
        self.endless(info.tobuf(tarfile.GNU_FORMAT), b"x" * (1 << 20))
        self.refused(".")

    def test_no_tar_at_all(self):
        for body in (b"", b"<html>Welcome to the proxy</html>", bytes(100000), b"x" * 100000):
            with self.subTest(body[:10]):
                self.donor.serve(body)
                self.refused(".")

    # --- altered ---

    def test_an_altered_byte_anywhere_in_the_members(self):
        image_at = self.tar.index(self.image[:4096])
        for offset in (520, image_at + 8, image_at + 5000, image_at + len(self.image) // 2,
                       image_at + len(self.image) - 1, self.tar.rindex(b"# total") + 10):
            with self.subTest(offset):
                bad = bytearray(self.tar)
                bad[offset] ^= 1
                self.donor.serve(bytes(bad))
                self.refused(".")

    def test_an_altered_image_is_named_with_both_sums(self):
        image = bytearray(self.image)
        image[len(image) // 2] ^= 0x40
        about, altered, sums = self.snapshot(image=bytes(image), sums=self.sums)
        self.donor.serve(archive(about, altered, sums))
        self.refused("data.mdb")
        told = json.loads(self.follower.init.termination_log.read_text())
        self.assertIn(support.xxh128(self.image), json.dumps(told))
        self.assertIn(support.xxh128(bytes(image)), json.dumps(told))

    def test_sums_that_do_not_sum_up(self):
        about, image, _ = self.snapshot()
        for sums in (b"", b"garbage\n", self.sums.replace(b"# total ", b"# total 0"), self.sums[:-10],
                     self.sums.replace(b"store/data.mdb", b"store/evil.mdb"), self.sums + b"more\n"):
            with self.subTest(sums[-30:]):
                self.donor.serve(archive(about, image, member("seedpod.sums", sums)))
                self.refused("seedpod.sums|sums|total")

    def test_content_that_has_not_the_digest_it_says(self):
        # The sums are right; only the store itself gives it away.
        for change in ({"digest": "0" * 31 + "1"}, {"seq": self.position["seq"] + 1}, {"keys": 7}):
            with self.subTest(str(change)):
                self.donor.serve(archive(*self.snapshot(about=self.altered_about(**change))))
                self.refused("|".join(change))

    def test_a_snapshot_of_another_cluster(self):
        other = "00000000-0000-4000-8000-000000000000"
        self.donor.serve(archive(*self.snapshot(about=self.altered_about(cluster=other))))
        self.refused("cluster")

    def test_a_format_from_the_future_and_a_wrong_size(self):
        for change, named in (({"format": 2}, "format"), ({"bytes": len(self.image) + 4096}, "bytes|size|data.mdb"),
                              ({"page_size": 65536}, "page")):
            with self.subTest(str(change)):
                self.donor.serve(archive(*self.snapshot(about=self.altered_about(**change))))
                self.refused(named)

    def test_a_seedpod_json_that_is_none(self):
        for about in (b"", b"{", b"[]", b"null", b"{}", b"\xff" * 100):
            with self.subTest(about):
                self.donor.serve(archive(*self.snapshot(about=about)))
                self.refused("seedpod.json|position|cluster|json")

    def test_an_image_that_is_no_store(self):
        image = b"no lmdb here" * 1000
        about = self.altered_about(bytes=len(image))
        self.donor.serve(archive(*self.snapshot(about=about, image=image)))
        self.refused("store|lmdb|image|invalid")

    # --- members that do not belong ---

    def test_members_that_no_snapshot_has(self):
        about, image, sums = self.snapshot()
        bad = {
            "../": member("../evil", b"x"),
            "inner ..": member("store/../../evil", b"x"),
            "absolute": member("/tmp/evil", b"x"),
            "extra": member("evil", b"x"),
            "extra in store": member("store/evil.mdb", b"x"),
            "lock file": member("store/lock.mdb", b"evil"),
            "directory": member("store", type=tarfile.DIRTYPE),
            "symbolic link": member("store/evil", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            "symbolic link as the image": member("store/data.mdb", type=tarfile.SYMTYPE, linkname="/tmp/evil"),
            "hard link": member("store/evil", type=tarfile.LNKTYPE, linkname="seedpod.json"),
            "hard link as the sums": member("seedpod.sums", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
            "character device": member("store/evil", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            "block device": member("store/evil", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
            "fifo": member("store/evil", type=tarfile.FIFOTYPE),
            "sparse file": member("store/evil", type=tarfile.GNUTYPE_SPARSE),
            "long name": member("evil" * 200, b"x"),
            "control characters": member("evil\n\x1b[31m", b"x"),
        }
        for name, part in bad.items():
            for place, parts in (("first", (part, about, image, sums)), ("before the sums", (about, image, part, sums)),
                                 ("last", (about, image, sums, part))):
                with self.subTest(f"{name}, {place}"):
                    self.donor.serve(archive(*parts))
                    self.refused(".")

    def test_the_member_refused_is_named(self):
        about, image, sums = self.snapshot()
        self.donor.serve(archive(about, member("../evil", b"x"), image, sums))
        self.refused(r"\.\./evil")
        self.donor.serve(archive(about, member("store/stranger", b"x"), image, sums))
        self.refused("store/stranger")

    def test_members_twice_or_in_another_order(self):
        about, image, sums = self.snapshot()
        for parts in ((about, about, image, sums), (about, image, image, sums), (about, image, sums, sums),
                      (image, about, sums), (sums, about, image), (about, sums, image), (about, image, sums, image)):
            self.donor.serve(archive(*parts))
            self.refused("seedpod.json|data.mdb|seedpod.sums")

    # --- answers that are no snapshot ---

    def test_a_donor_that_answers_500(self):
        self.donor.answer = lambda handler: handler.send_error(500)
        self.refused("500", (65, 69, 75))


class TrueSnapshot(Offered):
    """The counterpart: the same donor with the true snapshot is good enough, also when it breaks on the way."""

    def test_the_true_one_is_taken(self):
        self.donor.serve(self.tar)
        code, log = self.follower.run_init()
        self.assertEqual(code, 0, log)
        position = self.follower.offline_position()
        for name in ("cluster", "epoch", "seq", "digest", "keys"):
            self.assertEqual(position[name], self.position[name])

    def test_a_download_that_breaks_is_resumed_where_it_broke(self):
        asked = []
        half = len(self.tar) // 2

        def answer(handler):
            offset = int((re.search(r"offset=(\d+)", handler.path) or [0, 0])[1])
            asked.append(offset)
            headers = [("Seedpod-Snapshot-Id", "5eed0000-0000-4000-8000-000000000001"),
                       ("Seedpod-Seq", str(self.position["seq"])), ("Seedpod-Offset", str(offset))]
            rest = self.tar[offset:]
            handler.send(rest if offset else rest[:half], length=len(rest), headers=headers)
        self.donor.answer = answer
        code, log = self.follower.run_init()
        self.assertEqual(code, 0, log)
        self.assertEqual(asked, [0, half])


if __name__ == "__main__":
    support.main()
