"""seedpod in mode raft: each member is a pod's init, server and sidecar, started as its containers would be.

Every other seed has a log that is cut after a few hundred entries: a member that was away then needs a snapshot, for which its
sidecar has the store replaced while the server runs. Every fourth has large values among the small ones.
"""

import os
import pathlib
import time
import urllib.parse
import zlib

from clients import LEDGER
from network import address
from subject import NEVER, UNKNOWN, Answer, Caller, Process

BUILD = pathlib.Path(os.environ.get("BUILD") or pathlib.Path(__file__).resolve().parents[2] / "build").resolve()
PORT = 9876

# init to its end, as often as it takes; then the server under the same process number, and beside it the sidecar.
POD = 'until "$1-init" --config "$2"; do sleep 0.1; done; "$1-sidecar" --config "$2" & exec "$1-server" --config "$2"'


class Member:
    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.name = f"m-{number}"
        self.url = f"http://{address(number)}:{PORT}"
        self.dir = cluster.dir / self.name
        (self.dir / "data").mkdir(parents=True, exist_ok=True)
        self.process = Process(self.name, cluster.network.wrap(number), self.dir / "log")
        self.slow_file = None
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDPOD_", "POD_"))}
        self.environment |= {"POD_NAME": self.name, "SEEDPOD_POD_TERMINATION_LOG": str(self.dir / "termination")}
        library = BUILD / "faults" / "slowdisk.so"
        if library.exists() and not os.environ.get("SANITIZE"):  # a sanitizer must be the first library itself
            self.slow_file = self.dir / "slow"
            self.slow_file.write_bytes(bytes(12))
            self.environment |= {"LD_PRELOAD": str(library), "SLOWDISK": str(self.slow_file)}

    def start(self):
        self.process.start(["sh", "-c", POD, self.name, BUILD / "seedpod", self.cluster.config], env=self.environment, cwd=self.dir)

    def kill(self):
        self.process.kill()

    def end(self):
        self.process.end()

    def slow_disk(self, delay_ms=0, kib_per_s=0):
        """From now on each wait for the disk takes so much longer, and it writes no faster than that (0: as fast as it can);
        whether that can be done here."""
        if self.slow_file is not None:
            with open(self.slow_file, "r+b") as out:  # never truncated: the process has it mapped
                out.write(b"".join(n.to_bytes(4, "little") for n in (1000 * delay_ms, 1000 * delay_ms, kib_per_s)))
        return self.slow_file is not None

    def wipe(self):
        """The volume is lost; a new one is there."""
        data = self.dir / "data"
        data.rename(self.dir / f"lost-{len(list(self.dir.iterdir()))}")
        data.mkdir()


