#!/usr/bin/env python3
"""The crash matrix's rows of mode raft and of TLS: founding, joining, leaving, cutting the log, seeding a member again.

`make crash-matrix` runs all rows; `make test` one row of some scenarios, others each time.
"""

import http.client
import pathlib
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import test_crash_matrix as matrix  # noqa: E402
from test_crash_matrix import ALL, FAULTS, NEW, OLD, Crash, content, support  # noqa: E402

sys.path.insert(0, str(support.ROOT / "tests" / "integration"))

import authority  # noqa: E402
from support import podset, wait_until  # noqa: E402

SCENARIOS = 3  # of this file, that `make test` takes a row of
MINE = ("found a cluster", "take a member in, in the leader", "join a cluster, in the member",
        "take a member out, in the leader", "come back after having been taken out", "cut the log",
        "be seeded again as a member", "take new certificates")


class Rows(Crash):
    _chosen = None

    def choose(self, scenario):
        """`make test` leaves most scenarios out."""
        if Rows._chosen is None:
            Rows._chosen = MINE if ALL else self.rng().sample(MINE, SCENARIOS)
        if scenario not in Rows._chosen:
            self.skipTest("another time: make crash-matrix runs all")
        return scenario


class Members(Rows):
    """Two pods without their sidecars. What a row needs of the past is in volumes that were kept."""

    wanted = {1: "voter", 2: "voter"}  # the members once both are in

    def setting(self, config=None, pods=2):
        self.pods = self.pod_set(0, {"replication.mode": "raft"} | (config or {}), build=FAULTS)
        self.leader = self.pods.add()
        self.leader.start_serving()
        self.leader.sidecar.stop()
        self.leads(self.leader)
        self.leader.load((f"key-{n:03d}", f"value {n}") for n in range(200))
        self.data = content(self.leader)
        self.victims = [self.leader]
        if pods == 2:
            self.other = self.pods.add()
            self.victims = [self.leader, self.other]

    def keep(self, name):
        """All volumes as they are; the pods are stopped for it."""
        for pod in self.pods:
            pod.stop()
        return {pod: self.keep_volume(pod, f"{name}-{pod.ordinal}") for pod in self.pods}

    def put(self, volumes):
        for pod in self.pods:
            pod.kill()
            self.put_volume(pod, volumes.get(pod))

    def leads(self, pod):
        wait_until(lambda: matrix.has_applied(pod), 20, f"{pod.name} leads", self.pods)

    def roles(self):
        return {m["number"]: m["role"] for m in self.pods.elected().get("/v1/members").json()["members"]}

    def join(self):
        """The other pod is seeded, starts and is taken in."""
        self.init_done(self.other)
        self.serving(self.other)
        self.both_in()

    def both_in(self):
        wait_until(lambda: self.roles() == self.wanted, 30, "both are in", self.pods)

    def check_both(self):
        """Both are in, hold the data, and take writes."""
        self.both_in()
        self.pods.wait_equal()
        for pod in self.pods:
            self.assertEqual(content(pod), self.data)
        self.assertEqual(self.pods.elected().put("after", b"value").status, 204)
        return NEW

    def test_found(self):
        scenario = self.choose("found a cluster")
        self.setting(pods=1)
        self.leader.kill()

        def run(point):
            self.put_volume(self.leader, None)
            self.init_done(self.leader)
            self.start_server(self.leader, self.fault(point))
            self.killed(self.leader.server)
            before = self.check_offline(self.leader)["cluster"]
            self.serving(self.leader)
            self.leads(self.leader)
            self.assertEqual(self.leader.put("key", b"value").status, 204)
            position = self.leader.position()
            self.assertEqual((position["cluster"], position["keys"]), (before, 1))
            self.assertEqual(self.roles(), {1: "voter"})
            self.leader.kill()
            return NEW, ""
        self.each(scenario, run)

    def test_take_in(self):
        scenario = self.choose("take a member in, in the leader")
        self.setting()
        alone = self.keep("alone")

        def run(point):
            self.put({self.leader: alone[self.leader]})
            self.start_server(self.leader, self.fault(point))
            self.leads(self.leader)
            self.init_done(self.other)
            self.start_server(self.other)
            self.killed(self.leader.server)
            self.serving(self.leader)
            return self.check_both(), ""
        self.each(scenario, run)

    def test_join(self):
        scenario = self.choose("join a cluster, in the member")
        self.setting()
        alone = self.keep("alone")

        def run(point):
            self.put({self.leader: alone[self.leader]})
            self.serving(self.leader)
            self.leads(self.leader)
            self.init_done(self.other)
            self.start_server(self.other, self.fault(point))
            self.killed(self.other.server)
            self.serving(self.other)
            return self.check_both(), ""
        self.each(scenario, run)

    def test_take_out(self):
        scenario = self.choose("take a member out, in the leader")
        self.setting()
        self.join()
        both = self.keep("both")

        def run(point):
            self.put(both)
            fault = self.fault(point, armed=False)
            for pod in self.pods:
                self.start_server(pod, fault)
            leader = self.pods.elected()
            other = next(pod for pod in self.pods if pod is not leader)
            self.arm()
            with self.assertRaises((OSError, http.client.HTTPException)):
                leader.ask("DELETE", f"/v1/members/{other.ordinal + 1}")
            self.killed(leader.server)
            self.serving(leader)
            elected = self.pods.elected()
            wait_until(lambda: elected.get("/v1/kv/key-000?consistency=linearizable").status == 200, 20, "it reads",
                       self.pods)
            found = OLD if len(self.roles()) == 2 else NEW
            if found == NEW:
                self.assertEqual(other.server.wait(20), 0)
            self.assertEqual(content(leader), self.data)
            return found, f"{len(self.roles())} members"
        self.each(scenario, run)

    def test_come_back(self):
        scenario = self.choose("come back after having been taken out")
        # One voter, so that it is the other that is taken out.
        self.wanted = {1: "voter", 2: "standby"}
        self.setting({"raft.max_voters": "1"})
        self.join()
        wait_until(lambda: self.other.position()["raft"]["role"] == "standby", 20, "its own log says that it is in", self.pods)
        self.other.kill()
        before = self.keep_volume(self.other, "before")
        self.serving(self.other)
        self.both_in()
        self.assertEqual(self.leader.ask("DELETE", "/v1/members/2").status, 204)
        kept = self.keep("without")
        kept[self.other] = before

        def run(point):
            self.put(kept)
            self.serving(self.leader)
            self.leads(self.leader)
            self.start_server(self.other, self.fault(point))
            self.killed(self.other.server)
            self.serving(self.other)
            return self.check_both(), ""
        self.each(scenario, run)

    def test_cut(self):
        scenario = self.choose("cut the log")
        self.setting({"raft.trailing": "16", "raft.snapshot_every": "16"}, pods=1)
        alone = self.keep("alone")

        def run(point):
            self.put(alone)
            self.start_server(self.leader, self.fault(point, armed=False))
            self.leads(self.leader)
            self.arm()
            answered = dict(self.data)
            try:
                for n in range(2000):
                    self.assertEqual(self.leader.put(f"new-{n}", b"value").status, 204)
                    answered[f"new-{n}"] = "value"
            except (OSError, http.client.HTTPException):
                pass
            self.killed(self.leader.server)
            self.serving(self.leader)
            self.leads(self.leader)
            found = content(self.leader)
            self.assertEqual({k: found[k] for k in answered}, answered)
            self.assertLessEqual(len(found), len(answered) + 1)
            self.leader.kill()
            return NEW, f"{len(answered) - len(self.data)} answered"
        self.each(scenario, run)

    def test_seed_again(self):
        scenario = self.choose("be seeded again as a member")
        # One voter, so that the log goes on while the stand-by is away.
        self.setting({"raft.trailing": "16", "raft.snapshot_every": "16", "raft.max_voters": "1"})
        self.wanted = {1: "voter", 2: "standby"}
        self.join()
        self.pods.wait_equal()
        self.other.kill()
        for n in range(100):
            self.assertEqual(self.leader.put(f"key-{n:03d}", b"changed " * 200).status, 204)
        self.data = content(self.leader)
        kept = self.keep("behind")

        def run(point):
            self.put(kept)
            self.serving(self.leader)
            self.leads(self.leader)
            victim = "sidecar" if point.startswith("reseed.") else "init" if point[:5] in ("init.", "volum") else "server"
            fault = self.fault(point)
            self.start_server(self.other, fault if victim == "server" else None)
            self.start(self.other, self.other.sidecar, fault if victim != "server" else None)
            wait_until(self.mark.exists, 30, "the point is passed", self.pods)
            if victim != "init":
                self.killed(self.other.containers[victim])
                self.other.containers[victim].start()
            wait_until(lambda: self.other.readyz() == 200, 60, "it is ready", self.pods)
            self.pods.wait_equal()
            self.assertEqual(content(self.other), self.data)
            # What an init left that was killed behind the swap goes with the pod's next one.
            self.other.kill()
            self.init_done(self.other)
            left = {p.name for p in self.other.data_dir.iterdir()}
            self.assertLessEqual(left, matrix.AT_REST | {"raft"}, "left behind")
            return NEW, f"killed {victim}"
        self.each(scenario, run)

    def test_a_pointer_from_between_two_steps(self):
        """The leader dies between adding a member and having it stand by, and the log is cut before it goes on."""
        self.setting({"raft.trailing": "16", "raft.snapshot_every": "16"})
        self.leader.kill()
        self.start_server(self.leader, self.fault("raft.member_step:2"))
        self.leads(self.leader)
        self.init_done(self.other)
        self.start_server(self.other)
        self.killed(self.leader.server)
        self.other.kill()
        self.serving(self.leader)
        self.leads(self.leader)
        self.assertEqual(self.roles(), {1: "voter", 2: "spare"})
        for n in range(100):
            self.assertEqual(self.leader.put(f"key-{n:03d}", b"changed").status, 204)
        self.data = content(self.leader)
        self.serving(self.other)
        wait_until(lambda: self.other.position()["raft"]["role"] == "needs_snapshot", 20, "it must be seeded", self.pods)
        # It has acknowledged the pointer; and it is not there, so it had better not vote.
        term = self.leader.position()["raft"]["term"]
        for _ in range(25):
            time.sleep(0.1)
            raft = self.leader.position()["raft"]
            self.assertEqual((raft["role"], raft["term"], raft["voters"]), ("leader", term, 1))
        self.assertTrue(self.other.server.running)
        self.other.sidecar.start()
        wait_until(lambda: self.other.readyz() == 200, 60, "it is ready", self.pods)
        self.check_both()


