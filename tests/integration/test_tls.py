#!/usr/bin/env python3
"""TLS between pods and from clients: who is let in, who is believed, and new certificates while everything runs."""

import http.client
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import authority  # noqa: E402
import support  # noqa: E402
from support import PodTest, podset, wait_until  # noqa: E402

# Everybody in the set has a certificate for its own name alone; the addresses are in none.
NAMES = "{name}.store.example"


class TlsTest(PodTest):
    def setUp(self):
        super().setUp()
        support.need("openssl")
        self.authority = authority.Authority(self.dir / "authority")
        self.mine = self.authority.issue("client.example")

    def secret(self, name, files=None):
        """The Secret's volume of one pod."""
        volume = authority.Volume(self.dir / "secrets" / name)
        return volume.write(files or self.authority.issue(f"{name}.store.example"))

    def config(self, **more):
        secrets = f"{self.dir}/secrets/{{name}}"
        return {
            "pod.peer_url": f"https://127.0.{support.octet()}.{{ordinal}}:9876",
            "tls.cert": f"{secrets}/tls.crt",
            "tls.key": f"{secrets}/tls.key",
            "tls.ca": f"{secrets}/ca.crt",
            "tls.client_auth": "require",
            "tls.peer_name": NAMES,
        } | more

    def tls_set(self, replicas=1, **more):
        """A set whose pods ask one another for certificates, as a client with a good one sees it."""
        pods = self.pod_set(0, self.config(**more))
        pods.tls = self.authority.context(self.mine)
        self.secrets = {i: self.secret(f"store-{i}") for i in range(max(replicas, 2))}
        pods.scale(replicas)
        wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        return pods

    def refused(self, pod, context):
        """Whether the server ends the connection of such a client without an answer."""
        try:
            with podset.Client(pod.ip, 9876, 5, tls=context) as client:
                client.ask("GET", "/status")
        except (OSError, http.client.HTTPException):
            return True
        return False


