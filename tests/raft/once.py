#!/usr/bin/env python3
"""One run: found a cluster, let clients at it while a seed's faults come, mend all, and judge. tests/raft/torture runs many.

    unshare -n tests/raft/once.py --seed 7 [--subject etcd] [--members 5] [--seconds 3] [--faults kill,pause] [--keep DIR]

Prints one line of JSON; exits 1 where something is wrong, and then leaves in DIR/seed-N the history, the faults and the logs.
"""

import argparse
import collections
import importlib
import itertools
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "local"))

import clients  # noqa: E402
import course  # noqa: E402
import linearizable  # noqa: E402
import nemesis  # noqa: E402
from network import Network  # noqa: E402
from subject import Caller  # noqa: E402

SLOW = float(os.environ.get("SEEDPOD_TEST_SLOW", "1"))


class Wrong(Exception):
    """The run found something; the text says what."""


def wait(condition, seconds, what):
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Wrong(f"waited {seconds * SLOW:.0f} s in vain until {what}")
        time.sleep(0.02)


class Run:
    def __init__(self, options, directory):
        self.options, self.dir = options, directory
        self.network = Network(options.members)
        subject = importlib.import_module(f"subject_{options.subject}")
        self.cluster = subject.Cluster(directory, self.network, options.members, options)
        self.caller = Caller()
        self.clients, self.nemesis, self.watch = [], None, None
        self.phases = {}

    def phase(self, name, began):
        self.phases[name] = round(time.monotonic() - began, 2)

    def go(self):
        began = time.monotonic()
        self.cluster.found()
        wait(lambda: self.answers_all(), 20, "every member answers a linearizable read")
        wait(lambda: self.cluster.settled(self.caller), 20, "all members are members")
        self.cluster.founded()
        self.phase("found", began)
        self.watch_positions()
        faults = self.options.faults.split(",") if self.options.faults else \
            [*nemesis.FAULTS, *(nemesis.MEMBERSHIP if self.cluster.changes_members else ())]
        steps = nemesis.plan(self.options.seed, self.options.members, self.options.seconds, faults)
        began, stop = time.monotonic(), threading.Event()
        self.clients = [clients.Client(self.cluster, self.options.seed, i, stop) for i in range(self.options.clients)]
        self.nemesis = nemesis.Nemesis(self.cluster, self.network, steps, Caller(), began)
        for client in self.clients:
            client.start()
        self.nemesis.start()
        self.nemesis.join(self.options.seconds * 4 + 30)
        rest = began + self.options.seconds - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self.phase("faults", began)
        began = time.monotonic()
        self.nemesis.mend()
        # The clients go on until each member answers again: what a fault left behind may show only then.
        wait(lambda: self.revived() and self.answers_all(), 20, "every member answers a linearizable read again")
        wait(lambda: self.cluster.settled(self.caller), 20, "all members are members again")
        stop.set()
        for client in self.clients:
            client.join()
        self.last_words()
        self.phase("mended", began)
        began = time.monotonic()
        self.judge()
        self.phase("judged", began)

    def watch_positions(self):
        """In each life of a member; what it has not flushed, the log brings again after a kill."""
        if hasattr(self.cluster, "position"):
            caller = Caller()
            self.watch = course.Watch(self.cluster.members, lambda member: self.cluster.position(member, caller),
                                      lambda member: member.process.lives)
            self.watch.start()

    def revived(self):
        """Start again whoever ended, as a kubelet would."""
        for member in self.cluster.members:
            if not member.process.running:
                self.nemesis.tell(f"start {member.name}, which ended ({member.process.exits[-1:]})")
                member.start()
        return True

    def answers_all(self):
        api = self.cluster.client()
        try:
            return all(api.read(member, "nothing").outcome == "ok" for member in self.cluster.members)
        finally:
            api.close()

    def last_words(self):
        """At each member, a write and a read of every key: all must work by now, and are part of the history."""
        last = clients.Client(self.cluster, self.options.seed, 999, threading.Event())
        last.api = self.cluster.client()
        number = itertools.count()

        def write(member, key):
            value = f"last.{next(number)}"
            return last.note(key, "write", value, None, lambda: last.api.write(member, key, value)).outcome == "ok"

        def read(member, key):
            return last.read(member, key).outcome == "ok"
        for member in self.cluster.members:
            for key in clients.KEYS:
                for what in (read, write, read):
                    wait(lambda: what(member, key), 10, f"{member.name} does a {what.__name__}")
        self.clients.append(last)

    def judge(self):
        wrong = [f"{who.name}: {who.problem!r}" for who in [*self.clients, self.nemesis] if who.problem]
        for member in self.cluster.members:
            wrong += [f"{member.name} ended by itself: {end}" for end in member.process.crashed()]
        for key, ops in sorted(clients.gather(self.clients).items()):
            try:
                found = linearizable.check(ops)
            except linearizable.Undecided as undecided:
                found = undecided
            if found:
                wrong.append(f"{key}: {found}")
        wrong += clients.version_faults(self.clients)
        states = {}

        def equal():
            states.clear()
            states.update({m.name: self.cluster.state(m, self.caller) for m in self.cluster.members})
            return None not in states.values() and len(set(states.values())) == 1
        try:
            wait(equal, 10, "all members hold the same")
        except Wrong as problem:
            wrong.append(f"{problem}: {states}")
        if self.watch:
            self.watch.end()
            wrong += self.watch.wrong
            at_end = [state[1:3] for state in states.values() if state]
            if any(place < self.watch.furthest for place in at_end):
                wrong.append(f"a member was seen at epoch and seq {self.watch.furthest}, and at the end they stand at {at_end}")
        for member in self.cluster.members:
            contents = self.cluster.contents(member, self.caller, clients.LEDGER)
            if contents is None:
                wrong.append(f"{member.name} does not list what it holds")
            else:
                wrong += [f"{member.name}: {fault}" for fault in clients.ledger_faults(self.clients, contents)]
        if wrong:
            raise Wrong("\n".join(wrong))

    def report(self):
        counts = collections.Counter()
        for client in self.clients:
            counts += client.counts
        told = self.nemesis.told if self.nemesis else []
        return {"seed": self.options.seed, "ops": sum(counts.values()),
                "acknowledged": sum(n for name, n in counts.items() if name.endswith(" ok") and name != "read ok"),
                "unknown": sum(n for name, n in counts.items() if name.endswith(" unknown")),
                "counts": counts, "phases": self.phases, "told": told,
                "faults": self.nemesis.done if self.nemesis else {}, "reseeds": self.cluster.reseeds()}

    def keep(self, where, why):
        """Leave what explains a failure."""
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        (where / "wrong").write_text(why + "\n")
        (where / "faults").write_text("\n".join(self.nemesis.told if self.nemesis else []) + "\n")
        with open(where / "history", "w") as out:
            for key, ops in sorted(clients.gather(self.clients).items()):
                for op in sorted(ops, key=lambda op: op.call):
                    out.write(f"{key} {linearizable.show(op)}\n")
        for member in self.cluster.members:
            shutil.copyfile(member.process.log, where / f"{member.name}.log")

    def close(self):
        if self.watch:
            self.watch.end()
        self.cluster.close()
        self.network.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--subject", default="seedpod")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--faults", default="")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--reads", choices=("linearizable", "local"), default="linearizable")
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raft-", dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        run = Run(options, pathlib.Path(directory))
        why = None
        try:
            run.go()
        except Wrong as problem:
            why = str(problem)
        finally:
            report = run.report()
            if why and options.keep:
                run.keep(options.keep / f"seed-{options.seed}", why)
            run.close()
    print(json.dumps(report | {"wrong": why}))
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
