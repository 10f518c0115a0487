#!/usr/bin/env python3
"""Clients that mean harm: slow ones, idle ones by the thousands, greedy ones, and requests of no honest shape. The pod
stays ready, other clients are answered, and memory stays within its bounds. # slow file
"""

import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

MIB = 1 << 20


def memory(pod, field="VmRSS"):
    """Bytes of the server's own memory; the mapped store is the kernel's to take back and does not count."""
    kib = {}
    for line in pathlib.Path(f"/proc/{pod.server.pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        kib[name] = rest.split()
    return (int(kib[field][0]) - int(kib["RssFile"][0]) - int(kib["RssShmem"][0])) * 1024


class Bystander(threading.Thread):
    """An honest client beside the attack: a new connection each time, a write and a read; and the probe of a kubelet."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.pod, self.ended = pod, threading.Event()
        self.took, self.unready, self.failed, self.peak = [], [], [], 0
        self.stood_still = 0.0  # for how long at most the machine let nobody run, this process at least

    def watch_machine(self):
        last = time.monotonic()
        while not self.ended.wait(0.01):
            now = time.monotonic()
            self.stood_still, last = max(self.stood_still, now - last - 0.01), now

    def run(self):
        threading.Thread(target=self.watch_machine, daemon=True).start()
        number = 0
        while not self.ended.is_set():
            number += 1
            began = time.monotonic()
            try:
                put = self.pod.ask("PUT", "/v1/kv/bystander", str(number).encode(), timeout=20).status
                got = self.pod.ask("GET", "/v1/kv/bystander", timeout=20).body
                if put != 204 or got != str(number).encode():
                    self.failed.append((number, put, got[:100]))
            except OSError as problem:
                self.failed.append((number, repr(problem)))
            self.took.append(time.monotonic() - began)
            if self.pod.readyz() != 200:
                self.unready.append(number)
            self.peak = max(self.peak, memory(self.pod))
            self.ended.wait(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join(60)

    def says(self, what):
        took = sorted(self.took)
        print(f"# {what}: {len(took)} rounds of a bystander, median {took[len(took) // 2] * 1000:.1f} ms, 99th "
              f"{took[len(took) * 99 // 100] * 1000:.0f} ms, longest {took[-1] * 1000:.0f} ms; own memory of the server "
              f"at most {self.peak / MIB:.0f} MiB", flush=True)


class Attacked(support.SharedPods):
    def held(self, bystander, longest, what):
        bystander.says(what)
        self.assertEqual(bystander.failed, [])
        self.assertEqual(bystander.unready, [])
        self.assertGreater(len(bystander.took), 5)
        self.assertLess(max(bystander.took), longest * support.SLOW + bystander.stood_still)

    def allowed(self, size):
        """The bound of the server's own memory; none where a sanitizer keeps several bytes for each of the program's."""
        return float("inf") if support.SANITIZE else size

    def connect(self, data=b"", receive=None, pod=None, port=support.podset.API_PORT):
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.settimeout(20 * support.SLOW)
        s.connect(((pod or self.leader).ip, port))
        self.addCleanup(s.close)
        if data:
            s.sendall(data)
        return s

    def answers(self, data, patience=20 * support.SLOW):
        """The statuses that come back for these bytes, and whether the other side ended the connection within `patience`."""
        s = self.connect()
        s.settimeout(patience)
        got, ended = b"", False
        try:
            s.sendall(data)
            while not ended:
                piece = s.recv(65536)
                ended = not piece
                got += piece
        except TimeoutError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            ended = True
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)], ended


class Slow(Attacked):
    def test_slow_heads_bodies_and_reads_harm_nobody_else(self):
        support.need("slowhttptest")
        self.leader.put("large", bytes(MIB))
        many = 700 if not support.SANITIZE else 200
        url, seconds, each = self.leader.url, "8", ["-c", f"{many}", "-r", f"{many // 2}", "-i", "2", "-p", "3"]
        attacks = [["-H"], ["-B", "-s", "8388608", "-t", "PUT", "-u", f"{url}/v1/kv/slow"],
                   ["-X", "-k", "3", "-n", "2", "-z", "16", "-u", f"{url}/v1/kv/large"]]
        with Bystander(self.leader) as bystander:
            running = [subprocess.Popen(["slowhttptest", "-u", f"{url}/v1/position", "-l", seconds, "-v", "0", *each, *a],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir)
                       for a in attacks]
            most = wait_until(lambda: self.connections() > many * 5 // 7, 20, f"the attack has {many * 5 // 7} connections")
            self.assertTrue(most)
            for one in running:
                one.wait(60 * support.SLOW)
        self.held(bystander, 3, f"slowhttptest -H, -B and -X with {many} connections each")
        self.assertLess(bystander.peak, self.allowed(600 * MIB))

    def connections(self):
        return self.leader.server_metrics()["seedpod_server_connections"]

    def test_thousands_of_idle_connections_give_way(self):
        before = self.leader.server_metrics()["seedpod_server_connections_cut_total"]
        with Bystander(self.leader) as bystander:
            held = [self.connect() for _ in range(5000)]
            self.assertEqual(len(held), 5000)
            # None has said a word: three quarters of the places are the most that they are left.
            wait_until(lambda: self.connections() <= 4096 * 3 // 4, 20, "idle connections are gone", self.pods)
        self.held(bystander, 8, "5000 idle connections at a limit of 4096")
        self.assertGreater(self.leader.server_metrics()["seedpod_server_connections_cut_total"], before)

    def test_idle_connections_to_the_sidecar_do_not_shut_out_the_probes(self):
        for _ in range(600):
            self.connect(port=support.podset.SIDECAR_PORT)
        began = time.monotonic()
        self.assertEqual(self.leader.readyz(), 200)
        took = time.monotonic() - began
        print(f"# a probe behind 600 idle connections at a limit of 256: {took:.1f} s", flush=True)
        self.assertLess(took, 10 * support.SLOW)


class Greedy(Attacked):
    def test_answers_that_nobody_reads_are_bounded_and_give_way(self):
        value = bytes(4 * MIB)
        self.leader.put("huge", value)
        before = memory(self.leader)
        with Bystander(self.leader) as bystander:
            for _ in range(150):
                self.connect(b"GET /v1/kv/huge HTTP/1.1\r\nHost: x\r\n\r\n", receive=4096)
            wait_until(lambda: self.leader.get("/v1/kv/huge").status == 503, 10, "the budget is used up", self.pods)
            refused = self.leader.get("/v1/kv/huge")
            if refused.status == 503:
                self.assertEqual(refused.headers["Retry-After"], "1")
                self.assertEqual(refused.headers["ETag"], None)
            # Under pressure 4 MiB have to be taken within 5 s and 4 s: then there is room again.
            wait_until(lambda: self.leader.get("/v1/kv/huge").body == value, 20, "large answers are given again", self.pods)
            wait_until(lambda: len(bystander.took) > 5, 20, "the bystander has made its rounds", self.pods)
        self.held(bystander, 3, "150 answers of 4 MiB that nobody reads")
        self.assertLess(bystander.peak - before, self.allowed(256 * MIB + 150 * MIB // 10 + 64 * MIB))

    def test_bodies_that_are_announced_and_do_not_come_take_nothing(self):
        head = b"PUT /v1/kv/never HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n"
        held = [self.connect(head) for _ in range(500)]
        self.assertEqual(len(held), 500)
        self.assertEqual(self.leader.put("comes", bytes(8 * MIB)).status, 204)


class FewDescriptors(support.PodTest):
    def test_a_process_with_few_descriptors_keeps_some_for_itself(self):
        pods = self.pod_set()
        pod = pods.add()
        pod.server.wrap = ["prlimit", "--nofile=256:256"]
        pod.start_serving()
        held = []
        for _ in range(400):
            s = socket.socket()
            self.addCleanup(s.close)
            s.settimeout(20 * support.SLOW)
            s.connect((pod.ip, support.podset.API_PORT))
            held.append(s)
        self.assertEqual(pod.put("key", b"value").status, 204)
        self.assertEqual(pod.get("/v1/snapshot").status, 200)
        pods.wait_ready()


HOST = b"Host: x\r\n"
NEXT = b"PUT /v1/kv/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

# What is answered in order, and changes nothing.
HARMLESS = {
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a method of 5000 letters": (b"A" * 5000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "PATCH": (b"PATCH /v1/kv/a HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a method in small letters": (b"delete /v1/kv/kept HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "another's URL": (b"GET http://evil/v1/position HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a request in a request's body": (b"GET /v1/position HTTP/1.1\r\n" + HOST
                                      + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, 200),
    "an upgrade": (b"GET /v1/position HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    "up and away": (b"GET /../../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "up and away below v1": (b"GET /v1/../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a key of dots": (b"GET /v1/kv/../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "dots in disguise": (b"GET /v1/kv/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a broken escape": (b"GET /v1/kv/%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "half an escape": (b"GET /v1/kv/a%2 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a key of 5000 bytes": (b"GET /v1/kv/" + b"k" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a query of nonsense": (b"GET /v1/changes?since=%00&&&===&limit=-1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
}


class Shapes(Attacked):
    def test_requests_of_all_shapes_are_answered_in_order(self):
        self.leader.put("kept", b"value")
        position = self.leader.position()["digest"]
        for name, (data, status) in HARMLESS.items():
            with self.subTest(name):
                self.assertEqual(self.answers(data + LAST), ([status, 404], True))
        self.assertEqual(self.leader.position()["digest"], position)
        self.assertEqual(self.leader.get("/v1/kv/kept").body, b"value")

    def test_what_is_no_http_at_all_does_no_harm(self):
        rng = support.seeded_random("test_hostile")
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b"\r\n" * 1000, *(support.random_bytes(rng, 3000) for _ in range(20))):
            statuses, _ = self.answers(data, 0.3)  # what it waits for may never come
            self.assertTrue(all(status >= 400 for status in statuses), (data[:50], statuses))
        self.assertEqual(self.leader.readyz(), 200)


if __name__ == "__main__":
    support.main()
