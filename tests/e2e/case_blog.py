"""The session of mehdb's users, in the cluster."""

from kube import check, is_ready
from suite import SMOKE, case


@case(SMOKE)
def blog_session(suite):
    """Apply, write, read, scale to 4, lose a pod, lose the set: the mehdb walk-through, with mehdb's own names."""
    kube, client = suite.kube, suite.client
    directory = suite.walk_through()
    suite.cleanups.append(lambda: kube.run("delete", "-k", str(directory), "--wait=false", "--ignore-not-found", show=False))
    kube.run("apply", "-k", str(directory))
    kube.wait_ready(2, "mehdb")
    kube.run("get", "sts,pods,pvc,svc")

    client.file("/tmp/test", "test data\n")
    for key in ("test", "a", "b", "c", "d", "e"):  # the name stands for both pods: some of these are redirected
        answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", f"http://mehdb:9876/set/{key}")
        check(answer == "WRITE completed", f"the write was answered {answer!r}")
    kube.wait("mehdb-1 has it", lambda: client.curl(
        "-f", "http://mehdb-1.mehdb:9876/get/test", quiet=True) == "test data\n", 10)
    client.curl("http://mehdb-1.mehdb:9876/keys")
    answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", "http://mehdb-1.mehdb:9876/set/second")
    check(answer == "WRITE completed", "a write through the follower was not completed")

    kube.run("scale", "sts", "mehdb", "--replicas=4")
    kube.wait_ready(4, "mehdb")
    suite.equal_digests([f"mehdb-{n}" for n in range(4)], service="mehdb")
    for n in range(4):
        check(client.curl("-f", f"http://mehdb-{n}.mehdb:9876/get/test") == "test data\n", f"mehdb-{n} lacks it")

    uid = kube.pod("mehdb-1")["metadata"]["uid"]
    kube.run("delete", "pod", "mehdb-1")
    kube.wait("another mehdb-1 is Ready", lambda: kube.pod("mehdb-1")["metadata"]["uid"] != uid
              and is_ready(kube.pod("mehdb-1")))
    check(client.curl("-f", "http://mehdb-1.mehdb:9876/get/test") == "test data\n", "mehdb-1 lost it")

    kube.run("delete", "sts", "mehdb")
    kube.wait_gone("pods", "-l", "app.kubernetes.io/name=seedpod")
    kube.run("get", "pvc")
    kube.run("apply", "-k", str(directory))
    kube.wait_ready(2, "mehdb")
    check(client.curl("-f", "http://mehdb-1.mehdb:9876/get/test") == "test data\n", "the set lost it")
    position = suite.equal_digests(["mehdb-0", "mehdb-1"], service="mehdb")
    check(position["keys"] == 7, f"{position['keys']} keys where there were 7")
