"""The invariant that no pod's position in a history ever goes back, watched from outside while pods run.

    watch = Watch(pods, ask=lambda pod: …, life=lambda pod: …)
    watch.start()
    …
    watch.end()
    if watch.wrong: …

`ask` gives a pod's position as GET /v1/position answers, or None where there is none now. `life` says what the pod's
positions belong to: where it is another value than before, the pod may begin anew (its volume was deleted on purpose). Each
position is compared with the one before it in the same life.
"""

import threading


def _in_history(whole, epoch, seq):
    """Whether (epoch, seq) is a point of the history of a position."""
    history = whole["history"]
    for i, entry in enumerate(history):
        if entry["epoch"] == epoch:
            end = history[i + 1]["since"] if i + 1 < len(history) else whole["seq"]
            return entry["since"] <= seq <= end
    return False


def goes_back(before, after):
    """Whether a pod that stood at `before` and stands at `after` has gone back in a history."""
    if before["cluster"] != after["cluster"] or (before["epoch"], before["seq"]) == (after["epoch"], after["seq"]):
        return False
    return _in_history(before, after["epoch"], after["seq"]) and not _in_history(after, before["epoch"], before["seq"])


class Watch(threading.Thread):
    def __init__(self, pods, ask, life, pause=0.05):
        super().__init__(name="course", daemon=True)
        self.pods, self.ask, self.life, self.pause = list(pods), ask, life, pause
        self.ended, self.looks, self.wrong = threading.Event(), 0, []
        self.last = {}  # pod: (life, position)
        self.furthest = (0, 0)  # epoch and seq that any pod was ever seen at

    def look(self, pod):
        life = self.life(pod)
        position = self.ask(pod)
        if position is None or self.life(pod) != life:
            return
        self.looks += 1
        former, before = self.last.get(pod, (None, None))
        if before is not None and former == life and goes_back(before, position):
            self.wrong.append(f"{pod.name} went back from epoch {before['epoch']} seq {before['seq']} "
                              f"to epoch {position['epoch']} seq {position['seq']}")
        self.last[pod] = (life, position)
        self.furthest = max(self.furthest, (position["epoch"], position["seq"]))

    def run(self):
        while not self.ended.wait(self.pause):
            for pod in self.pods:
                self.look(pod)

    def end(self):
        self.ended.set()
        self.join(30)