class Cluster:
    name = "seedpod"
    changes_members = True

    def __init__(self, directory, network, members, options):
        self.dir, self.network, self.reads = directory, network, options.reads
        self.large = options.seed % 4 == 1
        self.config = directory / "seedpod.ini"
        self.settings = {
            "pod.peer_url": f"http://10.77.{{ordinal}}.2:{PORT}",
            "replication.mode": "raft",
            "raft.listen": "10.77.{ordinal}.2:9875",
            "raft.peer": "10.77.{ordinal}.2:9875",
            "raft.election_timeout": "250ms",
            "raft.heartbeat": "50ms",
            "server.listen": f"10.77.{{ordinal}}.2:{PORT}",
            "server.control_socket": f"{directory}/{{name}}/control.sock",
            "server.data_dir": f"{directory}/{{name}}/data",
            "server.map_size": "1GiB",
            "server.min_seq_wait": "500ms",
            "bootstrap.peer_grace": "300ms",
            "bootstrap.retry_delay": "100ms",
            "bootstrap.max_peers": str(members),
            "bootstrap.stall_timeout": "2s",
            "sidecar.listen": "10.77.{ordinal}.2:9877",
            "sync.interval": "200ms",
        } | ({"raft.trailing": "300", "raft.snapshot_every": "100"} if options.seed % 2 else {}) | dict(setting.split("=", 1) for setting in options.set)
        self.write_config()
        self.members = [Member(self, i) for i in range(members)]

    def write_config(self):
        sections = {}
        for name, value in self.settings.items():
            section, key = name.split(".")
            sections.setdefault(section, []).append(f"{key} = {value}")
        text = "".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
        self.config.write_text(text)

    def found(self):
        for member in self.members:
            member.start()

    def founded(self):
        """From now on a founder without a volume must not begin a second cluster, however long nobody answers it."""
        self.settings["bootstrap.peer_grace"] = "10m"
        self.write_config()

    def reseeds(self):
        """How often a member was given a snapshot in its running pod."""
        return sum(member.process.log.read_bytes().count(b"reseed done") for member in self.members)

    def client(self):
        return Client(self.reads, self.large)

    def position(self, member, caller):
        return caller.json(member.url, "GET", "/v1/position") if member.process.running else None

    def leader(self, caller):
        best = None
        for member in self.members:
            position = self.position(member, caller)
            if position and position.get("role") == "leader":
                best = max(best or (0, 0), (position["raft"]["term"], member.number))
        return best and best[1]

    def list(self, caller):
        """The members as a leader that was in office just now lists them, or None."""
        number = self.leader(caller)
        if number is None:
            return None
        leader = self.members[number]
        listed = caller.json(leader.url, "GET", "/v1/members")
        api = Client("linearizable")
        try:
            return listed if api.read(leader, "nothing").outcome == "ok" else None
        finally:
            api.close()

    def all_voters(self, caller):
        """Whether every member runs and votes under the id that it has now: none of them is on its way in or out."""
        listed = self.list(caller)
        if not listed or len(listed["members"]) != len(self.members):
            return False
        ids = {m["number"]: m["id"] for m in listed["members"] if m["role"] == "voter"}
        for member in self.members:
            position = self.position(member, caller)
            if not position or ids.get(member.number + 1) != position["raft"]["id"]:
                return False
        return True

    settled = all_voters

    def remove(self, member, caller):
        """DELETE, asked of whoever takes it, again where it was refused for the moment; what was answered at last."""
        got = NEVER
        for _ in range(8):
            for other in self.members:
                if other is not member and other.process.running:
                    got = caller.ask(other.url, "DELETE", f"/v1/members/{member.number + 1}")
                    break
            if isinstance(got, Answer):
                return got.outcome
            if got[0] != 503:
                break
            time.sleep(0.1)
        return got[0]

    def is_removed(self, member, caller):
        listed = self.list(caller)
        return bool(listed) and all(m["number"] != member.number + 1 for m in listed["members"])

    def state(self, member, caller):
        position = self.position(member, caller)
        return position and tuple(position[k] for k in ("cluster", "epoch", "seq", "digest", "keys"))

    def contents(self, member, caller, prefix):
        contents, after = {}, ""
        while after is not None:
            got = caller.json(member.url, "GET", f"/v1/kv?prefix={prefix}&values=true&limit=1000"
                              + (f"&after={urllib.parse.quote(after)}" if after else ""))
            if got is None:
                return None
            contents |= {item["key"]: item["value"] for item in got["items"]}
            after = got.get("next")
        return contents

    def close(self):
        for member in self.members:
            member.kill()


LARGE_MAX = 1 << 20


def stored(value):
    """The bytes that are stored for a value in a run with large ones: some are padded, by a rule that a reader knows."""
    mark = zlib.crc32(value.encode())
    return value.encode() + (b"\n" + bytes([97 + mark % 26]) * (mark % LARGE_MAX) if mark % 8 == 0 else b"")


class Client:
    def __init__(self, reads, large=False):
        self.caller, self.query, self.large = Caller(), f"?consistency={reads}", large

    def _encode(self, key, value):
        return stored(value) if self.large and not key.startswith(LEDGER) else value.encode()

    def _decode(self, key, body):
        value = body.partition(b"\n")[0].decode()
        if body != self._encode(key, value):
            raise RuntimeError(f"{key} = {value}: {len(body)} bytes, which nobody wrote")
        return value

    def _change(self, member, method, key, value=None, headers=None):
        got = self.caller.ask(member.url, method, f"/v1/kv/{key}", value and self._encode(key, value), headers)
        if isinstance(got, Answer):
            return got
        status, answer, body = got
        if status == 204:
            return Answer("ok", value, int(answer["Seedpod-Seq"]))
        if status == 412 or (status == 404 and method == "DELETE"):
            return Answer("no")
        if status == 503:
            return UNKNOWN
        raise RuntimeError(f"{method} {key}: {status} {body[:300]!r}")

    def read(self, member, key):
        got = self.caller.ask(member.url, "GET", f"/v1/kv/{key}{self.query}")
        if isinstance(got, Answer):
            return got
        status, headers, body = got
        if status == 200:
            return Answer("ok", self._decode(key, body), int(headers["Seedpod-Seq"]))
        if status == 404:
            return Answer("ok", None)
        if status == 503:
            return NEVER
        raise RuntimeError(f"GET {key}: {status} {body[:300]!r}")

    def write(self, member, key, value):
        return self._change(member, "PUT", key, value)

    def cas(self, member, key, version, value):
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        return self._change(member, "PUT", key, value, condition)

    def delete(self, member, key):
        return self._change(member, "DELETE", key)

    def close(self):
        self.caller.close()
