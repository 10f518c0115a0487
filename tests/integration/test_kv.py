#!/usr/bin/env python3
"""The native API on the leader: single keys, listings, batches, positions."""

import base64
import json
import random

import support
from support import quote_key


class Keys(support.SharedPods):
    def put(self, key, value, **headers):
        return self.leader.put(key, value, {k.replace("_", "-"): v for k, v in headers.items()})

    def path(self, key):
        return f"/v1/kv/{quote_key(key)}"

    def test_put_answers_204_with_the_number_of_the_change(self):
        before = self.leader.position()["seq"]
        reply = self.put("put-204", b"value")
        self.assertEqual(reply.status, 204)
        self.assertEqual(reply.body, b"")
        self.assertEqual(int(reply.headers["Seedpod-Seq"]), before + 1)
        self.assertEqual(reply.headers["ETag"], f'"{before + 1}"')

    def test_get_answers_the_value_with_both_headers(self):
        put = self.put("get-200", b"\x00\xffvalue")
        reply = self.leader.get(self.path("get-200"))
        self.assertEqual((reply.status, reply.body), (200, b"\x00\xffvalue"))
        self.assertEqual(reply.headers["ETag"], put.headers["ETag"])
        self.assertEqual(reply.headers["Seedpod-Seq"], put.headers["Seedpod-Seq"])

    def test_head_is_get_without_the_body(self):
        put = self.put("head", b"12345")
        reply = self.leader.ask("HEAD", self.path("head"))
        self.assertEqual((reply.status, reply.body), (200, b""))
        self.assertEqual(reply.headers["Content-Length"], "5")
        self.assertEqual(reply.headers["ETag"], put.headers["ETag"])
        self.assertEqual(self.leader.ask("HEAD", self.path("head-missing")).status, 404)

    def test_delete_answers_204_with_its_number_and_then_404(self):
        self.put("delete", b"x")
        before = self.leader.position()
        reply = self.leader.ask("DELETE", self.path("delete"))
        self.assertEqual(reply.status, 204)
        self.assertEqual(int(reply.headers["Seedpod-Seq"]), before["seq"] + 1)
        self.problem(self.leader.get(self.path("delete")), 404)
        self.problem(self.leader.ask("DELETE", self.path("delete")), 404)
        self.assertEqual(self.leader.position()["seq"], before["seq"] + 1)
        self.assertEqual(self.leader.position()["keys"], before["keys"] - 1)

    def test_if_none_match_answers_304_until_the_value_changes(self):
        tag = self.put("cached", b"one").headers["ETag"]
        reply = self.leader.get(self.path("cached"), {"If-None-Match": tag})
        self.assertEqual((reply.status, reply.body), (304, b""))
        self.assertEqual(reply.headers["ETag"], tag)
        self.assertEqual(reply.headers["Content-Length"], "3", "a 304 says the length that a 200 would say")
        self.put("cached", b"two")
        self.assertEqual(self.leader.get(self.path("cached"), {"If-None-Match": tag}).body, b"two")

    def test_a_tag_that_only_overflows_to_the_right_number_is_refused(self):
        path = self.path("overflow")
        seq = int(self.leader.ask("PUT", path, b"one").headers["Seedpod-Seq"])
        for tag in (f'"-{2 ** 64 - seq}"', f'"{2 ** 64 + seq}"', f'"+{seq}"', f'" {seq}"', f'"{seq} "', f'"{seq}', f'{seq}'):
            self.problem(self.leader.ask("PUT", path, b"two", {"If-Match": tag}), 412)
        self.assertEqual(self.leader.get(path).body, b"one")
        self.assertEqual(self.leader.ask("PUT", path, b"two", {"If-Match": f'"{seq}"'}).status, 204)

    def test_if_match_holds_for_reads_too(self):
        tag = self.put("read-if", b"one").headers["ETag"]
        for wanted in (tag, f'"0", {tag}', "*"):
            self.assertEqual(self.leader.get(self.path("read-if"), {"If-Match": wanted}).body, b"one")
        self.problem(self.leader.get(self.path("read-if"), {"If-Match": '"0"'}), 412)
        self.assertEqual(self.leader.ask("HEAD", self.path("read-if"), headers={"If-Match": '"0"'}).status, 412)
        self.problem(self.leader.get(self.path("read-if-missing"), {"If-Match": tag}), 404)

    def test_conditions_that_a_write_does_not_take_are_refused(self):
        self.problem(self.put("conditions", b"x", If_None_Match='"5"'), 400)
        self.problem(self.put("conditions", b"x", If_None_Match="*", If_Match="*"), 400)
        self.problem(self.put("conditions", b"x", If_Match="*"), 412)
        self.assertEqual(self.put("conditions", b"x").status, 204)
        self.assertEqual(self.put("conditions", b"y", If_Match="*").status, 204)
        for tag in ("5", '"', '"5', '"x"'):
            self.problem(self.put("conditions", b"z", If_Match=tag), 412)
        self.assertEqual(self.leader.get(self.path("conditions")).body, b"y")

    def test_if_match_stores_only_over_the_version_named(self):
        tag = self.put("matched", b"one").headers["ETag"]
        self.assertEqual(self.put("matched", b"two", If_Match=tag).status, 204)
        self.problem(self.put("matched", b"three", If_Match=tag), 412)
        self.problem(self.put("matched-missing", b"x", If_Match=tag), 412)
        self.assertEqual(self.leader.get(self.path("matched")).body, b"two")

    def test_if_none_match_star_stores_only_a_new_key(self):
        self.assertEqual(self.put("created", b"one", If_None_Match="*").status, 204)
        self.problem(self.put("created", b"two", If_None_Match="*"), 412)
        self.assertEqual(self.leader.get(self.path("created")).body, b"one")

    def test_keys_of_any_bytes_and_of_1_to_480_come_back(self):
        rng = random.Random(11)
        keys = [b"a", b"\x00", b"/", b"a/b", b"..", b"%", b"+ ?#&=", bytes(range(256)), b"\xff" * 480, b"k" * 479,
                "Schl\u00fcssel".encode()] + [support.random_bytes(rng, size) for size in (2, 33, 255, 480)]
        for key in keys:
            with self.subTest(key[:20]):
                self.assertEqual(self.put(key, b"of " + key).status, 204)
                self.assertEqual(self.leader.get(self.path(key)).body, b"of " + key)
                self.assertEqual(self.leader.ask("DELETE", self.path(key)).status, 204)

    def test_every_byte_may_be_percent_encoded(self):
        self.put("plain", b"x")
        self.assertEqual(self.leader.get("/v1/kv/%70%6c%61%69%6E").body, b"x")

    def test_a_key_of_481_bytes_is_414(self):
        self.problem(self.put(b"k" * 481, b"x"), 414)
        self.problem(self.leader.get(self.path(b"\x00" * 481)), 414)

    def test_an_empty_key_is_no_key(self):
        self.assertIn(self.put(b"", b"x").status, (400, 404, 405))

    def test_bad_percent_encoding_is_400(self):
        for bad in ("%", "%4", "%zz", "abc%"):
            with self.subTest(bad):
                self.problem(self.leader.get(f"/v1/kv/{bad}"), 400)
                self.problem(self.leader.ask("PUT", f"/v1/kv/{bad}", b"x"), 400)

    def test_a_part_of_a_value_does_not_take_the_place_of_all_of_it(self):
        self.put("whole", b"0123456789")
        self.problem(self.put("whole", b"3456789", Content_Range="bytes 3-9/10"), 400)
        self.assertEqual(self.leader.get(self.path("whole")).body, b"0123456789")

    def test_a_value_over_the_limit_is_413_and_one_at_the_limit_is_stored(self):
        limit = 8 << 20
        self.problem(self.put("limit", bytes(limit + 1)), 413)
        self.problem(self.leader.get(self.path("limit")), 404)
        self.assertEqual(self.put("limit", bytes(limit)).status, 204)
        self.assertEqual(self.leader.get(self.path("limit")).body, bytes(limit))

    def test_other_methods_are_405_with_allow(self):
        for method, path, allowed in (("POST", "/v1/kv/x", {"GET", "HEAD", "PUT", "DELETE"}),
                                      ("PUT", "/v1/kv", {"GET"}), ("GET", "/v1/batch", {"POST"}),
                                      ("POST", "/v1/position", {"GET"}), ("DELETE", "/v1/snapshot", {"GET"}),
                                      ("PUT", "/v1/changes", {"GET"})):
            with self.subTest(f"{method} {path}"):
                reply = self.leader.ask(method, path, b"" if method != "GET" else None)
                self.problem(reply, 405)
                self.assertLessEqual(allowed, {m.strip() for m in reply.headers["Allow"].split(",")})

    def test_unknown_paths_below_v1_are_404_problems(self):
        self.problem(self.leader.get("/v1/nothing"), 404)

    def test_the_network_can_neither_apply_nor_promote(self):
        for path in ("/apply", "/role", "/release", "/v1/apply", "/v1/role"):
            self.assertEqual(self.leader.ask("POST", path, b'{"role":"follower"}').status, 404, path)


