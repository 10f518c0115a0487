"""seedpod in somebody else's StatefulSet."""

import json

from kube import DEFAULT_IMAGE, IMAGE, MANIFESTS, check
from suite import FULL, Skipped, case


@case(FULL)
def drop_in(suite):
    """manifests/drop-in: another StatefulSet's followers are seeded, synced and proven; the snippet says the same."""
    kube, client = suite.kube, suite.client
    if suite.old:
        raise Skipped("manifests/drop-in is for Kubernetes 1.29 and later")
    patch = (MANIFESTS / "drop-in" / "seedpod.yaml").read_text()
    snippet = (MANIFESTS / "drop-in" / "snippet.yaml").read_text()
    inside = [line[6:] for line in patch.partition("    spec:\n")[2].splitlines()]
    pasted = [line for line in snippet.splitlines()][2:]
    check(inside == pasted, "snippet.yaml is not what seedpod.yaml adds")

    suite.cleanups.append(lambda: kube.run("delete", "-k", str(MANIFESTS / "drop-in"), "--wait=false", show=False))
    suite.cleanups.append(lambda: kube.run("delete", "pvc", "-l", "app=mystore", "--wait=false", show=False))
    # As it was before: it runs, and its follower has nothing.
    before = (MANIFESTS / "drop-in" / "mystore.yaml").read_text().replace(f"image: {DEFAULT_IMAGE}\n", f"image: {IMAGE}\n")
    kube.run("apply", "-f", "-", input=before)
    kube.wait_ready(2, "mystore")
    client.curl("-f", "-XPUT", "-d", "from before", "http://mystore-0.mystore-headless:9876/v1/kv/old")
    # Image and storage class of this run.
    directory = suite.overlays.make(["drop-in"], settle=True, name="mystore")
    kube.run("apply", "-k", str(directory))
    kube.wait_ready(2, "mystore")
    kube.wait("mystore-1 has what was there before", lambda: client.curl(
        "-f", "http://mystore-1.mystore-headless:9876/v1/kv/old", quiet=True) == "from before", 15)
    client.file("/tmp/test", "dropped in")
    answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", "http://mystore:9876/set/test")
    check(answer == "WRITE completed", f"the write was answered {answer!r}")
    kube.wait("mystore-1 has it", lambda: client.curl(
        "-f", "http://mystore-1.mystore-headless:9876/get/test", quiet=True) == "dropped in", 15)
    kube.run("scale", "sts", "mystore", "--replicas=3")
    kube.wait_ready(3, "mystore")
    positions = [client.position(f"mystore-{i}", "mystore-headless") for i in range(3)]
    check(len({p["digest"] for p in positions}) == 1, f"the digests differ: {json.dumps(positions)}")
