#!/usr/bin/env python3
"""Mode raft behind doors: members that ask one another with mutual TLS and tokens, and what the raft port takes."""

import os
import pathlib
import random
import re
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


# Messages of mode raft as libraft writes them: a head of type and size, numbers of eight bytes, and what follows.
APPEND, APPEND_RESULT, REQUEST_VOTE, VOTE_RESULT, INSTALL, TIMEOUT_NOW = range(1, 7)


def message(kind, *numbers, more=b"", size=None):
    body = struct.pack(f"<{len(numbers)}Q", *numbers) + more
    return struct.pack("<QQ", kind, len(body) if size is None else size) + body


def entry_head(term, kind, size):
    return struct.pack("<QBxxxI", term, kind, size)


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

    def open_cluster(self, replicas=3):
        """A set without TLS and without a secret."""
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pods.scale(replicas)
        self.wait_voters(pods, replicas)
        pods.wait_ready()
        return pods

    def send_as(self, pod, sender, *messages):
        """Connect to the pod's raft port as the member `sender`, send these; whether the connection was closed."""
        hello = f"{sender.ip}:{podset.RAFT_PORT} {sender.position()['cluster']}"
        member = int(sender.position()["raft"]["id"])
        with socket.create_connection((pod.ip, podset.RAFT_PORT), timeout=5) as s:
            try:
                s.sendall(struct.pack("<QQQ", 1, member, len(hello) + 1) + hello.encode() + b"\0")
                for each in messages:
                    s.sendall(each)
                s.settimeout(3)
                while s.recv(64):
                    pass
                return True
            except TimeoutError:
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True

    def assert_unharmed(self, pods, pids):
        """The same processes run, they have a leader that takes writes, and no term is beyond reason."""
        wait_until(lambda: pods.leader is not None and pods.leader.put("unharmed", b"v").status == 204, 15,
                   "a leader takes writes", pods)
        for pod, pid in zip(pods, pids):
            self.assertTrue(pod.server.running, f"{pod.name}: {pod.server.log[-2000:]}")
            self.assertEqual(pod.server.pid, pid, f"{pod.name} has started again")
            self.assertLess(pod.position()["raft"]["term"], 1000)
            self.assertGreater(pod.position()["raft"]["term"], 0)

    def attack(self, make):
        """Send each member what make(pod, term) gives, in another's name: it closes the connection, and lives."""
        pods = self.open_cluster()
        pids = [pod.server.pid for pod in pods]
        for pod in pods:
            other = next(each for each in pods if each is not pod)
            self.assertTrue(self.send_as(pod, other, *make(pod.position()["raft"]["term"])), pod.name)
        self.assert_unharmed(pods, pids)
        for pod in pods:
            self.assertGreaterEqual(pod.server_metrics()["seedpod_raft_messages_refused_total"], 1)
            self.assertIn("a message at the raft port is refused", pod.server.log)
            pod.restart("server")
        wait_until(lambda: pods.leader is not None and pods.leader.put("again", b"v").status == 204, 20,
                   "after a restart of all", pods)

    def test_an_append_whose_header_ends_before_its_entries_harms_nobody(self):
        self.attack(lambda term: [message(APPEND, term, 0, 0, 0, 5, size=40)])

    def test_an_append_that_announces_a_terabyte_harms_nobody(self):
        # The size of an entry has 32 bits: a terabyte is 256 entries of nearly 4 GiB each.
        heads = entry_head(1, 1, 0xfffffff8) * 256
        self.attack(lambda term: [message(APPEND, term, 0, 0, 0, 256, more=heads + bytes(8)), bytes(1 << 16)])

    def test_a_message_that_announces_a_terabyte_of_header_harms_nobody(self):
        self.attack(lambda term: [struct.pack("<QQ", APPEND, 1 << 40), bytes(1 << 16)])

    def test_a_vote_in_the_last_term_harms_nobody(self):
        self.attack(lambda term: [message(REQUEST_VOTE, 2**64 - 1, 1, 1 << 30, term, 1)])

    def random_message(self, rng, position):
        """A message that is mostly well-formed: what is wrong with it is its numbers, or a few of its bytes."""
        raft = position["raft"]

        def term():
            return max(0, raft["term"] + rng.choice((0, 0, 0, 0, 0, -1, 1)))

        def index():
            return max(0, rng.choice((0, 1, raft["commit"], raft["commit"] + rng.randrange(-3, 4), 2**62, 10**6)))

        def entry(kind):
            body = {1: struct.pack("<BBBxIQQ", 1, rng.choice((1, 1, 1, 2, 3)), rng.randrange(4), 1, raft["term"], 0) +
                    struct.pack("<BxHI", rng.randrange(2), 3, 5) + b"keyvalue", 2: bytes(8),
                    3: (b"\1" + struct.pack("<QQ", 1, rng.choice((1, 7 << 16 | 1))) + b"a:1\0" + bytes(40))[:32]}[kind]
            return entry_head(term(), kind, len(body)), body

        kind = rng.choice((APPEND, APPEND, APPEND, APPEND_RESULT, REQUEST_VOTE, VOTE_RESULT, INSTALL, TIMEOUT_NOW))
        if kind == APPEND:
            entries = [entry(rng.randrange(1, 4)) for _ in range(rng.randrange(4))]
            made = message(kind, term(), index(), term(), index(), len(entries),
                           more=b"".join(head for head, _ in entries) + bytes(8)) + b"".join(b for _, b in entries)
        elif kind == REQUEST_VOTE:
            made = message(kind, term(), self.member, index(), term(), rng.randrange(4))
        elif kind == INSTALL:
            conf = b"\1" + struct.pack("<QQ", 1, self.member) + b"a:1\0\1" + bytes(2)
            made = message(kind, term(), index(), term(), index(), len(conf),
                           more=conf + struct.pack("<QQ", 16, 0)) + b'{"applied": 1}\0\0'
        else:
            made = message(kind, *(rng.choice((term, index, lambda: rng.randrange(2)))() for _ in range(3)))
        made = bytearray(made)
        if rng.randrange(4) == 0:
            made[rng.randrange(len(made))] = rng.randrange(256)
        return bytes(made)

    def test_no_message_of_a_forger_ends_a_member(self):
        # A forger may lie: depose the leader, have a follower think that it needs a seed. Nobody's process ends by it.
        pods = self.open_cluster()
        seed = int(os.environ.get("SEEDPOD_TEST_SEED", random.randrange(2**32)))
        print(f"SEEDPOD_TEST_SEED={seed}")
        rng = random.Random(seed)
        pids = [pod.server.pid for pod in pods]
        for pod in pods:
            position = pod.position()
            other = next(each for each in pods if each is not pod)
            self.member = int(other.position()["raft"]["id"])
            hello = f"{other.ip}:{podset.RAFT_PORT} {position['cluster']}".encode() + b"\0"
            for _ in range(300):
                with socket.create_connection((pod.ip, podset.RAFT_PORT), timeout=5) as s:
                    s.sendall(struct.pack("<QQQ", 1, self.member, len(hello)) + hello)
                    try:
                        for _ in range(8):
                            s.sendall(self.random_message(rng, position))
                        s.shutdown(socket.SHUT_WR)
                        while s.recv(64):  # until it has looked at all of them, or refused one
                            pass
                    except (ConnectionResetError, BrokenPipeError, OSError):
                        pass
                if rng.randrange(30) == 0:
                    position = pod.position()
        for pod, pid in zip(pods, pids):
            self.assertTrue(pod.server.running, f"{pod.name}: {pod.server.log[-2000:]}")
            self.assertEqual(pod.server.pid, pid, f"{pod.name} has started again: {pod.server.exits}")
            self.assertGreater(pod.server_metrics()["seedpod_raft_messages_refused_total"], 30)
            self.assertLess(pod.position()["raft"]["term"], 2**62)

    def test_with_a_secret_the_raft_port_is_for_those_who_know_it(self):
        first, second, other = ("s" * 20, "t" * 20, "u" * 20)
        self.secrets = [authority.Volume(self.dir / "secrets" / f"store-{i}") for i in range(3)]
        for each in self.secrets:
            each.write({"secret": first + "\n"})
        pods = self.pod_set(0, {"replication.mode": "raft", "raft.secret_file": f"{self.dir}/secrets/{{name}}/secret"})
        for i in range(3):
            pods.add().environment["SEEDPOD_RAFT_SECRET_FILE"] = f"{self.dir}/secrets/store-{i}/secret"
        pods.scale(3)
        self.wait_voters(pods, 3)
        pods.wait_ready()
        self.assertEqual(pods.leader.put("key", b"v").status, 204)
        for pod in pods:
            self.assertNotIn("any program that reaches the raft port", pod.server.log)
        # A forger without it says what it likes: it is not heard.
        victim = next(pod for pod in pods if pod is not pods.leader)
        strangers = victim.server_metrics()["seedpod_raft_strangers_total"]
        self.assertTrue(self.send_as(victim, pods.leader, message(REQUEST_VOTE, 2**33, 1, 1 << 30, 1, 1)))
        self.assertGreater(victim.server_metrics()["seedpod_raft_strangers_total"], strangers)
        self.assertEqual(victim.server_metrics()["seedpod_raft_messages_refused_total"], 0)
        self.assertIn("it has no [raft] secret_file, and this member has one", victim.server.log)
        # Another one is brought in while they run: beside the first, before it, and then alone.
        def renew(text):
            renewals = [pod.server.log.count("secret renewed") for pod in pods]
            for each in self.secrets:
                each.write({"secret": text})
            for pod, before in zip(pods, renewals):
                wait_until(lambda: pod.server.log.count("secret renewed") > before, 10, "it is read", pods)
            late = next(pod for pod in pods if pod is not pods.leader)
            late.restart("server")
            self.assertEqual(pods.leader.put("key", text.encode()).status, 204)
            pods.wait_equal()
        for text in (f"{first}\n{second}\n", f"{second}\n{first}\n", f"{second}\n"):
            renew(text)
        # A member with another one takes no part, and says why; with the right one it does again.
        late = next(pod for pod in pods if pod is not pods.leader)
        self.secrets[late.ordinal].write({"secret": other + "\n"})
        late.restart("server")
        wait_until(lambda: "is [raft] secret_file the same there?" in late.server.log or any(
            "it does not know the secret of [raft] secret_file" in pod.server.log for pod in pods), 20, "who has another secret is refused", pods)
        self.assertEqual(pods.leader.put("key", b"without it").status, 204)
        self.assertFalse(late.position()["raft"]["leader_known"])
        self.secrets[late.ordinal].write({"secret": second + "\n"})
        pods.wait_equal()
        for pod in pods:
            for secret in (first, second, other):
                self.assertNotIn(secret, pod.server.log)

    def test_without_tls_and_a_secret_the_server_says_once_what_that_means(self):
        pods = self.pod_set(0, {"replication.mode": "raft"})
        pod = pods.add()
        pod.start_serving()
        lines = [line for line in pod.server.log.splitlines() if "any program that reaches the raft port" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("level=warn", lines[0])

    def test_a_name_that_cannot_be_resolved_is_the_reason_for_having_no_leader(self):
        # Each server has a hosts file of ours, and a name server that nobody runs.
        if os.geteuid() != 0:
            self.skipTest("needs root, to put a hosts file over the machine's")
        hosts, servers = self.dir / "hosts", self.dir / "resolv.conf"
        servers.write_text("nameserver 127.255.255.254\noptions timeout:1 attempts:1\n")
        net = f"127.0.{support.octet()}"
        names = "".join(f"{net}.{i} store-{i}.seedpod.example\n" for i in range(3))
        hosts.write_text("127.0.0.1 localhost\n" + names)
        pods = self.pod_set(0, {"replication.mode": "raft", "raft.peer": "{name}.seedpod.example:9875"})
        script = f'mount --bind {hosts} /etc/hosts && mount --bind {servers} /etc/resolv.conf && exec "$@"'
        for _ in range(3):
            pods.add().server.wrap = ["unshare", "--mount", "sh", "-c", script, "sh"]
        pods.scale(3)
        self.wait_voters(pods, 3)
        pods.wait_ready()
        hosts.write_text("127.0.0.1 localhost\n")
        for pod in pods:
            pod.server.kill()
        for pod in pods:
            pod.server.start()
        for pod in pods:
            wait_until(lambda: "seedpod.example cannot be resolved" in pod.ask_sidecar("/readyz?verbose").text(), 30,
                       f"{pod.name} says which name", pods)
            wait_until(lambda: re.search("the name store-[0-2].seedpod.example cannot be resolved", pod.server.log), 30,
                       "so does its log", pods)
        hosts.write_text("127.0.0.1 localhost\n" + names)
        wait_until(lambda: pods.leader.put("key", b"v").status == 204, 30, "a leader takes writes again", pods)
        pods.wait_ready()
        for pod in pods:
            self.assertNotIn("unresolved", pod.position()["raft"])

    def test_followers_are_connected_to_one_another_before_they_lead(self):
        pods = self.open_cluster()

        def connected_to(pod):
            """The pods whose raft port this one's server has a connection to."""
            ends = set()
            for link in pathlib.Path(f"/proc/{pod.server.pid}/fd").iterdir():
                try:
                    ends.add(os.readlink(link))
                except FileNotFoundError:
                    pass  # closed meanwhile
            rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
            to = {row[2] for row in rows if row[3] == "01" and f"socket:[{row[9]}]" in ends}
            return {each.name for each in pods if struct.pack("<I", int.from_bytes(socket.inet_aton(each.ip), "big"))
                    .hex().upper() + f":{podset.RAFT_PORT:04X}" in to}

        def all_connected():
            return all(connected_to(pod) == {each.name for each in pods if each is not pod} for pod in pods)

        wait_until(all_connected, 10, "each has a connection to each", pods)
        late = next(pod for pod in pods if pod is not pods.leader)
        late.restart("server")
        wait_until(all_connected, 10, "also to one that has started again", pods)

    def test_a_connection_to_a_member_that_is_gone_is_closed(self):
        # What is left in CLOSE-WAIT swallows the first messages to a pod that came back at another address.
        pods = self.open_cluster()

        def left_half_open(pod):
            ends = set()
            for link in pathlib.Path(f"/proc/{pod.server.pid}/fd").iterdir():
                try:
                    ends.add(os.readlink(link))
                except FileNotFoundError:
                    pass  # closed meanwhile
            lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
            return [line for line in lines if line.split()[3] == "08" and f"socket:[{line.split()[9]}]" in ends and
                    line.split()[2].endswith(f":{podset.RAFT_PORT:04X}")]

        gone = pods.leader
        rest = [pod for pod in pods if pod is not gone]
        gone.stop()  # it hands over, and a follower has nothing to say to it any more
        pods.elected(pods=rest)
        for pod in rest:
            wait_until(lambda: not left_half_open(pod), 10, f"{pod.name} has let go of the connections", pods)

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
        for what, greeting in (("another version", head(3, 9, 8) + b"a:1\0\0\0\0\0"),
                               ("a proof to come", head(2, 9, len(hello) + 1) + hello + b"\0" + bytes(32)),
                               ("id 0", head(1, 0, len(hello) + 1) + hello + b"\0"),
                               ("nothing follows", head(1, 9, 0)),
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
