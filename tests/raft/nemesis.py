"""Faults, by a plan that follows from a seed alone.

plan() says what is done when and to whom; Nemesis does it. A target is a member's number, or "leader": whoever leads at that
moment. What is broken is mended after a while, and all of it at the end.
"""

import collections
import random
import signal
import threading
import time
import typing


class Step(typing.NamedTuple):
    """Begin a fault `at` so many seconds into the run, and mend it `lasts` seconds later."""

    at: float
    fault: str
    targets: tuple
    lasts: float

    def __str__(self):
        return f"{self.at:.2f} {self.fault} {','.join(map(str, self.targets))} for {self.lasts:.2f}"


# What a run may hold. Each takes the targets that it needs: one, several, or a way to part all members.
FAULTS = {
    "kill": "one",         # SIGKILL, started again after
    "kill_many": "many",   # SIGKILL of a majority or of all at the same moment: what was acknowledged is on their disks only
    "restart": "one",      # SIGTERM, started again after: leadership is handed over
    "pause": "one",        # SIGSTOP, SIGCONT after: a leader that does not know what it missed
    "isolate": "one",      # cut off from all others, both ways
    "deaf": "one",         # hears nothing, is heard
    "mute": "one",         # hears, is not heard
    "unlink": "two",       # two members do not hear each other, the others hear both
    "split": "half",       # two halves
    "slow": "one",         # each wait for the disk takes tens of milliseconds longer
    "throttle": "one",     # the disk writes a few MB a second, which large values fill
}
MEMBERSHIP = {
    "remove": "one",       # taken out by request, then comes back: with its old volume, or with a new one
    "replace": "one",      # killed, its volume deleted, started anew: it must not vote for what it has forgotten
}


def plan(seed, members, seconds, faults):
    """The steps of one run. Of the faults some are picked, so that runs differ in kind and not only in moment."""
    rng = random.Random(f"plan {seed}")
    chosen = rng.sample(sorted(faults), min(len(faults), rng.randrange(2, 5)))
    steps, at = [], 0.2 + 0.3 * rng.random()
    while at < seconds - 0.3:
        fault = rng.choice(chosen)
        lasts = rng.uniform(0.15, 1.0)
        steps.append(Step(at, fault, _targets(rng, fault, members), min(lasts, seconds - at)))
        # Some faults come while the one before still lasts.
        at += lasts * rng.choice((0.4, 1.0, 1.0)) + rng.uniform(0.05, 0.4)
    return steps