class Listing(support.SharedPods):
    """Listings of a store with a known content."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = [f"list/{n:04d}" for n in range(250)]
        cls.leader.load((name, f"value of {name}") for name in cls.names)
        cls.leader.put(b"bin/\xff\xfe", b"text")
        cls.leader.put("bin/value", b"\x80\x81")

    def list(self, **query):
        reply = self.leader.get("/v1/kv?" + "&".join(f"{k}={quote_key(str(v))}" for k, v in query.items()))
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json()

    def test_pages_follow_one_another_by_next(self):
        seen, after = [], ""
        for _ in range(100):
            page = self.list(prefix="list/", after=after, limit=40)
            self.assertLessEqual(len(page["items"]), 40)
            seen += [item["key"] for item in page["items"]]
            after = page.get("next")
            if not after:
                break
        self.assertEqual(seen, self.names)

    def test_items_tell_key_seq_and_size_and_values_only_on_demand(self):
        item = self.list(prefix="list/0007")["items"][0]
        self.assertEqual(item["key"], "list/0007")
        self.assertEqual(item["size"], len("value of list/0007"))
        self.assertEqual(f'"{item["seq"]}"', self.leader.get("/v1/kv/list%2F0007").headers["ETag"])
        self.assertNotIn("value", item)
        self.assertEqual(self.list(prefix="list/0007", values="true")["items"][0]["value"], "value of list/0007")
        for values, told in (("1", True), ("certainly", True), ("0", False), ("false", False)):
            self.assertEqual("value" in self.list(prefix="list/0007", values=values)["items"][0], told, values)

    def test_what_is_not_utf8_comes_in_base64(self):
        items = self.list(prefix="bin/", values="true")["items"]
        self.assertEqual(items[0]["key"], "bin/value")
        self.assertEqual(base64.b64decode(items[0]["value64"]), b"\x80\x81")
        self.assertEqual(base64.b64decode(items[1]["key64"]), b"bin/\xff\xfe")
        self.assertEqual(items[1]["value"], "text")

    def test_a_prefix_that_nothing_has_is_an_empty_list(self):
        page = self.list(prefix="nothing/")
        self.assertEqual(page["items"], [])
        self.assertFalse(page.get("next"))

    def test_bad_parameters_are_400(self):
        for query in ("limit=x", "limit=-1", "prefix=%zz"):
            self.problem(self.leader.get(f"/v1/kv?{query}"), 400)


class Batches(support.SharedPods):
    def batch(self, *lines):
        body = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        return self.leader.ask("POST", "/v1/batch", body.encode(), {"Content-Type": "application/x-ndjson"})

    def test_a_batch_is_stored_whole(self):
        self.leader.put("batch-old", b"x")
        before = self.leader.position()
        reply = self.batch({"op": "put", "key": "batch-1", "value": "one"}, {"op": "delete", "key": "batch-old"},
                           {"op": "put", "key": "batch-2", "value": "two"})
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(reply.json()["seq"], before["seq"] + 3)
        self.assertEqual(self.leader.get("/v1/kv/batch-1").body, b"one")
        self.assertEqual(self.leader.get("/v1/kv/batch-2").body, b"two")
        self.assertEqual(self.leader.get("/v1/kv/batch-old").status, 404)

    def test_a_batch_with_one_bad_line_changes_nothing(self):
        good = {"op": "put", "key": "batch-never", "value": "x"}
        for name, bad in {"not json": "{", "no key": {"op": "put", "value": "x"}, "no value": {"op": "put", "key": "k"},
                          "unknown op": {"op": "add", "key": "k"}, "array": "[]", "empty key": {"op": "delete", "key": ""},
                          "wrong type": {"op": "put", "key": 1, "value": "x"}}.items():
            with self.subTest(name):
                before = self.leader.position()
                body = self.problem(self.batch(good, bad), 400)
                self.assertRegex(body["detail"], "2", "the line is named")
                self.assertEqual(self.leader.position(), before)
        self.assertEqual(self.leader.get("/v1/kv/batch-never").status, 404)

    def test_a_value_over_the_limit_is_413_and_changes_nothing(self):
        body = self.problem(self.batch({"op": "put", "key": "batch-small", "value": "x"},
                                       {"op": "put", "key": "batch-large", "value": "x" * ((8 << 20) + 1)}), 413)
        self.assertIn("line 2", body["detail"])
        self.assertEqual(self.leader.get("/v1/kv/batch-small").status, 404)

    def test_a_line_with_two_keys_is_refused(self):
        for line in ({"op": "put", "key": "batch-two", "key64": "YQ==", "value": "x"},
                     {"op": "put", "key": "batch-two", "value": "x", "value64": "eA=="},
                     {"op": "delete", "key": "batch-two", "key64": "YQ=="}):
            self.problem(self.batch(line), 400)
        self.assertEqual(self.leader.get("/v1/kv/batch-two").status, 404)

    def test_a_condition_is_refused_rather_than_passed_over(self):
        for header in ("If-Match", "If-None-Match"):
            reply = self.leader.ask("POST", "/v1/batch", b'{"op":"put","key":"batch-if","value":"x"}', {header: "*"})
            self.problem(reply, 400)
        self.assertEqual(self.leader.get("/v1/kv/batch-if").status, 404)

    def test_a_delete_of_what_is_not_there_changes_nothing_in_a_batch_of_any_size(self):
        seq = self.leader.position()["seq"]
        gone = [{"op": "delete", "key": f"batch-gone-{n}"} for n in range(3)]
        for count in (1, 3):
            reply = self.batch(*gone[:count])
            self.assertEqual((reply.status, reply.body), (200, b'{"seq":%d}' % seq))
        self.assertEqual(self.leader.position()["seq"], seq)

    def test_keys_and_values_may_be_base64(self):
        key, value = b"\xfe\x00key", b"\x00\xff"
        reply = self.batch({"op": "put", "key64": base64.b64encode(key).decode(),
                            "value64": base64.b64encode(value).decode()})
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(self.leader.get(f"/v1/kv/{quote_key(key)}").body, value)

    def test_the_last_of_two_lines_for_one_key_wins(self):
        self.assertEqual(self.batch({"op": "put", "key": "twice", "value": "one"},
                                    {"op": "put", "key": "twice", "value": "two"}).status, 200)
        self.assertEqual(self.leader.get("/v1/kv/twice").body, b"two")


class Position(support.SharedPods):
    def test_the_position_has_every_member_of_the_contract(self):
        position = self.leader.position()
        self.assertLessEqual({"cluster", "epoch", "seq", "digest", "keys", "horizon", "role", "leader", "mode"},
                             set(position))
        self.assertRegex(position["cluster"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertRegex(position["digest"], r"^[0-9a-f]{32}$")
        self.assertEqual((position["role"], position["mode"]), ("leader", "static"))
        self.assertEqual(position["leader"], self.leader.url)

    def test_the_digest_is_of_the_content_alone(self):
        # Putting a value and deleting it again leads back to the same sum, whatever order the changes came in.
        before = self.leader.position()
        self.leader.put("there-and-back", b"x")
        during = self.leader.position()
        self.leader.ask("DELETE", "/v1/kv/there-and-back")
        after = self.leader.position()
        self.assertNotEqual(before["digest"], during["digest"])
        self.assertEqual(before["digest"], after["digest"])
        self.assertEqual(after["seq"], before["seq"] + 2)

    def test_the_digest_is_what_the_records_give(self):
        self.leader.put("recomputed", b"x")
        digest = self.leader.ask_control("GET", "/digest").json()
        position = self.leader.position()
        self.assertEqual((digest["digest"], digest["seq"]), (position["digest"], position["seq"]))

    def test_the_control_socket_is_private(self):
        self.assertEqual(self.leader.control_socket.stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    support.main()
