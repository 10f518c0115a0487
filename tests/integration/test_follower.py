#!/usr/bin/env python3
"""What a follower answers to clients: redirects, refusals, reads of one's own writes."""

import socket
import time

import support


class Redirects(support.SharedPods):
    replicas = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.follower = cls.pods[1]

    def test_every_write_is_redirected_with_path_and_query(self):
        for method, path in (("PUT", "/v1/kv/a%2Fb%00c"), ("DELETE", "/v1/kv/x"), ("POST", "/v1/batch"),
                             ("PUT", "/set/abc")):
            with self.subTest(f"{method} {path}"):
                reply = self.follower.ask(method, path, b"{}" if method == "POST" else b"x")
                self.assertEqual(reply.status, 307, reply.body)
                self.assertEqual(reply.headers["Location"], self.leader.url + path)

    def test_who_waits_for_100_continue_is_redirected_before_the_body(self):
        with socket.create_connection((self.follower.ip, 9876), timeout=20) as s:
            s.sendall(b"PUT /v1/kv/waits HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
            self.assertRegex(s.recv(4096), rb"\AHTTP/1.1 307 [^\0]*\r\nLocation: %b/v1/kv/waits\r\n" % self.leader.url.encode())
        with socket.create_connection((self.leader.ip, 9876), timeout=20) as s:
            s.sendall(b"PUT /v1/kv/waits HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
            self.assertIn(b"HTTP/1.1 100 Continue", s.recv(4096))

    def test_a_large_body_is_redirected_too(self):
        reply = self.follower.put("large", bytes(4 << 20))
        self.assertEqual(reply.status, 307)

    def test_reads_are_answered_by_the_follower(self):
        put = self.leader.put("read", b"here")
        reply = self.follower.get("/v1/kv/read", {"Seedpod-Min-Seq": put.headers["Seedpod-Seq"]})
        self.assertEqual((reply.status, reply.body), (200, b"here"))
        self.assertEqual(reply.headers["ETag"], put.headers["ETag"])

    def test_reading_ones_own_writes_works_at_once(self):
        with self.leader.client() as leader, self.follower.client() as follower:
            for n in range(200):
                seq = leader.ask("PUT", "/v1/kv/own", str(n).encode()).headers["Seedpod-Seq"]
                reply = follower.ask("GET", "/v1/kv/own", headers={"Seedpod-Min-Seq": seq})
                self.assertEqual((reply.status, reply.body), (200, str(n).encode()))

    def test_a_read_that_cannot_be_had_in_time_goes_to_the_leader(self):
        began = time.monotonic()
        reply = self.follower.get("/v1/kv/read", {"Seedpod-Min-Seq": "99999999"})
        self.assertEqual(reply.status, 307)
        self.assertEqual(reply.headers["Location"], self.leader.url + "/v1/kv/read")
        self.assertGreater(time.monotonic() - began, 1.5, "min_seq_wait is 2s")

    def test_lists_have_ones_own_writes_too(self):
        with self.leader.client() as leader, self.follower.client() as follower:
            for n in range(50):
                key = "listed" + "n" * n + "z"
                seq = leader.ask("PUT", f"/v1/kv/{key}", b"x").headers["Seedpod-Seq"]
                page = follower.ask("GET", f"/v1/kv?prefix={key}&limit=1", headers={"Seedpod-Min-Seq": seq})
                self.assertEqual([item["key"] for item in page.json()["items"]], [key])
                self.assertIn(key, follower.ask("GET", "/keys", headers={"Seedpod-Min-Seq": seq}).json())
        for path in ("/v1/kv", "/keys"):
            reply = self.follower.get(path, {"Seedpod-Min-Seq": "99999999"})
            self.assertEqual((reply.status, reply.headers["Location"]), (307, self.leader.url + path))
            self.assertEqual(self.leader.get(path, {"Seedpod-Min-Seq": "99999999"}).status, 503)

    def test_a_bad_min_seq_is_400(self):
        for path in ("/v1/kv/read", "/v1/kv"):
            self.problem(self.follower.get(path, {"Seedpod-Min-Seq": "soon"}), 400)

    def test_the_position_says_follower_and_names_the_leader(self):
        position = self.follower.position()
        self.assertEqual((position["role"], position["leader"]), ("follower", self.leader.url))


class Rejects(support.SharedPods):
    replicas = 2
    config = {"server.follower_writes": "reject"}

    def test_writes_at_a_follower_are_403(self):
        follower = self.pods[1]
        self.problem(follower.put("x", b"x"), 403)
        self.problem(follower.ask("DELETE", "/v1/kv/x"), 403)
        self.problem(follower.ask("POST", "/v1/batch", b'{"op":"delete","key":"x"}\n'), 403)
        self.assertEqual(follower.ask("PUT", "/set/x", b"x").status, 403)
        self.problem(follower.ask("PUT", "/v1/kv/x", b"x", {"Expect": "100-continue"}), 403)

    def test_the_key_is_live(self):
        follower = self.pods[1]
        self.pods.edit_config({"server.follower_writes": "redirect"})
        support.wait_until(lambda: follower.put("x", b"x").status == 307, 5, "writes are redirected", self.pods)
        self.pods.edit_config({"server.follower_writes": "reject"})
        support.wait_until(lambda: follower.put("x", b"x").status == 403, 5, "writes are refused", self.pods)


if __name__ == "__main__":
    support.main()