def _targets(rng, fault, members):
    shape = {**FAULTS, **MEMBERSHIP}[fault]
    everybody = list(range(members))
    if shape == "one":
        target = "leader" if rng.random() < 0.6 else rng.choice(everybody)
        return (target, rng.choice(("old", "new"))) if fault == "remove" else (target,)
    if shape == "two":
        return tuple(sorted(rng.sample(everybody, 2)))
    if shape == "half":
        return tuple(sorted(rng.sample(everybody, rng.randrange(1, members // 2 + 1))))
    return tuple(sorted(rng.sample(everybody, rng.choice((members // 2 + 1, members)))))


class Nemesis(threading.Thread):
    """Carries out a plan; mend() at the end puts everything right that is still broken."""

    def __init__(self, cluster, network, steps, caller, began):
        super().__init__(name="nemesis", daemon=True)
        self.cluster, self.network, self.steps, self.caller, self.began = cluster, network, steps, caller, began
        self.cuts = {}      # step -> the pairs that it cuts
        self.down = {}      # member -> how many steps keep it down
        self.paused = {}
        self.told = []      # what was done, for people
        self.done = collections.Counter()  # fault -> how often it came about
        self.problem = None
        self.ended = threading.Event()

    def tell(self, text):
        self.told.append(f"{time.monotonic() - self.began:6.2f} {text}")

    def run(self):
        try:
            events, mends = [(step.at, 0, step) for step in self.steps], []
            while (events or mends) and not self.ended.is_set():
                at, kind, what = min(events[:1] + mends[:1], key=lambda e: e[0])
                wait = self.began + at - time.monotonic()
                if wait > 0 and self.ended.wait(wait):
                    break
                if kind == 0:
                    events.pop(0)
                    mend = self.begin(what)
                    if mend:
                        mends.append((time.monotonic() - self.began + what.lasts, 1, mend))
                        mends.sort(key=lambda e: e[0])
                else:
                    mends.pop(0)
                    what()
            for _, _, mend in mends:
                mend()
        except Exception as problem:  # told by the run, which must not pass for a quiet one
            self.problem = problem
            raise

    def who(self, target):
        """The member that is meant; None where nobody leads."""
        number = self.cluster.leader(self.caller) if target == "leader" else target
        return None if number is None else self.cluster.members[number]

    def begin(self, step):
        """Do it; what mends it, or None where there was nothing to do it to."""
        mend = getattr(self, step.fault)(step)
        self.done[step.fault] += mend is not None
        return mend

    # --- processes ---

    def halt(self, member, how):
        self.down[member.number] = self.down.get(member.number, 0) + 1
        self.tell(f"{how} {member.name}")
        member.end() if how == "end" else member.kill()

    def revive(self, *members):
        for member in members:
            self.down[member.number] -= 1
            if self.down[member.number] == 0:
                self.tell(f"start {member.name}")
                member.start()

    def kill(self, step):
        member = self.who(step.targets[0])
        if member is None:
            return None
        self.halt(member, "kill")
        return lambda: self.revive(member)

    def kill_many(self, step):
        members = [self.cluster.members[number] for number in step.targets]
        for member in members:
            member.process.signal(signal.SIGKILL)
        for member in members:
            self.halt(member, "kill")
        return lambda: self.revive(*members)

    def restart(self, step):
        member = self.who(step.targets[0])
        if member is None:
            return None
        self.halt(member, "end")
        return lambda: self.revive(member)

    def pause(self, step):
        member = self.who(step.targets[0])
        if member is None:
            return None
        self.tell(f"pause {member.name}")
        self.paused[member.number] = self.paused.get(member.number, 0) + 1
        member.process.signal(signal.SIGSTOP)

        def resume():
            self.paused[member.number] -= 1
            if self.paused[member.number] == 0:
                self.tell(f"resume {member.name}")
                member.process.signal(signal.SIGCONT)
        return resume

    # --- the network ---

    def cut(self, step, pairs):
        self.tell(f"{step.fault} " + " ".join(f"{a}>{b}" for a, b in sorted(pairs)))
        self.cuts[step] = set(pairs)
        self.network.cut(set().union(*self.cuts.values()))

        def join():
            del self.cuts[step]
            self.tell(f"mend {step.fault}")
            self.network.cut(set().union(*self.cuts.values()))
        return join

    def _around(self, step, out, into):
        member = self.who(step.targets[0])
        if member is None:
            return None
        others = [m.number for m in self.cluster.members if m is not member]
        return self.cut(step, {(member.number, o) for o in others if out} | {(o, member.number) for o in others if into})

    def isolate(self, step):
        return self._around(step, True, True)

    def deaf(self, step):
        return self._around(step, False, True)

    def mute(self, step):
        return self._around(step, True, False)

    def unlink(self, step):
        a, b = step.targets
        return self.cut(step, {(a, b), (b, a)})

    def split(self, step):
        one = set(step.targets)
        other = {m.number for m in self.cluster.members} - one
        return self.cut(step, {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other})

    # --- the disk ---

    def slow(self, step):
        member = self.who(step.targets[0])
        delay = random.Random(str(step)).randrange(5, 120)
        return self._slow_disk(member, f"by {delay} ms", delay_ms=delay)

    def throttle(self, step):
        member = self.who(step.targets[0])
        rate = random.Random(str(step)).choice((512, 1024, 4096, 8192))
        return self._slow_disk(member, f"to {rate} KiB/s", kib_per_s=rate)

    def _slow_disk(self, member, how, **knobs):
        if member is None or not member.slow_disk():
            return None
        self.tell(f"slow {member.name} {how}")
        member.slow_disk(**knobs)

        def quick():
            self.tell(f"quick {member.name}")
            member.slow_disk()
        return quick

    # --- membership: one change at a time, and none that would take what only a minority has ---

    def remove(self, step):
        member = self.who(step.targets[0])
        if member is None or not self.cluster.all_voters(self.caller):
            return None
        answer = self.cluster.remove(member, self.caller)
        self.tell(f"remove {member.name}: {answer}")
        if answer in ("never", 503):
            return None

        def come_back():
            if self.down.get(member.number):
                return
            new = step.targets[1] == "new" and self.cluster.is_removed(member, self.caller)
            self.halt(member, "kill")
            if new:
                member.wipe()
            self.tell(f"{member.name} comes back with its {'new' if new else 'old'} volume")
            self.revive(member)
        return come_back

    def replace(self, step):
        member = self.who(step.targets[0])
        if member is None or self.down.get(member.number) or not self.cluster.all_voters(self.caller):
            return None
        self.halt(member, "kill")
        member.wipe()
        self.tell(f"{member.name} lost its volume")
        return lambda: self.revive(member)

    def mend(self):
        """After run(): nothing is cut, paused or slow any more, and everybody runs."""
        self.ended.set()
        self.join()
        self.network.cut(set())
        for member in self.cluster.members:
            member.process.signal(signal.SIGCONT)
            member.slow_disk()
            if not member.process.running:
                self.tell(f"start {member.name}")
                member.start()
