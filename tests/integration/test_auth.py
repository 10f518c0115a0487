#!/usr/bin/env python3
"""Bearer tokens: which role may ask what, how they change while running, and that no log ever holds one."""

import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import authority  # noqa: E402
import support  # noqa: E402
from support import PodTest, podset, wait_until  # noqa: E402

TOKENS = {role: f"{role}-token-{'x' * 20}" for role in ("read", "write", "peer", "metrics")}
WRONG = "wrong-token-" + "y" * 20

# Who may: (method, path, body) -> the roles that are let in. Everybody else with a token gets 403, without one 401.
SERVER = {
    ("GET", "/status", None): None,
    ("GET", "/status?level=full", None): None,
    ("GET", "/keys", None): {"read", "write"},
    ("GET", "/get/key", None): {"read", "write"},
    ("HEAD", "/get/key", None): {"read", "write"},
    ("PUT", "/set/key", b"v"): {"write"},
    ("GET", "/v1/kv/key", None): {"read", "write"},
    ("HEAD", "/v1/kv/key", None): {"read", "write"},
    ("GET", "/v1/kv", None): {"read", "write"},
    ("PUT", "/v1/kv/key", b"v"): {"write"},
    ("POST", "/v1/batch", b'{"op":"put","key":"other","value":"v"}\n'): {"write"},
    ("DELETE", "/v1/kv/other", None): {"write"},
    ("GET", "/v1/position", None): {"read", "write", "peer"},
    ("GET", "/v1/changes?since=0", None): {"peer"},
    ("GET", "/v1/snapshot", None): {"peer"},
    ("POST", "/v1/handover", b'{"step":"led","to":5}'): {"peer"},
}
SIDECAR = {
    ("GET", "/livez", None): None,
    ("GET", "/readyz", None): None,
    ("GET", "/readyz?verbose", None): None,
    ("GET", "/metrics", None): {"metrics"},
    ("HEAD", "/metrics", None): {"metrics"},
    ("GET", "/status", None): {"metrics"},
}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class AuthTest(PodTest):
    def auth_set(self, replicas=1, tokens=None, **more):
        self.tokens = authority.Volume(self.dir / "tokens")
        self.publish(tokens or TOKENS)
        pods = self.pod_set(0, {"auth.tokens": self.tokens.path, "log.level": "debug"} | more)
        # What the tests' own questions show: a token that may read, write and see the metrics.
        pods.headers = bearer(self.all_of_them)
        pods.scale(replicas)
        wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        return pods

    all_of_them = "test-token-" + "z" * 20

    def publish(self, tokens):
        self.tokens.write({role: f"# {role}\n{token}\n{'' if role == 'peer' else self.all_of_them}\n"
                           for role, token in tokens.items()})

    def assert_no_token_in_logs(self, pods, *more):
        for pod in pods:
            for container in pod.containers.values():
                for token in (*TOKENS.values(), WRONG, self.all_of_them, *more):
                    self.assertNotIn(token, container.log)


