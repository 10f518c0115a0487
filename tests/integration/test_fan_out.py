#!/usr/bin/env python3
"""Pods that are seeded at the same time pass the snapshot on to one another; one that fails the others costs them time."""

import http.server
import re
import signal
import threading
import urllib.request

import authority
import support
from support import PodTest, podset, wait_until

VALUES, SIZE = 240, 100_000
SLOWLY = {"bootstrap.rate_limit": str(8 << 20), "bootstrap.retry_delay": "20ms", "bootstrap.stall_timeout": "2s",
          "bootstrap.max_peers": "6"}
SENT = "seedpod_server_snapshot_bytes_sent_total"
GETS = "a sibling passes the snapshot on"
GIVES = "passing the snapshot on"


class FanOut(PodTest):
    def filled(self, **more):
        """A leader with a store that is worth passing on, and how long its snapshot is."""
        pods = self.pod_set(0, SLOWLY | more)
        self.prepare(pods)
        pods.scale(1)
        wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        rng = support.seeded_random("fan out")
        with pods.leader.client() as client:
            for n in range(VALUES):
                reply = client.ask("PUT", f"/v1/kv/key-{n}", support.random_bytes(rng, SIZE))
                self.assertEqual(reply.status, 204)
        length = int(pods.leader.ask_control("HEAD", "/snapshot").headers["Seedpod-Snapshot-Length"])
        self.assertGreater(length, 20 << 20)
        return pods, length

    def prepare(self, pods):
        pass

    def begin(self, pods, count):
        pods = [pods.add() for _ in range(count)]
        for pod in pods:
            pod.begin()
        return pods

    def sent(self, pods):
        return pods.leader.server_metrics()[SENT]

    def finish(self, pods):
        """All that were begun come up, hold what the leader holds, and are ready."""
        for pod in pods:
            pod.wait_running(120)
        pods.wait_ready()
        position = pods.wait_equal()
        self.assertEqual(position["keys"], VALUES)
        for pod in pods:
            self.assertEqual([p.name for p in pod.data_dir.glob("store*")], ["store"])

    def four(self):
        """Four at once: the leader sends each byte twice at most."""
        pods, length = self.filled()
        before = self.sent(pods)
        self.begin(pods, 4)
        self.finish(pods)
        self.assertLessEqual(self.sent(pods) - before, 2 * length)
        self.assertEqual(sum(GETS in pod.init.log for pod in pods), 2, pods.log_tails(40))

    def passing(self, pods):
        """Wait until one passes on what it gets to another: (that one, the other). Its own log says to whom: a pod that was
        sent to one sibling may have been sent on to the next."""
        def look():
            for pod in pods:
                found = re.search(GIVES + r'.*?\bpod"?[=:](\d+)', pod.init.log)
                if found and GETS in pods[int(found[1])].init.log:
                    return pod, pods[int(found[1])]
            return None
        return wait_until(look, 20, "one pod passes the snapshot on to another", pods)


class Four(FanOut):
    def test_four_at_once_and_the_leader_sends_each_byte_twice(self):
        self.four()

    def test_a_chain_of_four_and_the_leader_sends_each_byte_once(self):
        pods, length = self.filled(**{"bootstrap.fan_out": "1"})
        before = self.sent(pods)
        self.begin(pods, 4)
        self.finish(pods)
        self.assertLessEqual(self.sent(pods) - before, length)
        self.assertEqual(sum(GETS in pod.init.log for pod in pods), 3, pods.log_tails(40))

    def test_without_fan_out_the_leader_sends_to_all(self):
        pods, length = self.filled(**{"bootstrap.fan_out": "0"})
        before = self.sent(pods)
        self.begin(pods, 3)
        self.finish(pods)
        self.assertEqual(self.sent(pods) - before, 3 * length)

    def test_writes_go_on_and_later_pods_still_get_the_same_snapshot(self):
        """A pod that comes when the leader has moved on is sent what the others get: the feed brings the rest."""
        pods, length = self.filled(**{"bootstrap.rate_limit": str(3 << 20)})
        before = self.sent(pods)
        self.begin(pods, 2)
        wait_until(lambda: self.sent(pods) - before > 2 << 20, 20, "two are being sent to", pods)
        self.assertEqual(pods.leader.put("key-0", b"changed").status, 204)
        self.begin(pods, 2)
        self.finish(pods)
        self.assertLessEqual(self.sent(pods) - before, 2 * length)
        for pod in pods:
            self.assertEqual(pod.get("/v1/kv/key-0").body, b"changed")


