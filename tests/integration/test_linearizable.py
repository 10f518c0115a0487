#!/usr/bin/env python3
"""The checker of histories that the raft torture relies on: what it must accept, what it must find."""

import itertools
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "raft"))

import linearizable  # noqa: E402
import support  # noqa: E402
from linearizable import Op, Undecided, check  # noqa: E402


def read(call, ret, value):
    return Op("read", value, None, "ok", call, ret)


def write(call, ret, value, outcome="ok"):
    return Op("write", value, None, outcome, call, ret)


def cas(call, ret, expect, value, outcome="ok"):
    return Op("cas", value, expect, outcome, call, ret)


def delete(call, ret, outcome="ok"):
    return Op("delete", None, None, outcome, call, ret)


def obeys(op, state):
    """The register itself, written down a second time: the state after the op, or a KeyError where it cannot be."""
    if op.kind == "read":
        if state != op.value:
            raise KeyError
        return state
    if op.kind == "write":
        return op.value
    if op.kind == "cas":
        if (state == op.expect) == (op.outcome == "no"):
            raise KeyError
        return state if op.outcome == "no" else op.value
    if (state is None) != (op.outcome == "no"):
        raise KeyError
    return None


def tried_out(ops):
    """Whether the history is linearizable, by trying all orders of all choices of what took effect."""
    possible = [op for op in ops if op.outcome == "unknown"]
    certain = [op for op in ops if op.outcome != "unknown"]
    for count in range(len(possible) + 1):
        for chosen in itertools.combinations(possible, count):
            done = certain + [op._replace(outcome="ok", ret=linearizable.FOREVER) for op in chosen if op.kind != "read"]
            if any(_legal(order) for order in itertools.permutations(done)):
                return True
    return False


def _legal(order):
    state = None
    for i, op in enumerate(order):
        if any(later.ret < op.call for later in order[i + 1:]):
            return False
        try:
            state = obeys(op, state)
        except KeyError:
            return False
    return True


def lived(rng, clients, length, lost=0.1):
    """A history as a real register would have made it: each op takes effect at an instant within its time."""
    events = []
    for client in range(clients):
        at = rng.random()
        for number in range(length):
            call = at + rng.random()
            instant = call + rng.random() * 2
            at = instant + rng.random() * 2
            events.append((instant, call, at, client, number))
    state, ops = None, []
    for instant, call, ret, client, number in sorted(events):
        value = f"{client}.{number}"
        kind = rng.choice(("read", "read", "write", "cas", "delete"))
        unknown = kind != "read" and rng.random() < lost
        applied = not unknown or rng.random() < 0.5
        if kind == "read":
            ops.append(Op("read", state, None, "ok", call, ret, client))
            continue
        expect = state if rng.random() < 0.5 else f"{client}.{number - 1}"
        fits = kind == "write" or (kind == "cas" and state == expect) or (kind == "delete" and state is not None)
        outcome = "unknown" if unknown else "ok" if fits else "no"
        ops.append(Op(kind, None if kind == "delete" else value, expect if kind == "cas" else None, outcome, call, ret,
                      client))
        if fits and applied:
            state = None if kind == "delete" else value
    return ops


class Accepts(unittest.TestCase):
    def good(self, *ops):
        found = check(list(ops))
        self.assertIsNone(found, f"\n{found}")

    def test_nothing(self):
        self.good()

    def test_one_after_the_other(self):
        self.good(read(0, 1, None), write(2, 3, "a"), read(4, 5, "a"), delete(6, 7), read(8, 9, None))

    def test_a_read_beside_a_write_may_show_old_or_new(self):
        self.good(write(0, 1, "a"), write(2, 6, "b"), read(3, 4, "a"))
        self.good(write(0, 1, "a"), write(2, 6, "b"), read(3, 4, "b"))

    def test_two_writes_at_once_in_either_order(self):
        self.good(write(0, 4, "a"), write(1, 5, "b"), read(6, 7, "a"))
        self.good(write(0, 4, "a"), write(1, 5, "b"), read(6, 7, "b"))

    def test_an_unknown_write_takes_effect_late_or_never(self):
        self.good(write(0, 1, "a"), write(2, 0, "b", "unknown"), read(10, 11, "a"))
        self.good(write(0, 1, "a"), write(2, 0, "b", "unknown"), read(10, 11, "a"), read(12, 13, "b"))

    def test_an_unknown_write_that_nobody_saw_explains_a_refusal(self):
        self.good(write(0, 1, "a"), write(2, 0, "b", "unknown"), cas(3, 4, "a", "c", "no"))

    def test_an_unknown_cas_and_an_unknown_delete(self):
        self.good(write(0, 1, "a"), cas(2, 0, "a", "b", "unknown"), read(5, 6, "a"), read(7, 8, "b"))
        self.good(write(0, 1, "a"), delete(2, 0, "unknown"), read(5, 6, "a"), read(7, 8, None))

    def test_refusals(self):
        self.good(write(0, 1, "a"), cas(2, 3, "x", "b", "no"), cas(4, 5, "a", "c"), read(6, 7, "c"))
        self.good(cas(0, 1, None, "a"), cas(2, 3, None, "b", "no"), delete(4, 5), delete(6, 7, "no"))

    def test_many_lost_writes_cost_little(self):
        lost = [write(i, 0, f"lost{i}", "unknown") for i in range(200)]
        seen = [write(i, 0, f"seen{i}", "unknown") for i in range(200)]
        self.good(*lost, *seen, *(read(300 + 2 * i, 301 + 2 * i, f"seen{i}") for i in range(200)))

    def test_what_a_register_does(self):
        rng = support.seeded_random("what_a_register_does")
        for _ in range(40):
            self.good(*lived(rng, 6, 60))


