"""`kubectl describe pod` alone tells what is wrong."""

import json

from client import POD
from kube import check, say
from suite import FULL, Skipped, case

INI = """[pod]
service = seedpod-headless
peer_url = {peer_url}

[bootstrap]
attempts = 2

[sync]
on_divergence = {on_divergence} ; live

[readiness]
max_lag = 10s ; live
"""
PEER_URL = "http://{name}.{service}.{namespace}.svc:9876"


def ini(peer_url=PEER_URL, on_divergence="halt"):
    return INI.format(peer_url=peer_url, on_divergence=on_divergence)


def helper(name, script, volumes=(), mounts=(), **security):
    """A pod that does one thing to a volume or to the node."""
    pod = json.loads(json.dumps(POD))
    pod["metadata"] = {"name": name, "labels": {"app": "helper"}}
    pod["spec"] |= {"restartPolicy": "Never", "securityContext": {}, "volumes": list(volumes)}
    pod["spec"]["containers"][0] |= {"command": ["sh", "-euxc", script], "volumeMounts": list(mounts),
                                     "securityContext": security}
    return pod


def run_helper(suite, pod):
    """Run it to its end."""
    kube, name = suite.kube, pod["metadata"]["name"]
    kube.run("apply", "-f", "-", input=json.dumps(pod))
    kube.wait(f"{name} is done", lambda: kube.pod(name)["status"]["phase"] in ("Succeeded", "Failed"))
    done, log = kube.pod(name)["status"]["phase"], kube.logs(name, "client")
    kube.run("delete", "pod", name, "--wait=false", show=False)
    kube.wait_gone("pod", name)
    return done == "Succeeded", log


@case(FULL)
def leader_out_of_reach(suite):
    """A follower that cannot reach its leader: with a store (unready), and with an empty volume (init fails)."""
    kube = suite.kube
    suite.deploy(ini=ini())
    suite.settle(suite.client.put("some", "thing"), suite.names(2))
    suite.set_ini(ini(peer_url="http://{name}.nowhere.{namespace}.svc:9876"))
    kube.run("delete", "pod", "seedpod-1")
    suite.wait_described("seedpod-1", "Readiness probe failed: proof missing: the leader's position is not known",
                         "nowhere")
    suite.delete_with_volume("seedpod-1")
    suite.wait_described("seedpod-1", "Exit Code:    69", "seedpod-0.nowhere", timeout=180)


@case(FULL)
def wrong_key(suite):
    """A wrong key in the ConfigMap of a pod that starts."""
    kube = suite.kube
    suite.deploy(ini=ini())
    suite.set_ini(ini().replace("max_lag =", "max_lagg ="))
    kube.run("delete", "pod", "seedpod-1")
    suite.wait_described("seedpod-1", "Exit Code:    78", "seedpod.ini:", "max_lagg", "did you mean")
    suite.set_ini(ini())
    kube.wait_ready(2, timeout=300)


@case(FULL)
def corrupt_volume(suite):
    """A corrupt volume of a follower: refused and explained; seeded again where the configuration says so."""
    kube = suite.kube
    suite.deploy(ini=ini())
    suite.settle(suite.client.put("some", "thing"), suite.names(2))
    suite.scale(1)
    done, log = run_helper(suite, helper(
        "breaker", "ls -l /data/store; dd if=/dev/urandom of=/data/store/data.mdb bs=4096 count=2 conv=notrunc",
        [{"name": "data", "persistentVolumeClaim": {"claimName": "data-seedpod-1"}}],
        [{"name": "data", "mountPath": "/data"}], runAsUser=65532))
    check(done, f"the breaker failed:\n{log}")
    kube.run("scale", "sts", "seedpod", "--replicas=2")
    suite.wait_described("seedpod-1", "Exit Code:    65", "cannot be read", "on_divergence")
    suite.set_ini(ini(on_divergence="reseed"))
    kube.wait_ready(2, timeout=300)
    suite.equal_digests(suite.names(2))


@case(FULL)
def full_volume(suite):
    """A full volume: of a follower that is to be seeded, and of the leader while it is written to."""
    kube = suite.kube
    path = f"/tmp/{suite.namespace}-small"
    on_node = "nsenter -t 1 -m -- "

    def node_pod(name, script):
        pod = helper(name, script, privileged=True, runAsUser=0)
        pod["spec"]["hostPID"] = True
        return pod
    mounts = "".join(f"{on_node}mkdir -p {path}-{i}; {on_node}mount -t tmpfs -o size=24m,mode=0777 small {path}-{i}; "
                     for i in (0, 1))
    unmounts = "".join(f"{on_node}umount -l {path}-{i}; {on_node}rmdir {path}-{i}; " for i in (0, 1))
    suite.cleanups.append(lambda: run_helper(suite, node_pod("unmount", unmounts)))
    suite.cleanups.append(lambda: (suite.forget_set(), kube.run(
        "delete", "pv", "-l", f"seedpod-e2e={suite.namespace}", "--wait=false", show=False)))
    done, log = run_helper(suite, node_pod("mount", mounts))
    if not done:
        raise Skipped(f"this cluster lets nobody mount a small volume on its node: {log.strip()[-200:]}")
    for i in (0, 1):
        claim = f"data-seedpod-{i}"
        volume = f"{suite.namespace}-small-{i}"
        kube.run("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "PersistentVolume",
             "metadata": {"name": volume, "labels": {"seedpod-e2e": suite.namespace}},
             "spec": {"capacity": {"storage": "24Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": volume,
                      "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": f"{path}-{i}"}}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
             "metadata": {"name": claim, "labels": {"app.kubernetes.io/name": "seedpod"}},
             "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": volume,
                      "resources": {"requests": {"storage": "24Mi"}}}}]}))
    suite.deploy(replicas=1, ini=ini())
    loaded = suite.client.python("loader.py", "seedpod-write", 32)
    say(f"32 MiB to a volume of 24 MiB: {loaded['status']} {loaded['answer']}")
    check(loaded["status"] == 507, f"writing to a full volume was answered {loaded['status']}")
    suite.wait_described("seedpod-0", "Readiness probe failed: writes not accepted", timeout=60)

    # The follower's volume is smaller than the leader's store: something else lies on it.
    run_helper(suite, node_pod("filler", f"{on_node}dd if=/dev/zero of={path}-1/other bs=1M count=20"))
    suite.client.curl("-XDELETE", "http://seedpod-write:9876/v1/kv/load-0")
    kube.run("patch", "sts", "seedpod", "-p", json.dumps({"spec": {"podManagementPolicy": "OrderedReady"}}), show=False)
    kube.wait("seedpod-0 is Ready again after a deletion", lambda: kube.get("sts", "seedpod")["status"].get(
        "readyReplicas") == 1, 60)
    kube.run("scale", "sts", "seedpod", "--replicas=2")
    suite.wait_described("seedpod-1", "Exit Code:    73", "free", timeout=180)
