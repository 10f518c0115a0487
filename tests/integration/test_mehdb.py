#!/usr/bin/env python3
"""The mehdb API, word for word as its users know it, through curl as they would."""

import itertools
import json
import random
import re
import string
import subprocess

import support


def curl(*arguments, stdin=b""):
    """What curl prints, as bytes."""
    done = subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], capture_output=True, input=stdin)
    if done.returncode != 0:
        raise support.PodError(f"curl {' '.join(arguments)} exited {done.returncode}: {done.stderr.decode()}")
    return done.stdout


class Mehdb(support.SharedPods):
    replicas = 2

    @classmethod
    def setUpClass(cls):
        support.need("curl")
        super().setUpClass()
        cls.follower = cls.pods[1]

    def file(self, content):
        path = self.dir / "payload"
        path.write_bytes(content)
        return str(path)

    def test_put_through_the_leader_answers_write_completed(self):
        answer = curl("-L", "-XPUT", "-T", self.file(b"test data"), f"{self.leader.ip}:9876/set/test")
        self.assertEqual(answer, b"WRITE completed")
        self.assertEqual(curl(f"{self.leader.ip}:9876/get/test"), b"test data")

    def test_put_at_a_follower_is_followed_to_the_leader(self):
        answer = curl("-L", "-XPUT", "-T", self.file(b"through a follower"), f"{self.follower.ip}:9876/set/through")
        self.assertEqual(answer, b"WRITE completed")
        self.assertEqual(curl(f"{self.leader.ip}:9876/get/through"), b"through a follower")
        support.wait_until(lambda: self.follower.get("/get/through").body == b"through a follower", 20,
                           "the follower has it", self.pods)

    def test_a_body_that_can_be_read_only_once_is_followed_to_the_leader(self):
        content = random.Random(3).randbytes(300000)
        for key in ("pipe", "piped"):
            answer = curl("-L", "-T", "-", f"{self.follower.ip}:9876/set/{key}", stdin=content)
            self.assertEqual(answer, b"WRITE completed")
            self.assertEqual(curl(f"{self.leader.ip}:9876/get/{key}"), content)

    def test_put_at_a_follower_answers_307_with_the_leaders_url(self):
        reply = self.follower.ask("PUT", "/set/test", b"x")
        self.assertEqual(reply.status, 307)
        self.assertEqual(reply.headers["Location"], f"{self.leader.url}/set/test")

    def test_payloads_of_any_bytes_come_back_identical_from_every_pod(self):
        rng = random.Random(7)
        payloads = {"empty": b"", "zeros": bytes(70000), "allbytes": bytes(range(256)) * 3,
                    "newlines": b"\r\n\r\n0\r\n\r\n", "large": support.random_bytes(rng, 8 << 20)}
        for key, content in payloads.items():
            with self.subTest(key):
                target = f"{self.follower.ip}:9876/set/{key}"
                self.assertEqual(curl("-L", "-XPUT", "-T", self.file(content), target), b"WRITE completed")
                self.assertEqual(curl(f"{self.leader.ip}:9876/get/{key}"), content)
                support.wait_until(lambda: self.follower.get(f"/get/{key}").status == 200, 20,
                                   f"the follower has {key}", self.pods)
                self.assertEqual(curl(f"{self.follower.ip}:9876/get/{key}"), content)

    def test_a_payload_over_the_limit_is_413_and_nothing_is_stored(self):
        reply = self.leader.ask("PUT", "/set/toolarge", bytes((8 << 20) + 1))
        self.assertEqual(reply.status, 413)
        self.assertEqual(self.leader.get("/get/toolarge").status, 404)

    def test_conditions_hold_here_too(self):
        self.assertEqual(self.leader.ask("PUT", "/set/once", b"1", {"If-None-Match": "*"}).status, 200)
        for headers in ({"If-None-Match": "*"}, {"If-Match": '"999999"'}):
            self.assertEqual(self.leader.ask("PUT", "/set/once", b"2", headers).status, 412)
        self.assertEqual(self.leader.get("/get/once").body, b"1")

    def test_get_of_a_missing_key_is_404(self):
        self.assertEqual(self.leader.get("/get/nosuchkey").status, 404)
        self.assertEqual(self.follower.get("/get/nosuchkey").status, 404)

    def test_keys_are_a_sorted_json_array(self):
        for key in ("zulu", "alpha", "mike"):
            self.assertEqual(self.leader.ask("PUT", f"/set/{key}", b"x").status, 200)
        reply = self.leader.get("/keys")
        self.assertEqual(reply.status, 200)
        keys = json.loads(reply.body)
        self.assertEqual(keys, sorted(keys))
        self.assertLessEqual({"zulu", "alpha", "mike"}, set(keys))

    def test_keys_that_mehdb_cannot_have_are_not_listed(self):
        others = ["../escaped", "Upper", "with1digit", "a/b", "z\u00fc", 'quo"te', "a\nb", "{", "`"]
        for key in others:
            self.assertEqual(self.leader.put(key, b"x").status, 204)
        self.leader.put("kept", b"x")
        keys = json.loads(self.leader.get("/keys").body)
        self.assertIn("kept", keys)
        self.assertEqual([key for key in keys if not re.fullmatch("[a-z]+", key)], [])
        for key in others:
            self.assertEqual(self.leader.get(f"/v1/kv/{support.quote_key(key)}").status, 200)

    def test_many_that_mehdb_cannot_have_before_one_that_it_can(self):
        self.leader.load([(f"other-{i:05}", "x") for i in range(40000)] + [("zz", "x")])
        self.assertIn("zz", json.loads(self.leader.get("/keys").body))

    def test_keys_that_take_more_than_one_piece_are_all_there_and_sorted(self):
        names = {"long" + "".join(letters) * 3 for letters in itertools.product(string.ascii_lowercase, repeat=3)}
        self.leader.load((name, "x") for name in names)
        self.pods.wait_equal()
        for pod in self.pods:
            keys = json.loads(pod.get("/keys").body)
            self.assertEqual(keys, sorted(keys))
            self.assertEqual({key for key in keys if key.startswith("long")}, names)

    def test_status_is_the_role(self):
        self.assertEqual(curl(f"{self.leader.ip}:9876/status"), b"leader")
        self.assertEqual(curl(f"{self.follower.ip}:9876/status"), b"follower")

    def test_full_status_is_the_number_of_keys(self):
        self.leader.ask("PUT", "/set/counted", b"x")
        position = self.pods.wait_equal()
        for pod in self.pods:
            self.assertEqual(curl(f"{pod.ip}:9876/status?level=full"), str(position["keys"]).encode())

    def test_keys_outside_a_to_z_are_no_route(self):
        for key in ("Upper", "with1digit", "with-dash", "a/b", "", "a%00", "%C3%A4", "a%2Fb"):
            with self.subTest(key):
                self.assertEqual(self.leader.ask("PUT", f"/set/{key}", b"x").status, 404)
                self.assertEqual(self.leader.get(f"/get/{key}").status, 404)

    def test_other_methods_are_405_with_allow(self):
        for method, path, allowed in (("POST", "/set/test", "PUT"), ("GET", "/set/test", "PUT"),
                                      ("PUT", "/get/test", "GET"), ("DELETE", "/get/test", "GET"),
                                      ("PUT", "/keys", "GET"), ("POST", "/status", "GET")):
            with self.subTest(f"{method} {path}"):
                reply = self.leader.ask(method, path, b"x" if method in ("POST", "PUT") else None)
                self.assertEqual(reply.status, 405)
                self.assertIn(allowed, [m.strip() for m in reply.headers["Allow"].split(",")])

    def test_unknown_paths_are_404(self):
        for path in ("/", "/set", "/nothing", "/get/a/b"):
            self.assertEqual(self.leader.get(path).status, 404, path)


class FullStatus(support.PodTest):
    def test_full_status_is_500_where_there_is_nothing_to_serve(self):
        # A follower's server without a store: what a pod shows until it is seeded.
        pods = support.PodSet(self.dir, support.BUILD, support.octet())
        self.addCleanup(pods.close)
        pods.add()
        follower = pods.add()
        follower.server.start()
        support.wait_until(lambda: follower.get("/status").status == 200, 20, "the server answers", pods)
        self.assertEqual(follower.get("/status?level=full").status, 500)
        self.assertEqual(follower.get("/v1/position").status, 503)


if __name__ == "__main__":
    support.main()