class Certificates(Rows):
    def test_renew(self):
        scenario = self.choose("take new certificates")
        support.need("openssl")
        signer = authority.Authority(self.dir / "authority")
        secret = authority.Volume(self.dir / "secret").write(signer.issue("store-0.store.example"))
        pods = self.pod_set(0, {"tls.cert": secret / "tls.crt", "tls.key": secret / "tls.key", "tls.ca": secret / "ca.crt",
                                "tls.peer_name": "{name}.store.example",
                                "pod.peer_url": f"https://127.0.{support.octet()}.{{ordinal}}:9876"}, build=FAULTS)
        pods.tls = signer.context()
        pod = pods.add()
        pod.start_serving()
        pod.sidecar.stop()
        self.victims = [pod]

        def shown():
            return ssl.get_server_certificate((pod.ip, podset.API_PORT)).strip()

        def run(point):
            pod.server.kill()
            self.start_server(pod, self.fault(point, armed=False))
            wait_until(pod.position, 20, "it serves", pods)
            self.assertEqual(pod.put("key", b"value").status, 204)
            self.arm()
            files = signer.issue("store-0.store.example")
            secret.write(files)
            self.killed(pod.server)
            self.serving(pod)
            self.assertIn(shown(), files["tls.crt"])
            self.assertEqual(pod.get("/v1/kv/key").body, b"value")
            return NEW, ""
        self.each(scenario, run)


if __name__ == "__main__":
    support.main()