class Clients(FanOut):
    def test_a_client_of_a_pod_that_is_being_seeded_is_told_to_come_again(self):
        """Never 404 or 413, which would say something about the key or the value."""
        pods, _ = self.filled(**{"bootstrap.rate_limit": str(3 << 20)})
        pod = self.begin(pods, 1)[0]
        wait_until(lambda: pod.get("/v1/position").status == 503, 20, "it is being seeded", pods)
        with pod.client() as client:
            for method, path, body in (("PUT", "/v1/kv/a", b"value"), ("PUT", "/set/a", b"value"), ("PUT", "/a", b"value"),
                                       ("POST", "/v1/batch", b"{}"), ("DELETE", "/v1/kv/a", None), ("GET", "/v1/kv/a", None),
                                       ("GET", "/get/a", None), ("HEAD", "/v1/kv/a", None), ("GET", "/v1/keys", None)):
                reply = client.ask(method, path, body)
                self.assertEqual((method, path, reply.status, "Retry-After" in reply.headers), (method, path, 503, True))
        self.finish(pods)


class BehindDoors(FanOut):
    """With TLS on both sides and tokens."""

    def filled(self, **more):
        support.need("openssl")
        self.authority = authority.Authority(self.dir / "authority")
        secrets, tokens = f"{self.dir}/secrets/{{name}}", authority.Volume(self.dir / "tokens")
        tokens.write({role: f"{role}-token-{'x' * 20}\ntest-token-{'z' * 20}\n" for role in ("read", "write", "metrics")}
                     | {"peer": f"peer-token-{'x' * 20}\n"})
        for n in range(6):
            volume = authority.Volume(self.dir / "secrets" / f"store-{n}")
            volume.write(self.authority.issue(f"store-{n}.store.example"))
        return super().filled(**{
            "pod.peer_url": f"https://127.0.{support.octet()}.{{ordinal}}:9876", "tls.cert": f"{secrets}/tls.crt",
            "tls.key": f"{secrets}/tls.key", "tls.ca": f"{secrets}/ca.crt", "tls.client_auth": "require",
            "tls.peer_name": "{name}.store.example", "auth.tokens": tokens.path} | more)

    def prepare(self, pods):
        pods.tls = self.authority.context(self.authority.issue("client.example"))
        pods.headers = {"Authorization": f"Bearer test-token-{'z' * 20}"}

    def test_four_at_once_with_certificates_and_tokens(self):
        self.four()

    def test_a_pod_that_is_being_seeded_lets_nobody_in_without_certificate_and_token(self):
        pods, _ = self.filled()
        pod = self.begin(pods, 1)[0]
        wait_until(lambda: pod.get("/v1/position").status == 503, 20, "it is being seeded", pods)
        self.assertEqual(pod.get("/v1/snapshot").status, 403)
        with podset.Client(pod.ip, 9876, 5, tls=pods.tls) as client:
            self.assertEqual(client.ask("GET", "/v1/snapshot").status, 401)
        with self.assertRaises(OSError), podset.Client(pod.ip, 9876, 5, tls=self.authority.context()) as client:
            client.ask("GET", "/v1/snapshot")
        self.finish(pods)


class Failing(FanOut):
    """Each with chains, so that whoever fails has others behind it."""

    def begun(self):
        pods, length = self.filled(**{"bootstrap.fan_out": "1"})
        self.begin(pods, 3)
        return pods, length, self.passing(pods)

    def test_a_pod_that_is_killed_while_it_passes_on(self):
        pods, length, (giver, taker) = self.begun()
        before = self.sent(pods)
        giver.kill_init()
        wait_until(lambda: "download interrupted" in taker.init.log, 20, "the other notices", pods)
        wait_until(lambda: giver.tick() or giver.phase == "failed", 20, "it has ended", pods)
        wait_until(lambda: giver.tick(restarts=True) or giver.phase == "init", 20, "it begins again", pods)
        self.finish(pods)
        self.assertIn("download resumed", taker.init.log)
        self.assertNotIn("waiting for the next attempt", taker.init.log)
        self.assertLessEqual(self.sent(pods) - before, 3 * length)

    def test_a_pod_that_stalls_while_it_passes_on(self):
        pods, _, (giver, taker) = self.begun()
        giver.init.signal(signal.SIGSTOP)
        others = [pod for pod in pods if pod not in (giver, pods.leader)]
        for pod in others:
            pod.wait_running(60)
        wait_until(lambda: all(pod.readyz() == 200 for pod in others), 60, "the others are ready", pods)
        self.assertRegex(taker.init.log, "download interrupted.*(stalled|bytes)")
        giver.init.signal(signal.SIGCONT)
        self.finish(pods)

    def test_a_volume_that_fills_up_while_it_passes_on(self):
        support.need_root("mounts a small volume")
        pods, _ = self.filled(**{"bootstrap.fan_out": "1", "bootstrap.attempts": "1"})
        small = pods.add()
        small.mount_volume("40m")
        self.addCleanup(small.unmount_volume)
        small.begin()
        wait_until(lambda: (small.data_dir / "store.incoming" / "data.mdb").exists(), 20, "it is being seeded", pods)
        (small.data_dir / "filler").write_bytes(bytes(25 << 20))
        other = self.begin(pods, 1)[0]
        other.wait_running(60)
        wait_until(lambda: other.readyz() == 200, 60, "the other is ready", pods)
        self.assertEqual(other.position()["digest"], pods.leader.position()["digest"])
        wait_until(lambda: small.tick() or small.phase == "failed", 30, "the small one has failed", pods)