class Table(AuthTest):
    def test_every_route_and_role(self):
        pods = self.auth_set(1)
        wait_until(lambda: pods.leader.readyz() == 200, 20, "ready", pods)
        pods.leader.put("key", b"v")
        refused = 0
        for port, table in ((9876, SERVER), (9877, SIDECAR)):
            for (method, path, body), allowed in table.items():
                for who, token in [("nobody", None), ("a stranger", WRONG), *TOKENS.items()]:
                    with self.subTest(f"{who}: {method} {path}"):
                        with podset.Client(pods.leader.ip, port) as client:
                            reply = client.ask(method, path, body, bearer(token) if token else {})
                        if allowed is None or who in allowed:
                            self.assertLess(reply.status, 300)
                            continue
                        refused += 1
                        self.assertEqual(reply.status, 403 if who in TOKENS else 401)
                        challenge = reply.headers["WWW-Authenticate"]
                        error = "" if token is None else ', error="invalid_token"' if token == WRONG else \
                            ', error="insufficient_scope"'
                        self.assertEqual(challenge, f'Bearer realm="seedpod"{error}')
                        if path.startswith("/v1") and method != "HEAD":
                            self.assertEqual(reply.headers.get_content_type(), "application/problem+json")
                            self.assertEqual(reply.json()["status"], reply.status)
        self.assertGreater(refused, 60)
        # What is not there needs no token to be told so.
        for method, path, status in (("GET", "/nothing", 404), ("POST", "/v1/kv/key", 405), ("PUT", "/set/K", 404)):
            with podset.Client(pods.leader.ip, 9876) as client:
                self.assertEqual(client.ask(method, path).status, status)
        metrics = pods.leader.server_metrics()
        self.assertGreater(metrics["seedpod_server_unauthorized_total"], 20)
        self.assertGreater(metrics["seedpod_server_forbidden_total"], 20)
        self.assert_no_token_in_logs(pods)

    def test_other_ways_to_show_it_are_not_taken(self):
        pods = self.auth_set(1)
        token = TOKENS["write"]
        for headers in ({"Authorization": token}, {"Authorization": f"Basic {token}"}, {"Authorization": "Bearer"},
                        {"X-Token": token}, {"Authorization": f"Bearer {token}x"},
                        {"Authorization": f"Bearer {token[:-1]}"}):
            with podset.Client(pods.leader.ip, 9876) as client:
                self.assertEqual(client.ask("PUT", "/v1/kv/k", b"v", headers).status, 401, headers)
                self.assertEqual(client.ask("GET", f"/v1/kv/k?access_token={token}", None, headers).status, 401)

    def test_a_body_without_a_token_takes_no_memory(self):
        """The answer comes before the body where the client waits for it, and nothing of the body is kept."""
        pods = self.auth_set(1)
        with socket.create_connection((pods.leader.ip, 9876), timeout=10) as s:
            s.sendall(b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\nExpect: 100-continue\r\n\r\n")
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 401 "))
        with podset.Client(pods.leader.ip, 9876) as client:
            self.assertEqual(client.ask("PUT", "/v1/kv/k", b"x" * 8_000_000).status, 401)


class Pods(AuthTest):
    def test_peers_show_theirs(self):
        pods = self.auth_set(1)
        pods.leader.load((f"k{i}", "v") for i in range(1000))
        pods.scale(2)
        pods.wait_ready()
        self.assertIn("seeded", pods[1].init.log)
        pods.leader.put("later", b"v")
        pods.wait_equal()
        self.assertEqual(pods[1].put("k", b"v").status, 307)
        self.assertEqual(pods[1].ask("PUT", "/v1/kv/k", b"v", bearer(TOKENS["read"])).status, 403)
        self.assert_no_token_in_logs(pods)
        self.assertIn("clear text", pods.leader.server.log)
        # The lead is handed over between pods that show their tokens.
        pods.edit_config({"replication.leader_ordinal": "1"})
        wait_until(lambda: pods[1].position()["role"] == "leader", 20, "the lead moves", pods)
        pods[1].put("later", b"v")
        pods.wait_equal()
        self.assert_no_token_in_logs(pods)

    def test_changed_while_running(self):
        pods = self.auth_set(2)
        pods.wait_ready()
        new = {role: token.replace("x", "n") for role, token in TOKENS.items()}

        def status(token):
            return pods.leader.ask("GET", "/keys", None, bearer(token)).status

        # Both are good while they are changed; then the old one is not.
        self.tokens.write({role: f"{new[role]}\n{TOKENS[role]}\n{self.all_of_them}\n" for role in TOKENS})
        wait_until(lambda: status(new["read"]) == 200, 10, "the new token is good", pods)
        self.assertEqual(status(TOKENS["read"]), 200)
        self.publish(new)
        wait_until(lambda: status(TOKENS["read"]) == 401, 10, "the old token is not", pods)
        pods.leader.put("k", b"v")
        pods.wait_equal()
        # A bad file changes nothing.
        self.tokens.write({"read": "short\n"})
        wait_until(lambda: "token files refused" in pods.leader.server.log, 10, "refused", pods)
        self.assertEqual(status(new["read"]), 200)
        self.assertEqual(pods.leader.server_metrics()["seedpod_server_secrets_reload_success"], 0)
        self.assert_no_token_in_logs(pods, *new.values())

    def test_a_peers_token_is_changed_while_pods_have_it_at_different_times(self):
        """The kubelets bring a Secret's new files within about a minute: a pod shows no token that others lack yet."""
        old, new = TOKENS["peer"], TOKENS["peer"].replace("x", "n")
        pods = self.pod_set(0, {"auth.tokens": f"{self.dir}/tokens/{{name}}"})
        pods.headers = bearer(self.all_of_them)
        folders = [authority.Volume(self.dir / "tokens" / f"store-{i}") for i in range(2)]
        everybody = {"write": self.all_of_them, "metrics": self.all_of_them}
        for folder in folders:
            folder.write(everybody | {"peer": old})
        pods.scale(2)
        pods.wait_ready()
        for step, (which, peer) in enumerate([(1, f"{old}\n{new}"), (0, f"{old}\n{new}"), (1, new), (0, new)], 1):
            log = pods[which].sidecar if which else pods[which].server
            before = log.log.count("tokens renewed")
            folders[which].write(everybody | {"peer": peer})
            wait_until(lambda log=log, before=before: log.log.count("tokens renewed") > before, 10, "renewed", pods)
            pods.leader.put(f"k{step}", b"v")
            pods.wait_equal()
        self.assertEqual(pods[1].metrics()['seedpod_sync_errors_total{reason="refused"}'], 0)

    def test_a_peer_without_the_token_is_told_so(self):
        pods = self.auth_set(1, **{"bootstrap.attempts": "1"})
        pods.leader.put("k", b"v")
        other = authority.Volume(self.dir / "other")
        other.write({"peer": WRONG + "\n"})
        follower = pods.add()
        follower.environment = {"SEEDPOD_AUTH_TOKENS": str(other.path)}
        code, log = follower.run_init()
        self.assertEqual(code, 77, log)
        self.assertIn("status 401", log)
        self.assertNotIn(WRONG, log)
        self.assertFalse(follower.store_dir.exists())

    def test_without_tokens_the_server_says_so_once(self):
        pods = self.pod_set(1)
        self.assertEqual(pods.leader.server.log.count("anyone who reaches this port may read and write"), 1)
        self.assertNotIn("anyone who reaches", pods.leader.sidecar.log)

    def test_without_metrics_tokens_the_metrics_are_open(self):
        pods = self.auth_set(1, {k: v for k, v in TOKENS.items() if k != "metrics"})
        with podset.Client(pods.leader.ip, 9877) as client:
            wait_until(lambda: client.ask("GET", "/metrics").status == 200, 10, "metrics", pods)


if __name__ == "__main__":
    support.main()