class Peers(TlsTest):
    def test_follower_is_seeded_and_kept_in_sync_with_mutual_tls(self):
        pods = self.tls_set(1)
        rng = support.seeded_random("tls")
        for i in range(50):
            self.assertEqual(pods.leader.put(f"k{i}", support.random_bytes(rng, 40000)).status, 204)
        pods.scale(2)
        pods.wait_ready()
        self.assertIn("seeded", pods[1].init.log)
        pods.leader.put("later", b"x")
        pods.wait_equal()

        # While changes come, the server asks the leader by itself, as a peer that the leader knows.
        def pulls():
            pods.leader.put("number", b"x")
            return pods[1].server_metrics()["seedpod_server_pulled_feeds_total"] > 0
        support.wait_until(pulls, 20, "the server has pulled", pods)
        pods.wait_equal()
        # A write on the follower is sent to the leader's https URL.
        reply = pods[1].put("k", b"v")
        self.assertEqual((reply.status, reply.headers["Location"]), (307, f"https://{pods[0].ip}:9876/v1/kv/k"))
        # The lead moves, and with it where writes are sent to.
        pods.edit_config({"replication.leader_ordinal": "1"})
        wait_until(lambda: pods[1].position()["role"] == "leader", 20, "the lead moves", pods)
        wait_until(lambda: pods[0].put("k", b"v").headers["Location"] == f"https://{pods[1].ip}:9876/v1/kv/k", 20,
                   "writes are sent to the new leader", pods)
        pods.wait_equal()
        self.assertEqual(pods[1].metrics()["seedpod_tls_enabled"], 1)
        self.assertGreater(pods[1].server_metrics()["seedpod_server_tls_certificate_expiry_timestamp_seconds"], time.time())

    def refusing_follower(self, files):
        """A follower that must not be seeded by the leader that it finds."""
        pods = self.tls_set(1, **{"bootstrap.attempts": "1"})
        pods.leader.put("k", b"v")
        self.secrets[1].write(files)
        follower = pods.add()
        code, log = follower.run_init()
        self.assertEqual(code, 77, log)
        self.assertIn("no TLS connection", log)
        self.assertFalse(follower.store_dir.exists())
        return log

    def test_a_leader_of_another_authority_is_refused(self):
        other = authority.Authority(self.dir / "other", "other")
        log = self.refusing_follower(self.authority.issue("store-1.store.example") | {"ca.crt": other.crt.read_text()})
        self.assertIn("certificate", log)

    def test_a_leader_that_the_system_trusts_is_refused(self):
        """Where [tls] ca names authorities, those that libcurl finds on the machine are none beside them."""
        support.need_root("puts an authority among the system's")
        support.need("unshare", "mount")
        if not pathlib.Path("/etc/ssl/certs").is_dir():
            self.skipTest("this system has no /etc/ssl/certs")
        pods = self.tls_set(1, **{"bootstrap.attempts": "1"})
        name = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", str(self.authority.crt)], check=True,
                              capture_output=True, text=True).stdout.strip()
        system = self.dir / "system"
        system.mkdir()
        (system / f"{name}.0").write_text(self.authority.crt.read_text())
        other = authority.Authority(self.dir / "other", "other")
        self.secrets[1].write(self.authority.issue("store-1.store.example") | {"ca.crt": other.crt.read_text()})
        init = pods.add().init
        command = 'mount --bind "$0" /etc/ssl/certs && exec "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", command, str(system), str(pods.build / "seedpod-init"),
                               "--config", str(pods.config_path)], capture_output=True, text=True, timeout=60,
                              env=init.environment())
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("no TLS connection", done.stderr)

    def test_a_leader_of_another_name_is_refused(self):
        pods = self.tls_set(1, **{"bootstrap.attempts": "1"})
        self.secrets[0].write(self.authority.issue("store-7.store.example"))
        wait_until(lambda: pods.leader.server_metrics()["seedpod_server_tls_renewals_total"] == 1, 10, "renewed", pods)
        code, log = pods.add().run_init()
        self.assertEqual(code, 77, log)
        self.assertIn("store-0.store.example", log)

    def test_a_follower_that_the_leader_does_not_know_is_refused(self):
        other = authority.Authority(self.dir / "other", "other")
        files = other.issue("store-1.store.example") | {"ca.crt": self.authority.crt.read_text()}
        self.refusing_follower(files)

    def test_an_empty_leader_makes_no_store_while_a_peer_cannot_be_asked(self):
        """Its peer may hold all that is left of the data: a certificate that is not trusted is no reason to start over."""
        pods = self.tls_set(2)
        pods.leader.put("k", b"v")
        pods.wait_equal()
        pods[0].stop()
        pods[0].delete_volume()
        other = authority.Authority(self.dir / "other", "other")
        self.secrets[0].write(self.authority.issue("store-0.store.example") | {"ca.crt": other.crt.read_text()})
        pods.edit_config({"bootstrap.attempts": "2"})
        code, log = pods[0].run_init()
        self.assertEqual(code, 77, log)
        self.assertIn("store-1 may have data but cannot be asked", log)
        self.secrets[0].write(self.authority.issue("store-0.store.example"))
        pods[0].start_serving()
        self.assertEqual(pods[0].get("/v1/kv/k").body, b"v")

    def test_a_leader_without_authenticated_encryption_is_refused(self):
        pods = self.tls_set(1, **{"bootstrap.attempts": "1"})
        pods.leader.kill()
        follower, files, codes = pods.add(), self.secrets[0], []
        for cipher in "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256":
            command = ["openssl", "s_server", "-accept", f"{pods[0].ip}:9876", "-tls1_2", "-cipher", cipher, "-www",
                       "-cert", str(files / "tls.crt"), "-key", str(files / "tls.key")]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
                self.addCleanup(server.kill)
                wait_until(lambda: socket.create_connection((pods[0].ip, 9876), 1).close() is None, 10, "it listens", pods)
                codes.append(follower.run_init()[0])
                server.kill()
        # The second one is spoken with, and talks nonsense.
        self.assertEqual(codes[0], 77, follower.init.log)
        self.assertNotEqual(codes[1], 77, follower.init.log)

    def test_a_running_follower_stops_believing_and_says_so(self):
        pods = self.tls_set(2, **{"readiness.max_lag": "1s", "readiness.leader_loss": "unready"})
        pods.wait_ready()
        pods[0].server.stop()
        self.secrets[0].write(self.authority.issue("elsewhere.example"))
        pods[0].server.start()
        wait_until(lambda: pods[1].metrics()['seedpod_sync_errors_total{reason="refused"}'] > 0, 20, "refused", pods)
        wait_until(lambda: pods[1].readyz() == 503, 20, "unready", pods)
        # Somebody answers there, but the leader is not heard.
        status = pods[1].status()
        self.assertIn("TLS", status["last_error"]["text"])
        self.assertEqual((status["state"], status["stale"]), ("stale", True))
        age = status["leader_contact_age_seconds"]
        wait_until(lambda: pods[1].status()["leader_contact_age_seconds"] > age + 4, 20, "the silence lasts", pods)