class Impostor:
    """Stands where store-1's init would, is sent the snapshot by the leader, and hands out what `spoil` makes of it."""

    def __init__(self, pods, answer):
        impostor = self
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.startswith("/v1/snapshot"):
                    impostor.asked += 1
                    self.close_connection = True
                    answer(self, impostor)
                else:
                    self.send_error(503)

            def begin(self, **headers):
                self.send_response(200)
                for name, value in ({"Seedpod-Snapshot-Id": impostor.id, "Seedpod-Offset": "0",
                                     "Seedpod-Snapshot-Length": str(len(impostor.archive)),
                                     "Content-Length": str(len(impostor.archive))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        # It reads so slowly that it counts as one that is being sent to until it is closed.
        url = f"{pods.leader.url}/v1/snapshot"
        with urllib.request.urlopen(url, timeout=20) as whole:
            self.archive = whole.read()
        self.stream = urllib.request.urlopen(f"{url}?pod=1", timeout=60)
        self.id = self.stream.headers["Seedpod-Snapshot-Id"]
        self._server = http.server.ThreadingHTTPServer((pods.leader.ip.rsplit(".", 1)[0] + ".1", podset.API_PORT), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.stream.close()
        self._server.shutdown()
        self._server.server_close()


def altered(handler, impostor):
    handler.begin()
    body = bytearray(impostor.archive)
    body[len(body) // 2] ^= 1
    handler.wfile.write(body)


def altered_at_the_end(handler, impostor):
    """Another sum in seedpod.sums."""
    handler.begin()
    body = bytearray(impostor.archive)
    body[-2 * 512 - 512 + 4] ^= 1
    handler.wfile.write(body)


def of_another_length(handler, impostor):
    handler.begin(**{"Content-Length": str(len(impostor.archive) // 2)})
    handler.wfile.write(impostor.archive[:len(impostor.archive) // 2])


def cut_off(handler, impostor):
    handler.begin()
    handler.wfile.write(impostor.archive[:len(impostor.archive) // 3])


def another_snapshot(handler, impostor):
    handler.begin(**{"Seedpod-Snapshot-Id": "5eed0000-0000-4000-8000-000000000001"})
    handler.wfile.write(impostor.archive)


def not_found(handler, impostor):
    handler.send_error(404)


def in_a_circle(handler, impostor):
    handler.send_response(503)
    for name, value in {"Seedpod-Sibling": "1", "Seedpod-Snapshot-Id": impostor.id, "Content-Length": "0"}.items():
        handler.send_header(name, value)
    handler.end_headers()


def to_nobody(handler, impostor):
    handler.send_response(503)
    for name, value in {"Seedpod-Sibling": "4000000000", "Seedpod-Snapshot-Id": impostor.id, "Content-Length": "0"}.items():
        handler.send_header(name, value)
    handler.end_headers()


def never_ready(handler, impostor):
    handler.send_error(503)


class Lying(FanOut):
    """A sibling that sends what it should not: the donor itself is asked, and the store that comes of it is right."""

    def check(self, answer, log):
        pods, _ = self.filled(**{"bootstrap.fan_out": "1", "bootstrap.rate_limit": "0"})
        impostor = Impostor(pods, answer)
        self.addCleanup(impostor.close)
        pods.add()
        pod = pods.add()
        pod.start(60)
        self.assertGreater(impostor.asked, 0, pod.init.log)
        self.assertIn(log, pod.init.log)
        wait_until(lambda: pod.readyz() == 200, 60, "it is ready", pods)
        self.assertEqual(pod.position()["digest"], pods.leader.position()["digest"])
        done = pod.ask_control("GET", "/digest")
        self.assertEqual((done.status, done.json()["digest"]), (200, pods.leader.position()["digest"]))

    def test_altered_bytes(self):
        self.check(altered, "a snapshot that was passed on was bad")

    def test_altered_sums(self):
        self.check(altered_at_the_end, "a snapshot that was passed on was bad")

    def test_half_of_it_with_a_length_that_agrees(self):
        self.check(of_another_length, "a snapshot that was passed on was bad")

    def test_a_connection_that_is_cut(self):
        self.check(cut_off, "download resumed")

    def test_another_snapshot(self):
        self.check(another_snapshot, "the sibling does not pass the snapshot on")

    def test_no_snapshot(self):
        self.check(not_found, "the sibling does not pass the snapshot on")

    def test_pointing_in_a_circle(self):
        self.check(in_a_circle, "the sibling does not pass the snapshot on")

    def test_pointing_to_nobody(self):
        self.check(to_nobody, "the sibling does not pass the snapshot on")

    def test_one_that_never_gets_it(self):
        self.check(never_ready, "the sibling does not pass the snapshot on")


if __name__ == "__main__":
    support.main()
