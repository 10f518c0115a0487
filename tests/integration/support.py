"""What the integration and fault tests share: sets of pods that clean up after themselves, and the tests' own runner.

A test file ends with

    if __name__ == "__main__":
        support.main()

and can be run by itself: BUILD=build tests/integration/test_kv.py [PATTERN…]. SEEDPOD_TEST_KEEP=1 keeps its directory.
"""

import fnmatch
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "local"))

import podset  # noqa: E402
from podset import PodError, PodSet, SLOW, quote_key, wait_until, xxh128  # noqa: E402,F401

BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
SANITIZE = os.environ.get("SANITIZE", "")

# Members that stay with their leader also where the machine stands still for two seconds: a test that loses a leader says so.
PATIENT = {"raft.election_timeout": "3s"}

_claim = None


def octet():
    """The third octet of this process's loopback network: the runner's, or one that is free."""
    global _claim
    if "SEEDPOD_TEST_OCTET" in os.environ:
        return int(os.environ["SEEDPOD_TEST_OCTET"])
    if _claim is None:
        _claim = podset.claim_octet()
    return _claim[0]


def need(*programs):
    """Skip the test where a program that it checks with is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed (make deps installs it)")


def need_root(why):
    if os.geteuid() != 0:
        raise unittest.SkipTest(f"needs root: {why}")


def quiet_sanitizers():
    """Variables for a program that is to end by SIGBUS or SIGSEGV: no sanitizer has to report that."""
    return {name: os.environ.get(name, "") + ":handle_sigbus=0:handle_segv=0"
            for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")}


def seeded_random(name):
    """Random numbers that a failure's message lets one repeat: SEEDPOD_TEST_SEED=… sets them."""
    seed = int(os.environ.get("SEEDPOD_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"# {name}: SEEDPOD_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


class PodTest(unittest.TestCase):
    """A test with sets of pods of its own. Each set has its directory under self.dir."""

    maxDiff = 4000

    def setUp(self):
        self.dir = _directory(self)
        self.addCleanup(_drop_directory, self.dir)

    def pod_set(self, replicas=0, config=None, name="store", build=BUILD):
        """A set with `replicas` pods running; it ends with the test, and must not have crashed by then."""
        config = dict(config or {})
        if config.get("replication.mode") == "raft":
            config = PATIENT | config
        pods = PodSet(self.dir, build, octet(), name, config)
        self.addCleanup(_close, pods)
        pods.scale(replicas)
        if replicas:
            wait_until(lambda: pods.leader.position(), 20, "the leader answers", pods)
        return pods


class SharedPods(unittest.TestCase):
    """Tests that share one running set: `replicas` pods with `config`, ready when the first test begins."""

    replicas = 1
    config = {}
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.dir = _directory(cls)
        cls.addClassCleanup(_drop_directory, cls.dir)
        cls.pods = PodSet(cls.dir, BUILD, octet(), "store", cls.config)
        cls.addClassCleanup(_close, cls.pods)
        cls.pods.scale(cls.replicas)
        cls.pods.wait_ready()
        cls.leader = cls.pods.leader

    def problem(self, reply, status):
        """Check that an answer is the problem+json of `status`, and give it back parsed."""
        self.assertEqual(reply.status, status, reply.body[:500])
        self.assertEqual(reply.headers.get_content_type(), "application/problem+json")
        body = reply.json()
        self.assertEqual(body["status"], status)
        self.assertTrue(body["title"], body)
        self.assertTrue(body["detail"], body)
        return body


def _directory(owner):
    name = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    return pathlib.Path(tempfile.mkdtemp(prefix=f"seedpod-{name}-"))


def _drop_directory(path):
    if os.environ.get("SEEDPOD_TEST_KEEP"):
        print(f"# kept {path}", flush=True)
        return
    shutil.rmtree(path, ignore_errors=True)


def _close(pods):
    crashes = pods.crashes()
    pods.stop()
    crashes += [c for c in pods.crashes() if c not in crashes]
    tails = pods.log_tails(40) if crashes else ""
    pods.close()
    if crashes:
        raise PodError("\n".join(crashes) + "\n" + tails)


def fresh_snapshot(pod):
    """GET /v1/snapshot with all that is stored now: who asks shortly after another may be given the same snapshot."""
    def fresh():
        reply = pod.get("/v1/snapshot")
        return reply if int(reply.headers["Seedpod-Seq"]) == pod.position()["seq"] else None
    return wait_until(fresh, 15, f"a snapshot of {pod.name} is of its present", pause=0.3)


def random_bytes(rng, size):
    return rng.getrandbits(size * 8).to_bytes(size, "little") if size else b""


# --- the runner: one line a test, then the failures in full, then the count ---


class _Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed, self.bad, self._began = 0, [], 0.0

    def startTest(self, test):
        super().startTest(test)
        self._began, self._failed = time.monotonic(), False

    def stopTest(self, test):
        super().stopTest(test)
        if not self._failed:
            self.passed += 1
            self._say("ok", test)

    def _say(self, word, test, why=""):
        took = time.monotonic() - self._began if self._began else 0.0
        name = test.id().removeprefix("__main__.")
        print(f"{word:<5} {took:7.2f}s {name}{': ' + why if why else ''}", flush=True)

    def _fail(self, test, problem):
        self._failed = True
        self._say("FAIL", test)
        self.bad.append((test.id(), "".join(traceback.format_exception(*problem))))

    def addSuccess(self, test):
        pass

    def addFailure(self, test, problem):
        self._fail(test, problem)

    def addError(self, test, problem):
        self._fail(test, problem)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._failed = True
        self._say("skip", test, reason)

    def addSubTest(self, test, subtest, problem):
        if problem is not None:
            self._failed = True
            self._say("FAIL", subtest)
            self.bad.append((subtest.id(), "".join(traceback.format_exception(*problem))))


def _each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _each(test)
        else:
            yield test


def main():
    patterns = sys.argv[1:]
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if patterns:
        tests = unittest.TestSuite(t for t in _each(tests) if any(fnmatch.fnmatch(t.id(), f"*{p}*") for p in patterns))
    result = _Result()
    tests.run(result)
    for name, text in result.bad:
        print(f"\n=== {name}\n{text}", flush=True)
    print(f"{result.passed} passed, {len(result.bad)} failed, {len(result.skipped)} skipped", flush=True)
    sys.exit(1 if result.bad else 0)