class Finds(unittest.TestCase):
    def bad(self, *ops):
        found = check(list(ops))
        self.assertIsNotNone(found)
        self.assertTrue(str(found))
        return found

    def test_a_stale_read(self):
        found = self.bad(write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a"))
        self.assertEqual(found.stuck, [read(4, 5, "a")])

    def test_a_lost_write(self):
        self.bad(write(0, 1, "a"), read(2, 3, None))

    def test_a_value_from_nowhere(self):
        self.bad(write(0, 1, "a"), read(2, 3, "b"))

    def test_a_value_before_its_write(self):
        self.bad(read(0, 1, "a"), write(2, 3, "a"))
        self.bad(read(0, 1, "a"), write(2, 0, "a", "unknown"))

    def test_two_readers_who_disagree_about_the_order(self):
        self.bad(write(0, 9, "a"), write(0, 9, "b"), read(1, 2, "a"), read(3, 4, "b"), read(5, 6, "a"))

    def test_a_write_that_was_seen_and_is_gone(self):
        self.bad(write(0, 1, "a"), write(2, 20, "b"), read(3, 4, "b"), read(5, 6, "a"))
        self.bad(write(0, 1, "a"), write(2, 0, "b", "unknown"), read(3, 4, "b"), read(5, 6, "a"))

    def test_two_winners_of_one_cas(self):
        self.bad(write(0, 1, "a"), cas(2, 5, "a", "b"), cas(2, 5, "a", "c"))

    def test_a_cas_on_what_was_overwritten(self):
        self.bad(write(0, 1, "a"), write(2, 3, "b"), cas(4, 5, "a", "c"))

    def test_a_refusal_without_a_reason(self):
        self.bad(write(0, 1, "a"), cas(2, 3, "a", "b", "no"))
        self.bad(write(0, 1, "a"), delete(2, 3, "no"))

    def test_a_delete_undone(self):
        self.bad(write(0, 1, "a"), delete(2, 3), read(4, 5, "a"))

    def test_a_refused_cas_that_stored_its_value(self):
        self.bad(write(0, 1, "a"), cas(2, 3, "x", "b", "no"), read(4, 5, "b"))

    def test_it_gives_up_rather_than_guess(self):
        rng = support.seeded_random("it_gives_up")
        with self.assertRaises(Undecided):
            check(lived(rng, 6, 60), limit=20)


class Agrees(unittest.TestCase):
    """With trying everything out, on small histories of which many are broken."""

    def test_with_trying_everything_out(self):
        rng = support.seeded_random("with_trying_everything_out")
        verdicts = {True: 0, False: 0}
        for number in range(4000):
            ops = []
            for _ in range(rng.randrange(1, 7)):
                kind = rng.choice(("read", "read", "write", "cas", "delete"))
                call = rng.randrange(10)
                outcome = rng.choice(("ok", "ok", "ok", "no", "unknown")) if kind in ("cas", "delete") else \
                    rng.choice(("ok", "ok", "unknown")) if kind == "write" else "ok"
                value = rng.choice((None, "a", "b")) if kind == "read" else None if kind == "delete" else rng.choice("abc")
                expect = rng.choice((None, "a", "b")) if kind == "cas" else None
                # No two instants are equal: which of them came first would be open.
                ops.append(Op(kind, value, expect, outcome, call + rng.random(), call + 1 + 6 * rng.random(), number))
            expected = tried_out(ops)
            verdicts[expected] += 1
            self.assertEqual(check(ops) is None, expected, "\n".join(map(linearizable.show, ops)))
        self.assertGreater(min(verdicts.values()), 500, verdicts)

    def test_on_what_a_register_did_with_one_answer_changed(self):
        rng = support.seeded_random("one_answer_changed")
        broken = 0
        for _ in range(300):
            ops = lived(rng, 3, 2)
            reads = [i for i, op in enumerate(ops) if op.kind == "read"]
            if not reads:
                continue
            at = rng.choice(reads)
            ops[at] = ops[at]._replace(value=rng.choice([None, *(op.value for op in ops)]))
            expected = tried_out(ops)
            broken += not expected
            self.assertEqual(check(ops) is None, expected, "\n".join(map(linearizable.show, ops)))
        self.assertGreater(broken, 30)


if __name__ == "__main__":
    support.main()
