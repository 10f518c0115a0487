"""Is a history of one register linearizable? The search of Wing and Gong, with the memory of Lowe.

A history is a list of Op over one key. Each took effect, if it did, at one instant between `call` and `ret`. The search
looks for an order of such instants in which every answer is the one that a single register would have given:

    read            answered `value` (None: there is no such key)
    write           `value` stands there now, whatever stood there
    cas             `expect` stood there (None: nothing did), now `value` does; refused ("no"): something else stood there
    delete          something stood there, now nothing does; refused ("no"): nothing stood there

An op whose answer never came ("unknown") may have taken effect at any time after its call, also long after its client gave
up, or never. Those are what makes the search dear, so as much as can be is known about them first:

  * one whose value was seen (no other op writes it) did take effect, before the first answer that shows it;
  * of those with the same effect only the oldest that is left needs to be tried: what a later one could do, it can too;
  * values that nobody ever names are the same to everybody.

Sources: J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993); G. Lowe, "Testing for linearizability"
(2017), for remembering (set of ops done, state) that led nowhere.
"""

import collections
import typing

FOREVER = float("inf")
NAMELESS = object()  # the state after a write that nobody names


class Op(typing.NamedTuple):
    """One operation on one key. `call` and `ret` are of one clock; `ret` means nothing where the outcome is unknown."""

    kind: str  # read, write, cas, delete
    value: object = None  # what was read or is written
    expect: object = None  # of a cas
    outcome: str = "ok"  # ok, no, unknown
    call: float = 0
    ret: float = 0
    client: object = None


class Violation(typing.NamedTuple):
    """No order exists. `done`: the longest legal beginning that was found; `stuck`: the ops that cannot follow it."""

    state: object
    done: list
    stuck: list

    def __str__(self):
        state = "a value nobody read" if self.state is NAMELESS else repr(self.state)
        lines = ["no order of these operations is a register's; the longest that begins well ends with"]
        lines += [f"    {show(op)}" for op in self.done[-6:]]
        lines += [f"which leaves {state}; none of these can be next:"]
        lines += [f"    {show(op)}" for op in self.stuck]
        return "\n".join(lines)


class Undecided(Exception):
    """The search was given up: neither an order nor a proof that there is none within the limit."""


def show(op):
    what = {"read": f"read {op.value!r}", "write": f"write {op.value!r}", "delete": "delete",
            "cas": f"cas {op.expect!r} -> {op.value!r}"}[op.kind]
    end = "…" if op.outcome == "unknown" else f"{op.ret:.6f}"
    who = "" if op.client is None else f"{op.client}: "
    return f"[{op.call:.6f}, {end}] {who}{what}{'' if op.outcome == 'ok' else ' ' + op.outcome}"


def check(ops, initial=None, limit=2_000_000):
    """None where the history is linearizable, else a Violation. Raises Undecided after `limit` steps of the search."""
    return _Search(ops, initial, limit).run()


def _written(op):
    """The value that stands there where the op takes effect, if it can."""
    return op.value if op.kind in ("write", "cas") and op.outcome != "no" else None


def _sharpen(ops):
    """The ops with what is known of unknown outcomes put in: (those that took effect, those that may have)."""
    writers = collections.Counter(_written(op) for op in ops)
    named, seen = set(), {}  # seen: value -> the end of the first answer that shows it
    for op in ops:
        shown = op.value if op.kind == "read" else op.expect if op.kind == "cas" else None
        if shown is None or op.outcome == "unknown":
            continue
        named.add(shown)
        if op.outcome == "ok":
            seen[shown] = min(seen.get(shown, FOREVER), op.ret)
    for op in ops:
        if op.kind == "cas" and op.outcome == "unknown":
            named.add(op.expect)
    certain, possible = [], []
    for op in ops:
        if op.kind == "read" and op.outcome != "ok":
            continue  # it changed nothing and showed nothing
        value = _written(op)
        if op.outcome != "unknown":
            certain.append(op)
        elif value is not None and writers[value] == 1 and value in seen:
            certain.append(op._replace(outcome="ok", ret=seen[value]))
        else:
            possible.append(op)
    return certain, possible, named


