#!/usr/bin/env python3
"""A network that is broken, and peers that are: each failure ends in its time, is named, changes nothing, and is over when
its cause is. (What a donor may put into a snapshot is test_bad_snapshots.py's matter.) # slow file
"""

import pathlib
import select
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Listener:
    """Takes connections at an address, each in a thread of its own, until close()."""

    def __init__(self, address, serve):
        self.ended, self.count, self._serve = threading.Event(), 0, serve
        self._socket = socket.create_server(address, backlog=1024)
        self._socket.settimeout(0.1)
        self._open = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while not self.ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                continue
            self.count += 1
            self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self._serve(connection)
        except OSError:
            pass
        finally:
            connection.close()
            self._open.discard(connection)

    def cut(self):
        """End every connection."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.ended.set()
        self._thread.join()
        self._socket.close()
        self.cut()


class Broken(Listener):
    """A peer that answers every request in one wrong way."""

    def __init__(self, address, way):
        self.way = getattr(self, way)
        super().__init__(address, self.answer)

    def answer(self, connection):
        asked = b""
        while b"\r\n\r\n" not in asked:
            piece = connection.recv(65536)
            if not piece:
                return
            asked += piece
        self.way(connection, asked)

    def stall(self, connection, _):
        self.ended.wait(120)

    def stall_in_the_head(self, connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        self.ended.wait(120)

    def stall_in_the_body(self, connection, _):
        connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{\"cluster\":")
        self.ended.wait(120)

    def drip(self, connection, _):
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        while not self.ended.wait(0.1):
            connection.sendall(b" ")

    def drip_headers(self, connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self.ended.wait(0.1):
            connection.sendall(b"A: b\r\n")

    def say_nothing_and_close(self, connection, _):
        pass

    def close_in_the_body(self, connection, _):
        connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{\"cluster\":")

    def reset(self, connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def html(self, connection, _):
        body = b"<html><title>Welcome to nginx!</title></html>"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def redirect_in_circles(self, connection, asked):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % asked.split(b" ")[1])

    def too_short_a_length(self, connection, _):
        connection.sendall(HEAD + b"Content-Length: 3\r\n\r\n{\"cluster\":\"00000000-0000-4000-8000-000000000000\"}")

    def huge_header(self, connection, _):
        connection.sendall(HEAD + b"X-Huge: " + b"x" * (1 << 20) + b"\r\nContent-Length: 0\r\n\r\n")

    def endless_headers(self, connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self.ended.is_set():
            connection.sendall(b"X-More: and more\r\n" * 100)

    def endless_body(self, connection, _):
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while not self.ended.is_set():
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    def endless_100_continue(self, connection, _):
        while not self.ended.is_set():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def another_protocol(self, connection, _):
        connection.sendall(b"220 smtp.example.org ESMTP\r\n")

    def json_of_no_position(self, connection, _):
        connection.sendall(HEAD + b"Content-Length: 17\r\n\r\n{\"cluster\": [[[]}")

    def not_found(self, connection, _):
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def overloaded(self, connection, _):
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")


WAYS = [name for name in vars(Broken) if not name.startswith("_") and name != "answer"]


FIRST_PORT = 20000  # of the broken leaders: one for each way


class BrokenLeader(support.PodTest):
    def broken(self, pod, way, port=support.podset.API_PORT):
        peer = Broken((pod.ip, port), way)
        self.addCleanup(peer.close)
        return peer

    def each_way(self, pods):
        """For each way a pod that looks for its leader at a port of its own."""
        for n, way in enumerate(WAYS):
            pod = pods.add()
            pod.environment = {"SEEDPOD_POD_PEER_URL": f"http://127.0.{pods.octet}.{{ordinal}}:{FIRST_PORT + n}",
                               "SEEDPOD_BOOTSTRAP_DONOR": "leader"}
            yield way, pod, FIRST_PORT + n

    def right(self, pods, port):
        proxy = Proxy((pods.leader.ip, port), (pods.leader.ip, support.podset.API_PORT))
        self.addCleanup(proxy.close)
        return proxy

    def test_init_ends_in_its_time_says_why_and_leaves_nothing(self):
        pods = self.pod_set(0, {"bootstrap.attempts": "2", "bootstrap.retry_delay": "50ms",
                                "bootstrap.stall_timeout": "1s"})
        pods.add()
        began = time.monotonic()
        runs = [(way, pod, self.broken(pods.leader, way, port)) for way, pod, port in self.each_way(pods)]
        for _, pod, _ in runs:
            pod.init.start()
        for way, pod, peer in runs:
            with self.subTest(way):
                # Nothing that this peer says makes an empty volume a store: a leader is waited for, and asked again.
                self.assertIn(pod.init.wait(30), (69, 75), pod.init.log)
                self.assertIn(f"http://{pods.leader.ip}:{FIRST_PORT}"[:-5], pod.init.termination_log.read_text())
                self.assertEqual(list(pod.data_dir.glob("store*")), [])
                self.assertGreaterEqual(peer.count, 2)
        took = time.monotonic() - began
        print(f"# init beside {len(WAYS)} kinds of broken leader: two attempts each, all over after {took:.1f} s", flush=True)
        self.assertLess(took, 15 * support.SLOW)

    def test_an_empty_leader_makes_no_store_beside_a_peer_that_may_have_its_data(self):
        """Whoever is there may have what the volume lost, be it silent; nobody is where nobody says anything and closes."""
        absent = {"say_nothing_and_close", "reset", "overloaded"}  # the last is no seedpod's 503: a proxy before nobody
        pods = self.pod_set(0, {"bootstrap.attempts": "2", "bootstrap.retry_delay": "50ms", "bootstrap.max_peers": "1"})
        pods.add()
        runs = [(way, pod, self.broken(pods.leader, way, port)) for way, pod, port in self.each_way(pods)]
        for _, pod, _ in runs:
            pod.environment["SEEDPOD_REPLICATION_LEADER_ORDINAL"] = str(pod.ordinal)
            pod.init.start()
        for way, pod, peer in runs:
            with self.subTest(way):
                self.assertEqual(pod.init.wait(30), 0 if way in absent else 75, pod.init.log)
                self.assertEqual("action=create" in pod.init.log, way in absent)
                self.assertGreaterEqual(peer.count, 1 if way in absent else 2)

    def test_sigterm_ends_init_at_once_whatever_it_waits_for(self):
        """A peer that takes the connection and says nothing, one that nobody is at, and peers of which all are asked."""
        pods = self.pod_set(0, {"bootstrap.retry_delay": "20s", "bootstrap.peer_grace": "20s"})
        for _ in range(3):
            pods.add()
        silent, gone = self.broken(pods[0], "stall"), self.broken(pods[1], "say_nothing_and_close")
        for pod, asked, what in ((pods[1], lambda: silent.count, "a silent leader"),
                                 (pods[2], lambda: "waiting for the next" in pods[2].init.log, "the next attempt"),
                                 (pods[0], lambda: gone.count > 1, "its grace for peers")):
            with self.subTest(what):
                took = []
                while len(took) < 3 and (not took or took[-1] >= 0.3 * support.SLOW):  # again, where the machine stood still
                    silent.count = gone.count = 0
                    pod.init.log_path.unlink(missing_ok=True)
                    pod.init.start()
                    wait_until(asked, 20, "it asks, and waits", pods)
                    began = time.monotonic()
                    self.assertEqual(pod.init.stop(), 75, pod.init.log)
                    took.append(time.monotonic() - began)
                    self.assertIn("asked to stop", pod.init.termination_log.read_text())
                self.assertLess(took[-1], 0.3 * support.SLOW)
            if pod is pods[1]:
                silent.close()

    def test_a_follower_keeps_serving_stays_alive_and_goes_on_when_the_leader_is_right_again(self):
        pods = self.pod_set(1, {"sync.stall_timeout": "500ms", "readiness.max_lag": "2s", "log.level": "warn"})
        pods.leader.load((f"key-{n}", "value") for n in range(100))
        runs = [(way, pod, self.right(pods, port), port) for way, pod, port in self.each_way(pods)]
        for _, pod, _, _ in runs:
            pod.begin()
        for _, pod, _, _ in runs:
            pod.wait_running()
        pods.wait_ready()
        before = pods.wait_equal()
        for _, _, proxy, _ in runs:
            proxy.close()
        broken = [self.broken(pods.leader, way, port) for way, _, _, port in runs]
        for way, pod, _, port in runs:
            with self.subTest(way):
                # Noticed within the time-out, named, and tried again.
                wait_until(lambda p=pod: self.errors(p) >= 3, 15, f"the sidecar notices: {way}", pods)
                self.assertIn(f"{pods.leader.ip}:{port}", pod.status()["last_error"]["text"])
                self.assertEqual(pod.ask_sidecar("/livez").status, 200)
                self.assertEqual(pod.get("/v1/kv/key-7").body, b"value")
        for peer in broken:
            peer.close()
        for _, _, _, port in runs:
            self.right(pods, port)
        self.assertEqual([pod.position()["digest"] for pod in pods], [before["digest"]] * len(pods))
        pods.leader.put("after", b"all")
        for way, pod, _, _ in runs:
            with self.subTest(way):
                wait_until(lambda p=pod: p.get("/v1/kv/after").status == 200, 15, f"it goes on after: {way}", pods)
                self.assertEqual(pod.sidecar.starts, 1)
        pods.wait_ready()

    def errors(self, pod):
        return sum(v for k, v in pod.metrics().items() if k.startswith("seedpod_sync_errors_total"))

    def test_a_leader_that_refuses_is_not_hammered(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pods.leader.stop()
        peer = self.broken(pods.leader, "overloaded")
        wait_until(lambda: peer.count, 20, "the follower asks", pods)
        wait_until(lambda: self.errors(pods[1]) > 5, 60, "it has failed some times", pods)
        before, began = peer.count, time.monotonic()
        wait_until(lambda: peer.count > before, 30, "it asks again", pods)
        time.sleep(max(0, began + 3 - time.monotonic()))  # the measure itself: how often it asks in so long
        rate = (peer.count - before) / (time.monotonic() - began)
        print(f"# a leader that refuses is asked {rate:.2f} times a second", flush=True)
        self.assertLess(rate, 2)


class Proxy(Listener):
    """A way from one pod to another that can be closed: `state` is "open", "silent" (takes, and forwards nothing: packets
    are lost) or "refusing" (every connection is ended). Counts the requests that pass, by the tenth of a second."""

    def __init__(self, address, target):
        self.target, self.state, self.asked = target, "open", {}
        super().__init__(address, self.forward)

    def forward(self, client):
        if self.state == "refusing":
            return
        while self.state == "silent" and not self.ended.wait(0.02):
            pass
        with socket.create_connection(self.target, timeout=10) as server:
            server.settimeout(None)
            while not self.ended.is_set():
                for ready in select.select([client, server], [], [], 0.2)[0]:
                    data = ready.recv(1 << 16)
                    while self.state == "silent" and not self.ended.wait(0.02):
                        pass
                    if not data or self.state == "refusing":
                        return
                    if ready is client:
                        slot = int(time.monotonic() * 10)
                        self.asked[slot] = self.asked.get(slot, 0) + data.count(b" HTTP/1.1\r\n")
                    (server if ready is client else client).sendall(data)

    def peaks(self, since):
        """(in the busiest tenth of a second, in the busiest second, in all) since then."""
        slots = {s: n for s, n in self.asked.items() if s >= int(since * 10)}
        second = max((sum(slots.get(s + d, 0) for d in range(10)) for s in slots), default=0)
        return max(slots.values(), default=0), second, sum(slots.values())


PROXY_PORT = 19876


class Partition(support.PodTest):
    def apart(self, replicas, config):
        """A set whose followers reach the leader through a proxy."""
        pods = self.pod_set(1, config)
        proxy = Proxy((pods.leader.ip, PROXY_PORT), (pods.leader.ip, support.podset.API_PORT))
        self.addCleanup(proxy.close)
        for _ in range(replicas - 1):
            pod = pods.add()
            pod.environment = {"SEEDPOD_POD_PEER_URL": f"http://127.0.{pods.octet}.{{ordinal}}:{PROXY_PORT}",
                               "SEEDPOD_BOOTSTRAP_DONOR": "leader"}
            pod.start_serving()
        pods.wait_ready()
        return pods, proxy

    def split_and_heal(self, how):
        pods, proxy = self.apart(2, {"sync.stall_timeout": "1s", "readiness.max_lag": "1s",
                                     "readiness.leader_loss": "serve"})
        follower = pods[1]
        pods.leader.put("before", b"x")
        pods.wait_equal()
        proxy.state = how
        if how == "refusing":
            proxy.cut()
        for n in range(200):
            self.assertEqual(pods.leader.put(f"meanwhile-{n}", b"y").status, 204)
        wait_until(lambda: follower.status()["stale"], 20, "the follower says that it is stale", pods)
        wait_until(lambda: follower.metrics()["seedpod_lag_seconds"] > 1, 20, "its lag grows", pods)
        self.assertEqual(follower.get("/v1/kv/before").body, b"x")
        self.assertEqual(follower.get("/v1/kv/meanwhile-1").status, 404)
        self.assertEqual(follower.ask_sidecar("/livez").status, 200)
        began = time.monotonic()
        proxy.state = "open"
        wait_until(lambda: follower.get("/v1/kv/meanwhile-199").status == 200, 20, "it has caught up", pods)
        took = time.monotonic() - began
        pods.wait_equal()
        pods.wait_ready()
        print(f"# {how}: caught up {took:.1f} s after the way was open again", flush=True)
        self.assertLess(took, 8 * support.SLOW)

    def test_packets_lost_and_back(self):
        self.split_and_heal("silent")

    def test_connections_refused_and_back(self):
        self.split_and_heal("refusing")

    def test_a_hundred_inits_do_not_hammer_a_leader_that_returns(self):
        pods = self.pod_set(1, {"bootstrap.retry_delay": "500ms", "bootstrap.donor": "leader", "bootstrap.max_peers": "1"})
        pods.leader.load((f"key-{n}", "value" * 20) for n in range(2000))
        proxy = Proxy((pods.leader.ip, PROXY_PORT), (pods.leader.ip, support.podset.API_PORT))
        self.addCleanup(proxy.close)
        proxy.state = "refusing"
        followers = [pods.add() for _ in range(100)]
        for pod in followers:
            pod.environment = {"SEEDPOD_POD_PEER_URL": f"http://127.0.{pods.octet}.{{ordinal}}:{PROXY_PORT}"}
            pod.init.start()
        wait_until(lambda: proxy.count > 300, 60, "all have asked in vain, and again", pods)
        began = time.monotonic()
        proxy.state = "open"
        wait_until(lambda: all(not pod.init.running for pod in followers), 120, "all hundred are seeded", pods)
        took = time.monotonic() - began
        tenth, second, total = proxy.peaks(began)
        self.assertEqual({pod.init.reap() for pod in followers}, {0})
        print(f"# 100 inits and a leader that returns: all seeded in {took:.1f} s, {total} requests, at most {second} in a "
              f"second and {tenth} in a tenth of one", flush=True)
        # Each asks for a position and a snapshot; some of them share the second of their turn. All of them at once, or
        # again and again, is what must not be.
        self.assertLess(total, 100 * 6)
        self.assertLess(second, 100 * 4)

    def test_a_hundred_sidecars_do_not_hammer_a_leader_that_returns(self):
        pods, proxy = self.apart(2, {"sync.stall_timeout": "2s"})
        sidecars = []
        for n in range(100):
            one = support.podset.Pod(pods, n + 100)
            # All stand beside the one follower's server: what is measured is what they ask of the leader.
            one.environment = dict(pods[1].environment) | {
                "SEEDPOD_SERVER_CONTROL_SOCKET": str(pods[1].control_socket), "SEEDPOD_SIDECAR_LISTEN": f"{one.ip}:9877",
                "SEEDPOD_LOG_LEVEL": "error", "SEEDPOD_SERVER_DATA_DIR": str(one.data_dir)}
            one.sidecar.start()
            self.addCleanup(one.sidecar.kill)
            sidecars.append(one)
        wait_until(lambda: pods.leader.server_metrics()["seedpod_server_waiting_requests"] > 90, 60, "all wait", pods)
        proxy.state = "refusing"
        proxy.cut()
        before = proxy.count
        wait_until(lambda: proxy.count > before + 400, 60, "all have asked in vain, and again", pods)
        # The leader learns that they have gone when their waits are over.
        wait_until(lambda: pods.leader.server_metrics()["seedpod_server_waiting_requests"] < 5, 30, "none waits", pods)
        began = time.monotonic()
        proxy.state = "open"
        wait_until(lambda: pods.leader.server_metrics()["seedpod_server_waiting_requests"] > 90, 30, "all wait", pods)
        took = time.monotonic() - began
        tenth, second, total = proxy.peaks(began)
        print(f"# 100 sidecars and a leader that returns: all follow in {took:.1f} s, {total} requests, at most {second} in "
              f"a second and {tenth} in a tenth of one", flush=True)
        self.assertLess(second, 100 * 5)
        self.assertEqual({one.ask_sidecar("/livez").status for one in sidecars}, {200})


class Names(support.PodTest):
    def test_a_name_that_does_not_resolve_and_then_does(self):
        support.need_root("hosts of the test's own are mounted over /etc/hosts")
        support.need("unshare")
        hosts = self.dir / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        pods = self.pod_set(0, {"sync.stall_timeout": "1s"})
        leader, follower = pods.add(), pods.add()
        leader.start_serving()
        leader.put("key", b"value")
        follower.environment = {"SEEDPOD_POD_PEER_URL": "http://{name}.pods.invalid:9876"}
        for container in follower.containers.values():
            container.wrap = ["unshare", "-m", "sh", "-c", f"mount --bind {hosts} /etc/hosts && exec \"$@\"", "sh"]
        follower.begin()
        wait_until(lambda: "resolve" in follower.init.log, 30, "init says that the name does not resolve", pods)
        known = f"127.0.0.1 localhost\n{leader.ip} store-0.pods.invalid\n{follower.ip} store-1.pods.invalid\n"
        hosts.write_text(known)
        follower.wait_running()
        pods.wait_ready()
        hosts.write_text("127.0.0.1 localhost\n")
        leader.restart("server")  # what is connected needs no name
        wait_until(lambda: "resolve" in str(follower.status()["last_error"]), 30, "the sidecar says so too", pods)
        self.assertEqual(follower.ask_sidecar("/livez").status, 200)
        self.assertEqual(follower.get("/v1/kv/key").body, b"value")
        hosts.write_text(known)
        wait_until(lambda: leader.put("again", b"1").status == 204, 20, "the leader is back", pods)
        wait_until(lambda: follower.get("/v1/kv/again").status == 200, 30, "the follower goes on", pods)


if __name__ == "__main__":
    support.main()
