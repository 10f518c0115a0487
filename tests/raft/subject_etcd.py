"""etcd through its HTTP gateway: a subject that is known to be right, which the harness must find nothing wrong with."""

import base64
import json
import shutil

from network import address
from subject import UNKNOWN, Answer, Caller, Process


def b64(text):
    return base64.b64encode(text.encode()).decode()


def text(encoded):
    return base64.b64decode(encoded).decode()


class Member:
    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.url = f"http://{address(number)}:2379"
        self.peer_url = f"http://{address(number)}:2380"
        self.name = f"m{number}"
        self.dir = cluster.dir / self.name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.process = Process(self.name, cluster.network.wrap(number), self.dir / "log")

    def start(self):
        peers = ",".join(f"{m.name}={m.peer_url}" for m in self.cluster.members)
        self.process.start(["etcd", "--name", self.name, "--data-dir", self.dir / "data", "--listen-client-urls", self.url,
                            "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_url,
                            "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", peers,
                            "--initial-cluster-state", "new", "--heartbeat-interval", "50", "--election-timeout", "300",
                            "--logger", "zap", "--log-level", "warn"])

    def kill(self):
        self.process.kill()

    def slow_disk(self, delay_ms=0, kib_per_s=0):
        return False  # it asks the kernel without libc

    def end(self):
        self.process.kill()  # asked to end, it waits for its clients to go


class Cluster:
    name = "etcd"
    changes_members = False

    def __init__(self, directory, network, members, options):
        self.dir, self.network, self.reads = directory, network, options.reads
        self.members = []
        self.members = [Member(self, i) for i in range(members)]

    def found(self):
        for member in self.members:
            member.start()

    def founded(self):
        pass

    def reseeds(self):
        return 0

    def client(self):
        return Client(self.reads == "local")

    def leader(self, caller):
        """The number of the member that leads, as most of those who answer see it; None where nobody knows."""
        for member in self.members:
            status = caller.json(member.url, "POST", "/v3/maintenance/status", {}) if member.process.running else None
            if status and status.get("leader", "0") != "0" and status["leader"] == status["header"]["member_id"]:
                return member.number
        return None

    def state(self, member, caller):
        """What the member holds, to be compared with the others': anything that is equal where the content is."""
        got = caller.json(member.url, "POST", "/v3/maintenance/hash", {})
        return got and (got["hash"], got["header"]["revision"])

    def contents(self, member, caller, prefix):
        got = caller.json(member.url, "POST", "/v3/kv/range", {"key": b64(prefix), "range_end": b64(prefix + "\x7f"),
                                                               "serializable": True})
        if got is None:
            return None
        return {text(item["key"]): text(item["value"]) for item in got.get("kvs", [])}

    def settled(self, caller):
        return True

    def close(self):
        for member in self.members:
            member.kill()
            shutil.rmtree(member.dir / "data", ignore_errors=True)


class Client:
    def __init__(self, stale):
        self.caller, self.stale = Caller(), stale

    def _ask(self, member, path, body):
        got = self.caller.ask(member.url, "POST", path, json.dumps(body))
        if isinstance(got, Answer):
            return got
        return json.loads(got[2]) if got[0] == 200 else UNKNOWN

    def read(self, member, key):
        got = self._ask(member, "/v3/kv/range", {"key": b64(key), "serializable": self.stale})
        if isinstance(got, Answer):
            return got
        found = got.get("kvs")
        return Answer("ok", text(found[0]["value"]), int(found[0]["mod_revision"])) if found else Answer("ok", None)

    def write(self, member, key, value):
        got = self._ask(member, "/v3/kv/put", {"key": b64(key), "value": b64(value)})
        return got if isinstance(got, Answer) else Answer("ok", value, int(got["header"]["revision"]))

    def cas(self, member, key, version, value):
        got = self._ask(member, "/v3/kv/txn", {
            "compare": [{"target": "MOD", "key": b64(key), "mod_revision": str(version), "result": "EQUAL"}],
            "success": [{"request_put": {"key": b64(key), "value": b64(value)}}]})
        if isinstance(got, Answer):
            return got
        return Answer("ok", value, int(got["header"]["revision"])) if got.get("succeeded") else Answer("no")

    def delete(self, member, key):
        got = self._ask(member, "/v3/kv/deleterange", {"key": b64(key)})
        if isinstance(got, Answer):
            return got
        return Answer("ok" if int(got.get("deleted", "0")) else "no")

    def close(self):
        self.caller.close()


