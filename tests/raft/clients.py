"""Clients that read and write a few keys at once and note what they were told, for linearizable.check().

The nth operation of a client follows from the seed, the client and n; when it comes, and what it is told, does not. Every
value is written by one operation only, so that an answer says whose write it saw.
"""

import collections
import random
import threading
import time

from linearizable import Op

KEYS = ("x", "y", "z")
LEDGER = "ledger-"
PAUSE = 0.002  # between two operations of a client; the members need the machine, too


class Client(threading.Thread):
    def __init__(self, cluster, seed, number, stop):
        super().__init__(name=f"client {number}", daemon=True)
        self.cluster, self.seed, self.number, self.stop = cluster, seed, number, stop
        self.ops = collections.defaultdict(list)  # key -> [Op]
        self.versions = collections.defaultdict(set)  # key -> {(version, value)} as answers named them
        self.ledger = {}  # key -> whether its write was acknowledged
        self.counts = collections.Counter()
        self.at = number  # whom it asks
        self.asked = 0
        self.problem = None

    def run(self):
        self.api = self.cluster.client()
        try:
            while not self.stop.is_set():
                if not self.one():
                    self.stop.wait(5 * PAUSE)
        except Exception as problem:
            self.problem = problem
            raise
        finally:
            self.api.close()

    def one(self):
        """One operation; whether it brought an answer."""
        n, self.asked = self.asked, self.asked + 1
        rng = random.Random(f"client {self.seed} {self.number} {n}")
        if rng.random() < 0.02:
            self.at = rng.randrange(len(self.cluster.members))
        member = self.cluster.members[self.at % len(self.cluster.members)]
        what, key = rng.random(), rng.choice(KEYS)
        value = f"{self.number}.{n}"
        if what < 0.35:
            answer = self.read(member, key)
        elif what < 0.6:
            answer = self.note(key, "write", value, None, lambda: self.api.write(member, key, value))
        elif what < 0.8:
            answer = self.read(member, key)
            if answer.outcome == "ok":
                version, expect = answer.version, answer.value
                answer = self.note(key, "cas", value, expect, lambda: self.api.cas(member, key, version, value))
        elif what < 0.84:
            answer = self.note(key, "delete", None, None, lambda: self.api.delete(member, key))
        else:
            key = f"{LEDGER}{self.number:03d}-{n:06d}"
            answer = self.api.write(member, key, value)
            if answer.outcome != "never":
                self.ledger[key] = (value, answer.outcome == "ok")
            self.counts["ledger " + answer.outcome] += 1
        if answer.outcome in ("never", "unknown"):
            self.at = rng.randrange(len(self.cluster.members))
            return False
        time.sleep(PAUSE)
        return True

    def read(self, member, key):
        return self.note(key, "read", None, None, lambda: self.api.read(member, key))

    def note(self, key, kind, value, expect, ask):
        call = time.monotonic()
        answer = ask()
        ret = time.monotonic()
        self.counts[f"{kind} {answer.outcome}"] += 1
        if answer.outcome == "never" or (kind == "read" and answer.outcome != "ok"):
            return answer
        if kind == "read":
            value = answer.value
        self.ops[key].append(Op(kind, value, expect, answer.outcome, call, ret, self.name))
        if answer.outcome == "ok" and value is not None and answer.version:
            self.versions[key].add((answer.version, value))
        return answer


def gather(clients):
    """All clients' ops by key."""
    ops = collections.defaultdict(list)
    for client in clients:
        for key, some in client.ops.items():
            ops[key] += some
    return ops


def version_faults(clients):
    """Versions that named two values, or values that had two versions: what a client saw under one is not what another did."""
    faults = []
    for key in KEYS:
        pairs = set().union(*(client.versions[key] for client in clients))
        for place, what in ((0, "version"), (1, "value")):
            count = collections.Counter(pair[place] for pair in pairs)
            faults += [f"{key}: {what} {thing} stands in {[p for p in pairs if p[place] == thing]}"
                       for thing, n in count.items() if n > 1]
    return faults


def ledger_faults(clients, contents):
    """Acknowledged entries of the ledger that are not there, and entries that nobody wrote."""
    written = {}
    for client in clients:
        written |= client.ledger
    faults = [f"{key}: acknowledged and lost" for key, (value, acknowledged) in written.items()
              if acknowledged and contents.get(key) != value]
    faults += [f"{key}: holds {value!r}, which nobody wrote there" for key, value in contents.items()
               if key not in written or written[key][0] != value]
    return faults
