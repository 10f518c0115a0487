#!/usr/bin/env python3
"""The change feed, as NDJSON and in its binary form."""

import base64
import json
import struct
import threading
import time

import support

BINARY = "application/vnd.seedpod.changes"


def parse_feed(data):
    """The binary form, read independently of the C code: (header, records, cut or more)."""
    assert data[:8] == b"SPFEED1\n", data[:16]
    cluster, (epoch, since, horizon, count) = data[8:24], struct.unpack_from("<QQQH", data, 24)
    at = 24 + 26 + 16 * count
    records, last = [], None
    while data[at:at + 1] != b"E":
        kind = data[at:at + 1]
        if kind == b"P":
            key_len, value_len, seq = struct.unpack_from("<HIQ", data, at + 1)
            at += 15
            records.append(("put", seq, data[at:at + key_len], data[at + key_len:at + key_len + value_len]))
            at += key_len + value_len
        elif kind == b"D":
            key_len, seq = struct.unpack_from("<HQ", data, at + 1)
            at += 11
            records.append(("delete", seq, data[at:at + key_len], None))
            at += key_len
        elif kind == b"C":
            seq, digest, keys = struct.unpack_from("<Q16sQ", data, at + 1)
            last = ("cut", seq, digest.hex(), keys)
            at += 33
        elif kind == b"M":
            last = ("more", *struct.unpack_from("<Q", data, at + 1))
            at += 9
        else:
            raise AssertionError(f"unknown record {kind!r} at {at}")
    count, digest = struct.unpack_from("<I16s", data, at + 1)
    assert at + 21 == len(data), "nothing follows the end"
    assert count == len(records)
    assert digest.hex() == support.xxh128(data[:at])
    return {"cluster": cluster.hex(), "epoch": epoch, "since": since, "horizon": horizon}, records, last


class Changes(support.SharedPods):
    def changes(self, since, query="", binary=False):
        reply = self.leader.get(f"/v1/changes?since={since}{query}", {"Accept": BINARY} if binary else {})
        self.assertEqual(reply.status, 200, reply.body[:300])
        return reply

    def lines(self, since, query=""):
        return [json.loads(line) for line in self.changes(since, query).body.splitlines()]

    def test_each_key_stands_once_at_its_newest_change(self):
        since = self.leader.position()["seq"]
        for value in (b"1", b"2", b"3"):
            self.leader.put("over", value)
        self.leader.put("gone", b"x")
        self.leader.ask("DELETE", "/v1/kv/gone")
        _, records, last = parse_feed(self.changes(since, binary=True).body)
        self.assertEqual(records, [("put", since + 3, b"over", b"3"), ("delete", since + 5, b"gone", None)])
        position = self.leader.position()
        self.assertEqual(last, ("cut", since + 5, position["digest"], position["keys"]))

    def test_ndjson_says_the_same_as_the_binary_form(self):
        since = self.leader.position()["seq"]
        self.leader.put("json", b"text")
        self.leader.put(b"\xff\x00", b"\xfe")
        self.leader.ask("DELETE", "/v1/kv/json")
        reply = self.changes(since)
        self.assertEqual(reply.headers.get_content_type(), "application/x-ndjson")
        lines = [json.loads(line) for line in reply.body.splitlines()]
        found = []
        for line in lines:
            if line.get("op") in ("put", "delete"):
                key = line["key"].encode() if "key" in line else base64.b64decode(line["key64"])
                value = None
                if line["op"] == "put":
                    value = line["value"].encode() if "value" in line else base64.b64decode(line["value64"])
                found.append((line["op"], line["seq"], key, value))
        _, records, _ = parse_feed(self.changes(since, binary=True).body)
        self.assertEqual(found, records)

    def test_limit_ends_short_of_the_cut_and_the_feed_goes_on_from_there(self):
        since = self.leader.position()["seq"]
        self.leader.load((f"limit-{n:03d}", "x") for n in range(100))
        seen, at = [], since
        for _ in range(50):
            _, records, last = parse_feed(self.changes(at, "&limit=30", binary=True).body)
            self.assertLessEqual(len(records), 30)
            seen += [seq for _, seq, _, _ in records]
            if last[0] == "cut":
                break
            at = records[-1][1]
        self.assertEqual(seen, list(range(since + 1, since + 101)))

    def test_wait_holds_the_answer_until_there_is_something(self):
        since = self.leader.position()["seq"]
        timer = threading.Timer(0.7, self.leader.put, ("awaited", b"x"))
        began = time.monotonic()
        timer.start()
        _, records, _ = parse_feed(self.changes(since, "&wait=20s", binary=True).body)
        took = time.monotonic() - began
        timer.join()
        self.assertEqual([key for _, _, key, _ in records], [b"awaited"])
        self.assertTrue(0.5 < took < 10 * support.SLOW, took)

    def test_wait_ends_empty_on_a_cut_when_nothing_comes(self):
        position = self.leader.position()
        began = time.monotonic()
        _, records, last = parse_feed(self.changes(position["seq"], "&wait=500ms", binary=True).body)
        self.assertGreater(time.monotonic() - began, 0.4)
        self.assertEqual(records, [])
        self.assertEqual(last[:3], ("cut", position["seq"], position["digest"]))

    def test_another_cluster_is_409(self):
        self.problem(self.leader.get("/v1/changes?since=0&cluster=00000000-0000-4000-8000-000000000000&epoch=1"), 409)

    def test_a_number_beyond_the_present_is_409(self):
        position = self.leader.position()
        query = f"since={position['seq'] + 1000}&cluster={position['cluster']}&epoch={position['epoch']}"
        self.problem(self.leader.get(f"/v1/changes?{query}"), 409)

    def test_bad_parameters_are_400(self):
        self.assertEqual(self.leader.get("/v1/changes?since=0&wait=0").status, 200)
        for query in ("since=x", "since=-1", "since=0&limit=none", "since=0&wait=long", "since=0&wait=5"):
            with self.subTest(query):
                self.problem(self.leader.get(f"/v1/changes?{query}"), 400)


class Horizon(support.SharedPods):
    config = {"server.tombstone_keep": "1s"}

    def test_below_the_horizon_is_410(self):
        self.leader.load((f"old-{n}", "x") for n in range(20))
        for n in range(20):
            self.leader.ask("DELETE", f"/v1/kv/old-{n}")

        def purged():
            # Old tombstones go as new changes come.
            self.leader.put("tick", b"x")
            return self.leader.position()["horizon"] >= 40
        support.wait_until(purged, 20, "the tombstones are dropped", self.pods)
        self.problem(self.leader.get("/v1/changes?since=5"), 410)
        horizon = self.leader.position()["horizon"]
        self.assertEqual(self.leader.get(f"/v1/changes?since={horizon}").status, 200)


if __name__ == "__main__":
    support.main()
