"""seedpod in somebody else's StatefulSet."""

import json

from kube import MANIFESTS, check
from suite import FULL, case


@case(FULL)
def drop_in(suite):
    """manifests/drop-in: another StatefulSet's followers are seeded, synced and proven; the snippet says the same."""
    kube, client = suite.kube, suite.client
    patch = (MANIFESTS / "drop-in" / "seedpod.yaml").read_text()
    snippet = (MANIFESTS / "drop-in" / "snippet.yaml").read_text()
    inside = [line[6:] for line in patch.partition("    spec:\n")[2].splitlines()]
    pasted = [line for line in snippet.splitlines()][2:]
    check(inside == pasted, "snippet.yaml is not what seedpod.yaml adds")

    suite.cleanups.append(lambda: kube.run("delete", "-k", str(MANIFESTS / "drop-in"), "--wait=false", show=False))
    suite.cleanups.append(lambda: kube.run("delete", "pvc", "-l", "app=mystore", "--wait=false", show=False))
    # Images and storage class of this run.
    directory = suite.overlays.make(["drop-in"], settle=True)
    kube.run("apply", "-k", str(directory))
    kube.wait_ready(2, "mystore")
    client.file("/tmp/test", "dropped in")
    answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", "http://mystore:9876/set/test")
    check(answer == "WRITE completed", f"the write was answered {answer!r}")
    kube.wait("mystore-1 has it", lambda: client.curl(
        "-f", "http://mystore-1.mystore-headless:9876/get/test", quiet=True) == "dropped in", 15)
    kube.run("scale", "sts", "mystore", "--replicas=3")
    kube.wait_ready(3, "mystore")
    positions = [client.position(f"mystore-{i}", "mystore-headless") for i in range(3)]
    check(len({p["digest"] for p in positions}) == 1, f"the digests differ: {json.dumps(positions)}")