class Clients(TlsTest):
    def test_who_is_let_in(self):
        pods = self.tls_set(1)
        other = authority.Authority(self.dir / "other", "other")
        foreign = self.authority.context(other.issue("client.example"))
        nobody = self.authority.context()
        old = self.authority.context(self.mine, most=ssl.TLSVersion.TLSv1_1)
        leader = pods.leader
        self.assertEqual(leader.put("k", b"v").status, 204)
        self.assertTrue(self.refused(leader, nobody))
        self.assertTrue(self.refused(leader, self.authority.context(most=ssl.TLSVersion.TLSv1_2)))
        self.assertTrue(self.refused(leader, foreign))
        self.assertTrue(self.refused(leader, old))
        self.assertTrue(self.refused(leader, None), "plain HTTP")
        self.assertEqual(leader.server_metrics()["seedpod_server_tls_client_certificates_refused_total"], 3)
        self.assertEqual(leader.get("/v1/kv/k").body, b"v")
        # An exec probe shows the pod's own certificate and knows the pod by its name.
        probe = [str(pods.build / "seedpod-sidecar"), "--probe", f"https://{leader.ip}:9876/status", "--config",
                 str(pods.config_path)]
        done = subprocess.run(probe, capture_output=True, text=True, env=leader.server.environment())
        self.assertEqual((done.returncode, done.stdout), (0, "leader\n"))

    def test_a_new_connection_waits_for_no_acknowledgement(self):
        """Neither handshake nor first answer may wait until a client acknowledges what it need not (40 ms and more)."""
        pods = self.tls_set(1)
        context, took = self.authority.context(self.mine), []
        for _ in range(20):
            began = time.monotonic()
            with socket.create_connection((pods.leader.ip, 9876), 5) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                with context.wrap_socket(plain) as secured:
                    secured.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertIn(b" 200 ", secured.recv(4096))
            took.append(time.monotonic() - began)
        self.assertLess(min(took), 0.03)

    def test_folded_lines_are_refused(self):
        """What comes through TLS is checked as what comes without."""
        pods = self.tls_set(1)
        context = self.authority.context(self.mine)
        put = b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\n"
        good = put + b"Content-Length: 1\r\n\r\nv" + put + b"Transfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n"
        for bad in (put + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", put + b"X: y\0\nContent-Length: 1\r\n\r\nv",
                    put + b"Transfer-Encoding: chunked\r\n\r\n1\nv\r\n0\r\n\r\n"):
            with socket.create_connection((pods.leader.ip, 9876), 10) as plain, context.wrap_socket(plain) as secured:
                secured.sendall(good + bad + put.replace(b"/k", b"/smuggled") + b"Content-Length: 1\r\n\r\nv")
                answer = b""
                while piece := secured.recv(65536):
                    answer += piece
            self.assertEqual(re.findall(rb"HTTP/1\.1 (\d{3}) ", answer), [b"204", b"204", b"400"])
            self.assertEqual(pods.leader.get("/v1/kv/smuggled").status, 404)

    def test_optional_client_certificates(self):
        pods = self.tls_set(1, **{"tls.client_auth": "optional"})
        other = authority.Authority(self.dir / "other", "other")
        self.assertFalse(self.refused(pods.leader, self.authority.context()))
        self.assertFalse(self.refused(pods.leader, self.authority.context(self.mine)))
        self.assertTrue(self.refused(pods.leader, self.authority.context(other.issue("client.example"))))

    def test_min_version(self):
        pods = self.tls_set(1, **{"tls.min_version": "1.3"})
        older = self.authority.context(self.mine, most=ssl.TLSVersion.TLSv1_2)
        newer = self.authority.context(self.mine, least=ssl.TLSVersion.TLSv1_3)
        self.assertTrue(self.refused(pods.leader, older))
        self.assertFalse(self.refused(pods.leader, newer))

    def test_large_bodies_both_ways_at_once(self):
        """More than fits into the buffers of either side, while writes are suspended for their commits."""
        pods = self.tls_set(1)
        rng = support.seeded_random("tls-bodies")
        values = {f"k{i}": support.random_bytes(rng, 1 << 20) for i in range(16)}
        failures = []

        def work(mine):
            try:
                with pods.leader.client() as client:
                    for key in mine:
                        assert client.ask("PUT", f"/v1/kv/{key}", values[key]).status == 204
                        assert client.ask("GET", f"/v1/kv/{key}").body == values[key]
            except Exception as problem:  # noqa: BLE001
                failures.append(repr(problem))

        keys = list(values)
        threads = [threading.Thread(target=work, args=(keys[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_the_sidecars_pages(self):
        pods = self.tls_set(1, **{"sidecar.tls": "on"})
        context = self.authority.context()  # the kubelet has no certificate

        def ready():
            with podset.Client(pods.leader.ip, 9877, 5, tls=context) as client:
                return client.ask("GET", "/readyz").status == 200
        wait_until(ready, 20, "ready over TLS", pods)


class Renewal(TlsTest):
    def serial_at(self, pod):
        context = self.authority.context(self.mine)
        with socket.create_connection((pod.ip, 9876), timeout=10) as plain, context.wrap_socket(plain) as secured:
            return int(secured.getpeercert()["serialNumber"], 16)

    def test_new_files_are_taken_without_losing_a_request(self):
        pods = self.tls_set(2)
        pods.wait_ready()
        leader, failures, count, end = pods.leader, [], [0], threading.Event()

        def load():
            while not end.is_set():
                try:
                    with leader.client() as client:  # a handshake every few requests
                        for _ in range(5):
                            reply = client.ask("PUT", "/v1/kv/k", b"v")
                            count[0] += 1
                            if reply.status != 204:
                                failures.append(reply.status)
                except (OSError, http.client.HTTPException) as problem:
                    failures.append(repr(problem))

        first = self.serial_at(leader)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            with leader.client() as kept:
                self.assertEqual(kept.ask("GET", "/status").status, 200)
                for _ in range(3):
                    before = self.serial_at(leader)
                    self.secrets[0].write(self.authority.issue("store-0.store.example"))
                    wait_until(lambda: self.serial_at(leader) != before, 10, "the new certificate is shown", pods)
                self.assertEqual(kept.ask("GET", "/status").status, 200)
        finally:
            end.set()
            thread.join()
        self.assertGreater(self.serial_at(leader), first)
        self.assertEqual(failures, [])
        self.assertGreater(count[0], 50)
        pods.leader.put("last", b"v")
        pods.wait_equal()

    def test_bad_files_are_refused_and_the_old_ones_stay(self):
        pods = self.tls_set(1)
        leader = pods.leader
        good = self.authority.issue("store-0.store.example")
        serial = self.serial_at(leader)
        expired = self.authority.issue("store-0.store.example", days=0)
        time.sleep(1.1)  # its end is a second, and must have passed
        cases = {
            "does not belong to the certificate": good | {"tls.key": self.mine["tls.key"]},
            "holds no certificate in PEM form": good | {"tls.crt": "nonsense"},
            "[tls] ca": good | {"ca.crt": ""},
            "expired at": expired,
            "No such file": {k: v for k, v in good.items() if k != "tls.key"},
        }
        failures = 0
        for text, files in cases.items():
            with self.subTest(text):
                self.secrets[0].write(files)
                wait_until(lambda t=text: t in leader.server.log, 10, f"the log says {text}", pods)
                metrics = leader.server_metrics()
                self.assertEqual(metrics["seedpod_server_secrets_reload_success"], 0)
                self.assertGreater(metrics["seedpod_server_secrets_reload_failures_total"], failures)
                failures = metrics["seedpod_server_secrets_reload_failures_total"]
                self.assertEqual(self.serial_at(leader), serial)
                check = subprocess.run([str(pods.build / "seedpod-server"), "--check", "--config",
                                        str(pods.config_path)], capture_output=True, text=True,
                                       env=leader.server.environment())
                self.assertEqual(check.returncode, 78, check.stderr)
                self.assertIn(text, check.stderr)
                self.assertIn(f"{self.secrets[0].path}/", check.stderr)
        self.secrets[0].write(good)
        wait_until(lambda: leader.server_metrics()["seedpod_server_secrets_reload_success"] == 1, 10, "good", pods)
        self.assertNotEqual(self.serial_at(leader), serial)

    def test_a_certificate_that_is_not_valid_yet_is_taken_when_it_is(self):
        """The clock of whoever issues certificates may be ahead of this one's."""
        pods = self.tls_set(1)
        leader, serial = pods.leader, self.serial_at(pods.leader)
        self.secrets[0].write(self.authority.issue("store-0.store.example", starts_in=5))
        wait_until(lambda: "not valid before" in leader.server.log, 10, "it is refused", pods)
        self.assertEqual(self.serial_at(leader), serial)
        wait_until(lambda: self.serial_at(leader) != serial, 15, "it is taken", pods)
        metrics = leader.server_metrics()
        self.assertEqual(metrics["seedpod_server_secrets_reload_success"], 1)
        self.assertEqual(metrics["seedpod_server_secrets_reload_failures_total"], 1)


if __name__ == "__main__":
    support.main()
