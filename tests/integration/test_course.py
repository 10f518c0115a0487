#!/usr/bin/env python3
"""What the torture harnesses call "back": whether they would see a pod that goes back in its history."""

import unittest

import support
from course import Watch, goes_back


def at(epoch, seq, *history, cluster="c"):
    return {"cluster": cluster, "epoch": epoch, "seq": seq,
            "history": [{"epoch": e, "since": s} for e, s in history or [(epoch, 0)]]}


class GoesBack(unittest.TestCase):
    def test_in_one_epoch_the_seq_tells(self):
        self.assertTrue(goes_back(at(1, 150), at(1, 100)))
        self.assertFalse(goes_back(at(1, 150), at(1, 150)))
        self.assertFalse(goes_back(at(1, 150), at(1, 151)))

    def test_across_epochs_the_history_tells(self):
        later = at(2, 160, (1, 0), (2, 150))
        self.assertTrue(goes_back(later, at(1, 150)))
        self.assertTrue(goes_back(later, at(1, 20)))
        self.assertFalse(goes_back(at(1, 150), later))
        self.assertTrue(goes_back(later, at(2, 155, (1, 0), (2, 150))))

    def test_another_history_is_not_back(self):
        self.assertFalse(goes_back(at(1, 150), at(1, 100, cluster="d")))
        # The leader lost 121 to 150 and says so by an epoch of its own.
        self.assertFalse(goes_back(at(1, 150), at(2, 130, (1, 0), (2, 120))))


class Pod:
    name = "store-1"


class Watching(unittest.TestCase):
    def look(self, looks):
        """Each look is (life, position), the life the same before and after."""
        now = [0, None]
        watch, pod = Watch([], lambda _: now[1], lambda _: now[0]), Pod()
        for now[0], now[1] in looks:
            watch.look(pod)
        return watch

    def test_it_tells_a_pod_that_goes_back(self):
        watch = self.look([(0, at(1, 100)), (0, at(1, 150)), (0, None), (0, at(1, 100)), (0, at(1, 120))])
        self.assertEqual(watch.wrong, ["store-1 went back from epoch 1 seq 150 to epoch 1 seq 100"])
        self.assertEqual((watch.looks, watch.furthest), (4, (1, 150)))

    def test_a_volume_that_was_deleted_begins_anew(self):
        watch = self.look([(0, at(1, 150)), (1, at(1, 100)), (1, at(1, 110))])
        self.assertEqual(watch.wrong, [])
        self.assertEqual(self.look([(0, at(1, 150)), (1, at(1, 100)), (1, at(1, 90))]).wrong,
                         ["store-1 went back from epoch 1 seq 100 to epoch 1 seq 90"])

    def test_an_answer_from_before_the_deletion_does_not_count(self):
        life = [0]

        def ask(_):
            life[0] = 1  # deleted while the answer is on its way
            return at(1, 150)
        watch, pod = Watch([], ask, lambda _: life[0]), Pod()
        watch.look(pod)
        self.assertEqual((watch.looks, watch.last), (0, {}))


if __name__ == "__main__":
    support.main()
