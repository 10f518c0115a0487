#!/usr/bin/env python3
"""docs/guarantees.md names a test for each promise: each of them exists, and every promise has one."""

import re
import unittest

import support

PAGE = support.ROOT / "docs" / "guarantees.md"


class Guarantees(unittest.TestCase):
    def test_every_test_that_is_named_exists(self):
        named = re.findall(r"`(tests/[\w/]+\.(?:py|c))::(\w+)`", PAGE.read_text())
        self.assertGreater(len(named), 30)
        for path, name in named:
            with self.subTest(f"{path}::{name}"):
                text = (support.ROOT / path).read_text()
                self.assertRegex(text, rf"(?m)^(    def {name}\(self|START_TEST\({name}\))")
                if path.endswith(".c"):
                    # A test of Check's that is in no list is never run.
                    self.assertGreater(text.count(name), 1)

    def test_every_promise_names_one(self):
        promised = PAGE.read_text().split("## What is promised")[1].split("## What is not promised")[0]
        rows = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith("| |")]
        self.assertGreater(len(rows), 20)
        for row in rows:
            with self.subTest(row):
                self.assertIn("::", row)


if __name__ == "__main__":
    support.main()
