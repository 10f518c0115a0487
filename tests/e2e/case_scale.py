"""Growing and shrinking: how long seeding takes, and that no pod is ready before its data."""

import datetime
import re

from kube import check, ready_since, say
from suite import FULL, case

MEBIBYTES = 1024


def seconds(stamp):
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def phases(kube, name):
    """Print where the seconds of a pod's start went: from the pod's own conditions, and init's log for the finer part."""
    pod = kube.pod(name)
    conditions = {c["type"]: seconds(c["lastTransitionTime"]) for c in pod["status"]["conditions"]}
    init = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    server = [c for c in pod["status"]["containerStatuses"] if c["name"] == "server"][0]["state"]["running"]
    scheduled, ready = conditions["PodScheduled"], seconds(ready_since(pod))
    begun, ended, up = seconds(init["startedAt"]), seconds(init["finishedAt"]), seconds(server["startedAt"])
    log = kube.logs(name, "init")
    parts = {m[0]: int(m[1]) / 1000 for m in re.findall(r"phase=(\w+) duration_ms=(\d+)", log)}
    seeded = re.search(r"msg=seeded .*seconds=([\d.]+) bytes=(\d+)", log)
    check(seeded, f"{name} was not seeded")
    say(f"{name}: {ready - scheduled:.0f} s from Scheduled to Ready: {begun - scheduled:.0f} s to start, "
        f"{ended - begun:.0f} s init, {up - ended:.0f} s until the server runs, {ready - up:.0f} s until proven ready")
    size, took = int(seeded[2]), float(seeded[1])
    say(f"    init: {size / 2**20:.0f} MiB in {took:.2f} s, {size / 2**20 / max(took, 0.001):.0f} MiB/s: "
        + ", ".join(f"{k} {v:.2f} s" for k, v in parts.items()))


@case(FULL)
def seed_one_gibibyte(suite):
    """With 1 GiB in the leader, scale from 1 to 3: seconds by phase."""
    suite.deploy(replicas=1)
    loaded = suite.client.python("loader.py", "seedpod-write", MEBIBYTES)
    check(loaded["status"] == 200, f"loading was answered {loaded}")
    say(f"{MEBIBYTES} MiB in {loaded['keys']} keys loaded in {loaded['seconds']} s")
    suite.scale(3, timeout=600)
    for name in suite.names(3)[1:]:
        phases(suite.kube, name)
    suite.equal_digests(suite.names(3))


class Probe:
    """A key that is read without pause, and its number, which grows with each write."""

    def __init__(self, suite):
        self.suite, self.value = suite, 0
        self.write(suite.names(2))
        self.reader = suite.client.begin("prober.py", "seedpod", "probe")
        suite.cleanups.append(lambda: self.reader.process.poll() is None and self.reader.process.kill())
        self.demand()

    def demand(self):
        self.reader.tell(f"at least {self.value}")

    def write(self, names):
        """Write the next number; once all of `names` (the ready pods) have it, no older answer is accepted."""
        self.value += 1
        seq = self.suite.client.put("probe", str(self.value))
        self.suite.settle(seq, names)
        if self.value > 1:
            self.demand()


@case(FULL)
def never_ready_before_its_data(suite):
    """A reader every 20 ms sees no 404 and nothing stale: scaling, deleted pods, a rolling restart, 4 -> 2 -> 4."""
    kube = suite.kube
    suite.deploy()
    probe = Probe(suite)
    suite.scale(4)
    probe.write(suite.names(4))

    for lost in ("seedpod-2", "seedpod-0"):
        uid = kube.pod(lost)["metadata"]["uid"]
        kube.run("delete", "pod", lost, "--wait=false")
        kube.wait(f"{lost} is gone or another", lambda lost=lost, uid=uid: not kube.exists("pod", lost)
                  or kube.pod(lost)["metadata"]["uid"] != uid, pause=0.1)
        if lost != "seedpod-0":
            probe.write([n for n in suite.names(4) if n != lost])
        kube.wait_ready(4)
        probe.write(suite.names(4))

    kube.run("rollout", "restart", "sts", "seedpod")
    kube.run("rollout", "status", "sts", "seedpod", "--timeout=300s", show=False, timeout=320)
    kube.wait_ready(4)
    probe.write(suite.names(4))

    suite.scale(2)
    for n in range(300):
        if n % 100 == 0:
            say(f"writes while seedpod-2 and seedpod-3 are away: {n}")
            suite.client.curl("-f", "-L", "-XPOST", "--data-binary", "".join(
                '{"op":"put","key":"away-%d","value":"%d"}\n' % (n + i, n) for i in range(100)),
                "http://seedpod-write:9876/v1/batch", quiet=True)
    probe.write(suite.names(2))
    suite.scale(4)
    for name in ("seedpod-2", "seedpod-3"):
        plans = [line for line in kube.logs(name, "init").splitlines() if "msg=plan" in line]
        say(f"{name}: {plans[-1].split('msg=plan ')[-1][:200] if plans else 'no plan'}")
    probe.write(suite.names(4))
    suite.equal_digests(suite.names(4))
    result = probe.reader.stop()
    check(result.get("status_404", 0) == 0, f"{result['status_404'] if 'status_404' in result else 0} times 404")
    check(result.get("stale", 0) == 0, f"{result.get('stale')} stale answers")
    check(result["reads"] > 500, "hardly anything was read")
