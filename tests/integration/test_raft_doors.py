#!/usr/bin/env python3
"""Mode raft behind doors: members that ask one another with mutual TLS and tokens, and what the raft port takes."""

import os
import pathlib
import socket
import ssl
import struct
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import authority  # noqa: E402
import support  # noqa: E402
from support import PodTest, podset, wait_until  # noqa: E402

TOKENS = {role: f"{role}-token-{'x' * 20}" for role in ("read", "write", "peer", "metrics")}
ALL = "test-token-" + "z" * 20


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Doors(PodTest):
    def cluster(self, replicas=3, **more):
        """A set whose members show one another certificates and tokens."""
        support.need("openssl")
        self.authority = authority.Authority(self.dir / "authority")
        tokens = authority.Volume(self.dir / "tokens")
        tokens.write({role: f"{token}\n{ALL}\n" for role, token in TOKENS.items()})
        self.secrets = [authority.Volume(self.dir / "secrets" / f"store-{i}") for i in range(replicas)]
        for i in range(replicas):
            self.secrets[i].write(self.authority.issue(f"store-{i}.store.example"))
        secrets = f"{self.dir}/secrets/{{name}}"
        pods = self.pod_set(0, {
            "replication.mode": "raft",
            "pod.peer_url": f"https://127.0.{support.octet()}.{{ordinal}}:9876",
            "tls.cert": f"{secrets}/tls.crt",
            "tls.key": f"{secrets}/tls.key",
            "tls.ca": f"{secrets}/ca.crt",
            "tls.client_auth": "require",
            "tls.peer_name": "{name}.store.example",
            "auth.tokens": tokens.path,
        } | more)
        pods.tls = self.authority.context(self.authority.issue("client.example"))
        pods.headers = bearer(ALL)
        pods.scale(replicas)
        self.wait_voters(pods, replicas)
        pods.wait_ready()
        return pods

    def wait_voters(self, pods, count):
        def all_vote():
            members = pods.leader.get("/v1/members").json()["members"]
            return [m["role"] for m in members] == ["voter"] * count
        wait_until(all_vote, 30, f"{count} members vote", pods)

    def write(self, pods, pod, key, value, token):
        """At any member, following one redirect as curl --location-trusted does."""
        reply = pod.ask("PUT", f"/v1/kv/{key}", value, bearer(token))
        if reply.status == 307:
            to = urllib.parse.urlsplit(reply.headers["Location"])
            self.assertEqual((to.scheme, to.path), ("https", f"/v1/kv/{key}"))
            with podset.Client(to.hostname, to.port, tls=pods.tls, headers=pods.headers) as client:
                reply = client.ask("PUT", to.path, value, bearer(token))
        return reply.status

    def test_members_found_join_elect_read_and_are_seeded_behind_tls_and_tokens(self):
        pods = self.cluster(3, **{"raft.trailing": "16", "raft.snapshot_every": "16"})
        for pod in pods:
            self.assertEqual(self.write(pods, pod, f"by-{pod.ordinal}", b"v", TOKENS["write"]), 204)
            for other in pods:
                reply = other.ask("GET", f"/v1/kv/by-{pod.ordinal}?consistency=linearizable", None,
                                  bearer(TOKENS["read"]))
                self.assertEqual((reply.status, reply.body), (200, b"v"), other.name)
        # Who may do what: members are changed by peers alone.
        leader = pods.leader
        for role, method, path, status in (("read", "GET", "/v1/members", 200), ("write", "DELETE", "/v1/members/9", 403),
                                           ("read", "PUT", "/key", 403), ("peer", "DELETE", "/v1/members/9", 404),
                                           ("peer", "PUT", "/key", 403), ("write", "DELETE", "/9", 403)):
            self.assertEqual(leader.ask(method, path, b"v" if method == "PUT" else None, bearer(TOKENS[role])).status,
                             status, (role, method, path))
        with podset.Client(leader.ip, 9876, tls=pods.tls) as client:
            self.assertEqual(client.ask("GET", "/v1/members").status, 401)
        # A member that the log does not reach back to is seeded again in its running pod.
        late = next(pod for pod in pods if pod is not leader)
        late.stop()
        with leader.client() as client:
            for n in range(100):
                self.assertEqual(client.ask("PUT", f"/v1/kv/key-{n}", b"value").status, 204)
        late.start()
        wait_until(lambda: late.status()["reseeds"] == 1, 30, "it was seeded again", pods)
        pods.wait_ready()
        # The leader goes: another is elected, with a volume that was lost the third is seeded by init and joins anew.
        leader.kill()
        pods.elected(pods=[pod for pod in pods if pod is not leader])
        self.assertEqual(self.write(pods, pods.leader, "after", b"v", TOKENS["write"]), 204)
        leader.delete_volume()
        leader.start()
        self.assertIn("action=seed", leader.init.log)
        self.wait_voters(pods, 3)
        pods.wait_ready()
        position = pods.wait_equal()
        self.assertEqual(position["keys"], 104)
        # A fourth is announced by an https URL.
        announced = f"https://127.0.{support.octet()}.3:9876".encode()
        self.assertEqual(pods.leader.ask("POST", "/4", announced, bearer(TOKENS["peer"])).status, 204)
        self.assertEqual(pods.leader.ask("DELETE", "/4", None, bearer(TOKENS["peer"])).status, 204)
        for pod in pods:
            for token in (*TOKENS.values(), ALL):
                self.assertNotIn(token, pod.server.log + pod.sidecar.log + pod.init.log)

    def greet(self, pod, member_id, hello, tls=None):
        """Connect to the raft port as a member of that id; whether one is let in."""
        with socket.create_connection((pod.ip, podset.RAFT_PORT), timeout=2) as s:
            try:
                if tls:
                    s = tls.wrap_socket(s)
                s.sendall(struct.pack("<QQQ", 1, member_id, len(hello) + 1) + hello.encode() + b"\0")
                s.settimeout(1.5)
                while s.recv(64):  # an alert, perhaps
                    pass
                return False
            except TimeoutError:
                return True
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
                return False
            finally:
                s.close()

    def test_behind_tls_the_raft_port_is_for_members_alone(self):
        pods = self.cluster(2)
        pod, other = pods.leader, next(pod for pod in pods if pod is not pods.leader)
        cluster, member = pod.position()["cluster"], int(other.position()["raft"]["id"])
        name, hello = f"{other.name}.store.example", f"{other.ip}:{podset.RAFT_PORT} {cluster}"
        stranger = authority.Authority(self.dir / "stranger")
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        refused = (
                ("of a client", self.authority.issue("client.example")),
                ("of another member", self.authority.issue(f"{pod.name}.store.example")),
                ("good for clients alone", self.authority.issue(name, usage="clientAuth")),
                ("of another authority", stranger.issue(name) | {"ca.crt": self.authority.crt.read_text()}),
                ("that has expired", self.authority.issue(name, days=0)))
        time.sleep(1.1)  # the second in which that one ended
        for what, files in refused:
            with self.subTest(what):
                self.assertFalse(self.greet(pod, member, hello, self.authority.context(files)))
        self.assertFalse(self.greet(pod, member, hello, anybody))
        self.assertFalse(self.greet(pod, member, hello))
        own = self.authority.context(self.authority.issue(name))
        self.assertTrue(self.greet(pod, member, hello, own))
        self.assertFalse(self.greet(pod, member, f"{other.ip}:9 00000000-0000-4000-8000-000000000000", own))
        self.assertFalse(self.greet(pod, member + 1, hello, own), "another number")
        self.assertGreaterEqual(pod.server_metrics()["seedpod_raft_strangers_total"], 8)
        self.assertIn("a stranger at the raft port is refused", pod.server.log)
        self.assertEqual(pod.put("key", b"w").status, 204)

    def test_a_member_whose_certificate_is_refused_takes_no_part_until_it_is_renewed(self):
        pods = self.cluster(3)
        late = next(pod for pod in pods if pod is not pods.leader)
        secret = self.secrets[late.ordinal]
        stranger = authority.Authority(self.dir / "stranger")
        files = stranger.issue(f"{late.name}.store.example")
        secret.write(files | {"ca.crt": files["ca.crt"] + self.authority.crt.read_text()})
        late.restart("server")
        for n in range(40):
            self.assertEqual(pods.leader.put(f"key-{n}", b"v" * 100000).status, 204)
        wait_until(lambda: "a member cannot be talked to at its raft port" in pods.leader.server.log, 20,
                   "the leader says why", pods)
        position = late.ask_control("GET", "/position").json()
        self.assertFalse(position["raft"]["leader_known"], position)
        self.assertLess(position["seq"], 40)
        secret.write(self.authority.issue(f"{late.name}.store.example"))
        pods.wait_equal()
        pods.wait_ready()

    def test_a_minority_that_speaks_no_tls_takes_no_part_and_stops_nobody(self):
        pods = self.cluster(3)
        plain = next(pod for pod in pods if pod is not pods.leader)
        plain.environment |= {"SEEDPOD_TLS_CERT": "", "SEEDPOD_TLS_KEY": "", "SEEDPOD_TLS_CLIENT_AUTH": "none"}
        plain.restart("server")
        wait_until(lambda: "TLS handshake: the other side has closed the connection" in pods.leader.server.log, 20,
                   "the leader says why", pods)
        wait_until(lambda: any("An unexpected TLS packet was received" in pod.server.log for pod in pods), 20,
                   "who speaks no TLS is refused", pods)
        self.assertIn("what it says is no greeting of a member", plain.server.log)
        self.assertEqual(pods.leader.put("key", b"v").status, 204)
        plain.environment.clear()
        plain.restart("server")
        pods.wait_equal()
        pods.wait_ready()

    def test_members_that_have_nothing_to_say_sleep(self):
        def seconds(pod):
            fields = pathlib.Path(f"/proc/{pod.server.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        pods = self.cluster(3)
        time.sleep(1)
        before = [seconds(pod) for pod in pods]
        time.sleep(3)
        for pod, spent in zip(pods, before):
            self.assertLess(seconds(pod) - spent, 0.3, f"{pod.name}: seconds of the processor, in three")

    def test_what_is_no_greeting_is_refused(self):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        pod.start_serving()
        wait_until(lambda: pod.put("key", b"v").status == 204, 20, "it leads", pods)
        hello = f"{pod.ip}:9 {pod.position()['cluster']}".encode()

        def is_closed(greeting, end=False):
            with socket.create_connection((pod.ip, podset.RAFT_PORT), timeout=10) as s:
                s.sendall(greeting)
                if end:
                    s.shutdown(socket.SHUT_WR)
                try:
                    return s.recv(1) == b""
                except ConnectionResetError:
                    return True

        head = struct.Struct("<QQQ").pack
        for what, greeting in (("another version", head(2, 9, 8) + b"a:1\0\0\0\0\0"), ("nothing follows", head(1, 9, 0)),
                               ("too much follows", head(1, 9, 1 << 20)), ("all bits", b"\xff" * 24),
                               ("no end", head(1, 9, 320) + b"a" * 320), ("HTTP", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
                               ("another's", head(1, 9, 8) + b"a:1 b\0\0\0"),
                               ("only spaces", head(1, 9, 8) + b"       \0")):
            with self.subTest(what):
                self.assertTrue(is_closed(greeting))
        whole = head(1, 9, len(hello) + 1) + hello + b"\0"
        for cut in (0, 1, 23, 24, 25, len(whole) - 1):
            self.assertTrue(is_closed(whole[:cut], end=True), cut)
        self.assertEqual(pod.put("key", b"w").status, 204)

    def test_who_says_nothing_at_the_raft_port_is_given_up(self):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        pod.start_serving()
        wait_until(lambda: pod.put("key", b"v").status == 204, 20, "it leads", pods)
        def descriptors():
            return len(os.listdir(f"/proc/{pod.server.pid}/fd"))

        before = descriptors()
        silent = [socket.create_connection((pod.ip, podset.RAFT_PORT), timeout=2) for _ in range(300)]
        wait_until(lambda: descriptors() > before, 5, "they are taken", pods)
        self.assertLessEqual(descriptors(), before + 80)
        self.assertEqual(pod.put("key", b"w").status, 204)
        wait_until(lambda: descriptors() < before + 10, 20, "they are given up", pods)
        for s in silent:
            s.close()

    def test_members_of_another_cluster_are_refused_at_the_raft_port(self):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        pod.start_serving()
        wait_until(lambda: pod.put("key", b"v").status == 204, 20, "it leads", pods)
        position = pod.position()
        ours, number = position["cluster"], int(position["raft"]["id"])
        stranger, at = 7 << 16 | 9, f"{pod.ip}:9"
        self.assertFalse(self.greet(pod, stranger, f"{at} 00000000-0000-4000-8000-000000000000"))
        self.assertFalse(self.greet(pod, stranger, at))
        self.assertFalse(self.greet(pod, number, f"{at} 00000000-0000-4000-8000-000000000000"))
        self.assertTrue(self.greet(pod, stranger, f"{at} {ours}"))
        self.assertTrue(self.greet(pod, number, at))
        self.assertIn("a stranger at the raft port is refused", pod.server.log)
        self.assertEqual(pod.put("key", b"w").status, 204)


if __name__ == "__main__":
    support.main()
