"""`kubectl describe pod` alone tells what is wrong."""

import json

from client import POD
from kube import check, say
from suite import FULL, case

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


# A container's /dev/shm is a file system of 64 MiB that all containers of a pod share: a small volume that every cluster
# has and that needs no rights. The claim's volume is mounted inside of it, for the pod that is to have room.
ROOM_FOR_0 = """apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: seedpod
spec:
  template:
    spec:
      initContainers:
      - name: init
        volumeMounts: [{name: data, mountPath: /dev/shm/0}]
      - name: sidecar
        volumeMounts: [{name: data, mountPath: /dev/shm/0}]
      containers:
      - name: server
        volumeMounts: [{name: data, mountPath: /dev/shm/0}]
"""


@case(FULL)
def full_volume(suite):
    """A full volume: of the leader while it is written to, and of a follower that is to be seeded."""
    kube = suite.kube
    small = ini() + "\n[server]\ndata_dir = /dev/shm/{place}\n"
    suite.deploy(replicas=1, ini=small.replace("{place}", "store"))
    loaded = suite.client.python("loader.py", "seedpod-write", 96)
    say(f"96 MiB to a volume of 64 MiB: {loaded['status']} {loaded['answer']}")
    check(loaded["status"] == 507, f"writing to a full volume was answered {loaded['status']}")
    suite.wait_described("seedpod-0", "Readiness probe failed: writes not accepted", "is full", timeout=60)
    check(suite.client.curl("-f", "-o", "/dev/null", "-w", "%{http_code}",
                            "http://seedpod-0.seedpod-headless:9876/v1/kv/load-0") == "200", "it reads no more")
    suite.forget_set()

    suite.deploy(replicas=1, ini=small.replace("{place}", "{ordinal}"), patches=[ROOM_FOR_0])
    loaded = suite.client.python("loader.py", "seedpod-write", 96)
    check(loaded["status"] == 200, f"loading was answered {loaded}")
    kube.run("scale", "sts", "seedpod", "--replicas=2")
    suite.wait_described("seedpod-1", "Exit Code:    73", "free", timeout=180)