class _Search:
    def __init__(self, ops, initial, limit):
        certain, possible, self.named = _sharpen(ops)
        self.certain = sorted(certain, key=lambda op: (op.call, op.ret))
        self.initial, self.limit = self._state(initial), limit
        groups = collections.defaultdict(list)
        for op in sorted(possible, key=lambda op: op.call):
            groups[op.kind, op.expect, self._state(_written(op))].append(op)
        self.groups = list(groups.values())
        # The certain ops that are left, as a list linked both ways; the last place is its head.
        n = len(self.certain)
        self.next = [*range(1, n + 1), 0]
        self.prev = [n, *range(n)]

    def _state(self, value):
        return value if value is None or value in self.named else NAMELESS

    def _step(self, op, state):
        """(whether the op can be next, the state after it)."""
        if op.kind == "read":
            return state == op.value, state
        if op.kind == "write":
            return True, self._state(op.value)
        if op.kind == "cas":
            fits = state == op.expect
            return (fits, self._state(op.value)) if op.outcome != "no" else (not fits, state)
        return (state is not None, None) if op.outcome != "no" else (state is None, state)

    def _front(self):
        """The certain ops of which any may be next: those called before the first of all answers that are due."""
        head, first, front = len(self.certain), FOREVER, []
        at = self.next[head]
        while at != head and self.certain[at].call <= first:
            first = min(first, self.certain[at].ret)
            front.append(at)
            at = self.next[at]
        return front, first

    def _choices(self, used):
        """What may be next, likeliest first: certain ops as places, then possible ones as -1 - their group."""
        front, first = self._front()
        front.sort(key=lambda at: self.certain[at].ret)
        for group, (ops, taken) in enumerate(zip(self.groups, used)):
            if taken < len(ops) and ops[taken].call <= first:
                front.append(-1 - group)
        return front

    def _unlink(self, at):
        self.next[self.prev[at]], self.prev[self.next[at]] = self.next[at], self.prev[at]

    def _relink(self, at):
        self.next[self.prev[at]] = self.prev[self.next[at]] = at

    def run(self):
        done, state, used = 0, self.initial, (0,) * len(self.groups)
        path, stack = [], []  # what was chosen; and for each choice what it was made from
        known, steps = set(), 0
        left, best = len(self.certain), None  # best: where the fewest were left
        choices = iter(self._choices(used))
        while left:
            if best is None or left < best[0]:
                best = (left, list(path), state, [self.certain[at] for at in self._front()[0]])
            for choice in choices:
                steps += 1
                op = self.certain[choice] if choice >= 0 else self.groups[-1 - choice][used[-1 - choice]]
                fits, after = self._step(op, state)
                if not fits or (choice < 0 and after == state):
                    continue
                done2, used2 = done, used
                if choice >= 0:
                    done2 = done | 1 << choice
                else:
                    used2 = (*used[:-1 - choice], used[-1 - choice] + 1, *used[-choice:])
                if (done2, used2, after) in known:
                    continue
                known.add((done2, used2, after))
                stack.append((choices, done, state, used, choice))
                path.append(op)
                if choice >= 0:
                    self._unlink(choice)
                    left -= 1
                done, state, used = done2, after, used2
                choices = iter(self._choices(used))
                break
            else:
                if not stack:
                    return Violation(state=best[2], done=best[1], stuck=best[3])
                choices, done, state, used, choice = stack.pop()
                path.pop()
                if choice >= 0:
                    self._relink(choice)
                    left += 1
            if steps > self.limit:
                raise Undecided(f"{len(self.certain)} certain and {sum(map(len, self.groups))} possible operations: "
                                f"given up after {steps} steps")
        return None
