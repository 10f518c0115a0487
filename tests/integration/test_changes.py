#!/usr/bin/env python3
"""The change feed, as NDJSON and in its binary form."""

import base64
import http.client
import json
import socket
import struct
import threading
import time

import support

BINARY = "application/vnd.seedpod.changes"


def parse_feed(data):
    """The binary form, read independently of the C code: (header, records, cut or more)."""
    *feed, end = parse_first(data)
    assert end == len(data), "nothing follows the end"
    return tuple(feed)


def parse_stream(data):
    """One feed behind the other, each where the one before ended: [(header, records, cut or more)]."""
    feeds = []
    while data:
        *feed, end = parse_first(data)
        if feeds:
            assert feed[0]["since"] == feeds[-1][2][1], (feeds[-1], feed)
        feeds.append(tuple(feed))
        data = data[end:]
    return feeds


def parse_first(data):
    """The feed that the bytes begin with, and where it ends."""
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
    assert count == len(records)
    assert digest.hex() == support.xxh128(data[:at])
    return {"cluster": cluster.hex(), "epoch": epoch, "since": since, "horizon": horizon}, records, last, at + 21


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

    def stream(self, since, wait="1s", query=""):
        return parse_stream(self.changes(since, f"&wait={wait}&stream=1{query}", binary=True).body)

    def test_a_stream_sends_each_change_until_its_time_is_over(self):
        since = self.leader.position()["seq"]
        self.leader.put("streamed", b"0")
        timers = [threading.Timer(0.2 * n, self.leader.put, ("streamed", b"%d" % n)) for n in range(1, 5)]
        began = time.monotonic()
        for timer in timers:
            timer.start()
        feeds = self.stream(since, "2s")
        took = time.monotonic() - began
        for timer in timers:
            timer.join()
        # What was there already, each change by itself, and an empty feed at the end.
        self.assertEqual([[value for _, _, _, value in records] for _, records, _ in feeds],
                         [[b"0"], [b"1"], [b"2"], [b"3"], [b"4"], []])
        position = self.leader.position()
        self.assertEqual(feeds[-1][2][:3], ("cut", position["seq"], position["digest"]))
        self.assertTrue(1.9 < took < 10 * support.SLOW, took)

    def test_a_stream_is_chunked_and_its_connection_serves_the_next_request(self):
        since = self.leader.position()["seq"]
        with self.leader.client() as client:
            reply = client.ask("GET", f"/v1/changes?since={since}&wait=100ms&stream=1", headers={"Accept": BINARY})
            self.assertEqual(reply.headers["Transfer-Encoding"], "chunked")
            self.assertEqual([records for _, records, _ in parse_stream(reply.body)], [[]])
            self.assertEqual(client.ask("GET", "/v1/position").status, 200)

    def test_a_stream_takes_large_changes_by_ending_before_them(self):
        since = self.leader.position()["seq"]
        timers = [threading.Timer(0.2, self.leader.put, ("small", b"x")),
                  threading.Timer(0.5, self.leader.put, ("large", b"x" * 200_000))]
        began = time.monotonic()
        for timer in timers:
            timer.start()
        feeds = self.stream(since, "5s")
        self.assertLess(time.monotonic() - began, 4 * support.SLOW)
        for timer in timers:
            timer.join()
        self.assertEqual([key for _, records, _ in feeds for _, _, key, _ in records], [b"small"])
        # Then it is answered as any other: with a length.
        reply = self.changes(since + 1, "&wait=5s&stream=1", binary=True)
        self.assertEqual(int(reply.headers["Content-Length"]), len(reply.body))
        self.assertEqual([key for _, _, key, _ in parse_feed(reply.body)[1]], [b"large"])

    def test_a_stream_lasts_no_longer_than_its_bound(self):
        began = time.monotonic()
        feeds = self.stream(self.leader.position()["seq"], "30s")
        self.assertTrue(4 < time.monotonic() - began < 15 * support.SLOW)
        self.assertEqual([records for _, records, _ in feeds], [[]])

    def test_a_client_that_does_not_read_its_stream_loses_nothing_and_delays_nobody(self):
        since = self.leader.position()["seq"]
        with socket.create_connection((self.leader.ip, 9876), 60) as s:
            s.sendall(f"GET /v1/changes?since={since}&wait=3s&stream=1 HTTP/1.0\r\nAccept: {BINARY}\r\n\r\n".encode())
            self.leader.load(((f"unread-{n}", "x" * 1000) for n in range(20_000)), batch=50)
            data = b"".join(iter(lambda: s.recv(1 << 16), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.splitlines()[0])
        feeds = parse_stream(body)
        seen = [seq for _, records, _ in feeds for _, seq, _, _ in records]
        self.assertEqual(seen, list(range(since + 1, since + 1 + len(seen))))
        self.assertGreater(len(seen), 0)

    def test_text_is_not_streamed(self):
        since = self.leader.position()["seq"]
        self.leader.put("text", b"x")
        lines = self.lines(since, "&wait=20s&stream=1")
        self.assertEqual([line.get("op") for line in lines], ["put", None])

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


class StreamEnds(support.PodTest):
    """A stream that is open when its server changes."""

    def open_stream(self, pods):
        """A stream at the leader that has sent a change: the thread that reads it, and what becomes of it."""
        since, got = pods.leader.position()["seq"], {}

        def read():
            try:
                got["reply"] = pods.leader.get(f"/v1/changes?since={since}&from=leader&wait=5s&stream=1", {"Accept": BINARY})
            except (OSError, http.client.HTTPException) as failure:
                got["failure"] = failure
            got["ended"] = time.monotonic()
        thread = threading.Thread(target=read)
        thread.start()
        waiting = "seedpod_server_waiting_requests"
        support.wait_until(lambda: pods.leader.server_metrics()[waiting] >= 1, 10, "the stream waits", pods)
        self.assertEqual(pods.leader.put("before", b"x").status, 204)
        support.wait_until(lambda: pods.leader.server_metrics()[waiting] >= 1, 10, "the stream waits again", pods)
        return thread, got

    def alone(self):
        pods = self.pod_set(1)
        pods.wait_ready()
        return pods

    def ends_in_order(self, thread, got, began):
        thread.join(30)
        self.assertNotIn("failure", got)
        self.assertLess(got["ended"] - began, 3 * support.SLOW)
        feeds = parse_stream(got["reply"].body)
        self.assertEqual([key for _, records, _ in feeds for _, _, key, _ in records], [b"before"])
        return feeds

    def test_a_server_that_stops_ends_it_in_order(self):
        pods = self.alone()
        thread, got = self.open_stream(pods)
        began = time.monotonic()
        self.assertEqual(pods.leader.server.stop(), 0)
        self.ends_in_order(thread, got, began)

    def test_a_pod_that_does_not_lead_any_more_ends_it_and_says_nothing_in_it(self):
        pods = self.alone()
        thread, got = self.open_stream(pods)
        began = time.monotonic()
        self.assertEqual(pods.leader.ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        feeds = self.ends_in_order(thread, got, began)
        self.assertTrue(all(records for _, records, _ in feeds), feeds)
        since = pods.leader.position()["seq"]
        reply = pods.leader.get(f"/v1/changes?since={since}&from=leader&wait=5s&stream=1", {"Accept": BINARY})
        self.assertEqual((reply.status, reply.json()["code"]), (503, "no_leader"))

    def test_a_server_that_is_killed_leaves_it_without_an_end(self):
        pods = self.alone()
        thread, got = self.open_stream(pods)
        pods.leader.kill("server")
        thread.join(30)
        self.assertIsInstance(got.get("failure"), (OSError, http.client.HTTPException))


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
