"""What a platform engineer does to a set: start it, drain its node, press on its memory."""

import json
import time

from kube import check, restarts, say
from suite import FULL, case

ROUNDS, PODS = 10, 5


def failed_starts(suite):
    """What kept a first start from succeeding at once: {pod: what init said of it}."""
    found = {}
    for name, pod in suite.kube.pods().items():
        init = next(c for c in pod["status"]["initContainerStatuses"] if c["name"] == "init")
        if init["restartCount"] or "earlier starts failed" in suite.kube.logs(name, "init"):
            found[name] = json.dumps({k: init.get(k) for k in ("restartCount", "state", "lastState")})
    return found


@case(FULL)
def first_starts(suite):
    """Fifty first starts on empty volumes: init succeeds at its first try in each."""
    for n in range(ROUNDS):
        suite.deploy(replicas=PODS)
        failed = failed_starts(suite)
        check(not failed, f"round {n}: init failed before it succeeded: {failed}")
        if n < ROUNDS - 1:
            suite.forget_set()
    say(f"{ROUNDS * PODS} first starts, and no init failed")


def drain(suite, pod):
    """kubectl drain of this pod's node, for this pod alone; another one is Ready afterwards."""
    kube = suite.kube
    found = kube.pod(pod)
    node, uid = found["spec"]["nodeName"], found["metadata"]["uid"]
    selector = f"seedpod.dev/e2e={kube.namespace},statefulset.kubernetes.io/pod-name={pod}"
    suite.cleanups.append(lambda: kube.run("uncordon", node, quiet=True))
    began = time.monotonic()
    kube.run("drain", node, f"--pod-selector={selector}", "--ignore-daemonsets", "--timeout=90s")
    kube.run("uncordon", node)
    kube.wait(f"another {pod} is there", lambda: kube.pod(pod)["metadata"]["uid"] != uid)
    kube.wait_ready(kube.get("sts", "seedpod")["spec"]["replicas"])
    say(f"recovery: {pod} was drained and is Ready again after {time.monotonic() - began:.1f} s")


@case(FULL)
def drained(suite):
    """kubectl drain without a flag for local data, for every pod in turn, in mode static and in mode raft."""
    label = f"""apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: seedpod
spec:
  template:
    metadata:
      labels:
        seedpod.dev/e2e: {suite.kube.namespace}
"""
    for components, replicas in ((), 2), (("raft",), None):
        suite.deploy(replicas=replicas, components=components, patches=[label])
        names = sorted(suite.kube.pods())
        suite.settle(suite.client.put("drained", "kept"), names)
        for pod in names:
            drain(suite, pod)
        suite.equal_digests(names)
        for pod in names:
            answer = suite.client.curl("-f", f"http://{pod}.seedpod-headless:9876/v1/kv/drained", quiet=True)
            check(answer == "kept", f"{pod} lost it: {answer!r}")
        suite.forget_set()


def memory_of(suite, pod):
    """{container: MiB that the kubelet counts against its limit}, page cache that can be reclaimed left out."""
    node = suite.kube.pod(pod)["spec"]["nodeName"]
    stats = json.loads(suite.kube.run("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary", quiet=True))
    for p in stats["pods"]:
        if (p["podRef"]["namespace"], p["podRef"]["name"]) == (suite.kube.namespace, pod):
            return {c["name"]: c["memory"].get("workingSetBytes", 0) >> 20 for c in p["containers"]}
    return {}


@case(FULL)
def memory_limits(suite):
    """Clients that hold as many bodies and unread answers as they can do not have the server killed at its limit."""
    suite.deploy()
    before = {name: (pod["metadata"]["uid"], restarts(pod)) for name, pod in suite.kube.pods().items()}
    hoarder = suite.client.begin("hoarder.py", "seedpod-write", 120, 200)
    suite.cleanups.append(lambda: hoarder.process.poll() is None and hoarder.process.kill())
    suite.kube.wait("the hoarder holds its connections", lambda: hoarder.lines, 240)
    say(f"held: {hoarder.lines[0].strip()}")
    most = {}

    def measured():
        for container, used in memory_of(suite, "seedpod-0").items():
            most[container] = max(used, most.get(container, 0))
        return time.monotonic() > until
    until = time.monotonic() + 20
    suite.kube.wait("20 s of that", measured, 60, pause=2)
    say("seedpod-0 at most, MiB: " + ", ".join(f"{name} {used}" for name, used in most.items()))
    hoarder.process.stdin.close()
    hoarder.process.wait(30)
    suite.settle(suite.client.put("afterwards", "written", to="seedpod-write"), suite.names(2))
    after = {name: (pod["metadata"]["uid"], restarts(pod)) for name, pod in suite.kube.pods().items()}
    check(before == after, f"a container was restarted: {before} -> {after}")
