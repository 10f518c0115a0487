#!/usr/bin/env python3
"""What a soak takes for growth: a leak of each kind, and nothing that comes to rest. (`make soak-proof` shows the same of
programs that leak.)"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import rule  # noqa: E402
import support  # noqa: E402


def samples(**changes):
    """A sample each 5 s of half an hour; `changes` are functions of the share of the time that is over."""
    level = {"memory": 8.0, "threads": 12, "descriptors": 31, "data": 30.0, "file": 120.0, "written": 0.0}
    found = []
    for n in range(361):
        now = {kind: changes[kind](n / 360) if kind in changes else value for kind, value in level.items()}
        now["written"] = changes.get("written", lambda share: 20 * 1800 * share)(n / 360)
        found.append((5.0 * n, {f"store-0 {'' if kind in ('data', 'file', 'written') else 'server '}{kind}": value
                                for kind, value in now.items()}))
    return found


def grown(longest_read=1.0, **changes):
    return [row.name for row in rule.judge(samples(**changes), longest_read) if row.grown]


class Rule(unittest.TestCase):
    def test_what_is_level_has_not_grown(self):
        self.assertEqual(grown(), [])

    def test_a_start_and_a_peak_are_no_growth(self):
        self.assertEqual(grown(memory=lambda share: min(8, 80 * share), data=lambda share: min(30, 300 * share),
                               descriptors=lambda share: 60 if 0.5 < share < 0.6 else 31), [])

    def test_a_leak_of_each_kind_is_found(self):
        self.assertEqual(grown(memory=lambda share: 8 + 10 * share), ["store-0 server memory"])
        self.assertEqual(grown(threads=lambda share: 12 + int(2 * share)), ["store-0 server threads"])
        self.assertEqual(grown(descriptors=lambda share: 31 + int(20 * share)), ["store-0 server descriptors"])
        self.assertEqual(grown(data=lambda share: 30 + 30 * share), ["store-0 data"])
        self.assertEqual(grown(file=lambda share: 100 + 400 * share), ["store-0 file"])

    def test_a_file_may_grow_late_as_far_as_snapshots_explain_it(self):
        steps = {"file": lambda share: 100 + 20 * min(3, int(share * 4))}  # 160 MiB at last, at 20 MiB/s: 37.5 + 64 + 60
        self.assertEqual(grown(**steps), [])
        self.assertEqual(grown(longest_read=0.0, **steps), ["store-0 file"])
        self.assertEqual(grown(written=lambda share: 1800 * share, **steps), ["store-0 file"])

    def test_the_table_marks_it_and_the_chart_is_whole(self):
        found = samples(file=lambda share: 100 + 400 * share)
        lines = rule.table(rule.judge(found, 1.0)).splitlines()
        self.assertEqual([line.split(" | ")[0] for line in lines if "**grown**" in line], ["| store-0 file, MiB"])
        self.assertEqual(rule.chart(found).count("<polyline"), 4)
        self.assertTrue(rule.chart(found).endswith("</svg>\n"))


if __name__ == "__main__":
    support.main()
