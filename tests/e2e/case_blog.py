"""The session of mehdb's users, in the cluster."""

from kube import check, is_ready
from suite import SMOKE, case


@case(SMOKE)
def blog_session(suite):
    """Apply, write, read, scale to 4, lose a pod, lose the set: the mehdb walk-through."""
    kube, client = suite.kube, suite.client
    suite.deploy()
    kube.run("get", "sts,pods,pvc,svc")

    client.file("/tmp/test", "test data\n")
    answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", "http://seedpod:9876/set/test")
    check(answer == "WRITE completed", f"the write was answered {answer!r}")
    kube.wait("seedpod-1 has it", lambda: client.curl(
        "-f", "http://seedpod-1.seedpod-headless:9876/get/test", quiet=True) == "test data\n", 10)
    client.curl("http://seedpod-1.seedpod-headless:9876/keys")
    answer = client.curl("-L", "-XPUT", "-T", "/tmp/test", "http://seedpod-1.seedpod-headless:9876/set/second")
    check(answer == "WRITE completed", "a write through the follower was not completed")
    answer = client.curl("-XPUT", "-T", "/tmp/test", "http://seedpod-write:9876/set/third")
    check(answer == "WRITE completed", "seedpod-write is not the leader")
    check(client.curl("http://seedpod-write:9876/status") == "leader", "seedpod-write is not the leader")

    suite.scale(4)
    suite.equal_digests(suite.names(4))
    for name in suite.names(4):
        check(client.curl("-f", f"http://{name}.seedpod-headless:9876/get/test") == "test data\n", f"{name} lacks it")

    uid = kube.pod("seedpod-1")["metadata"]["uid"]
    kube.run("delete", "pod", "seedpod-1")
    kube.wait("another seedpod-1 is Ready", lambda: kube.pod("seedpod-1")["metadata"]["uid"] != uid
              and is_ready(kube.pod("seedpod-1")))
    check(client.curl("-f", "http://seedpod-1.seedpod-headless:9876/get/test") == "test data\n", "seedpod-1 lost it")

    kube.run("delete", "sts", "seedpod")
    kube.wait_gone("pods", "-l", "app.kubernetes.io/name=seedpod")
    kube.run("get", "pvc")
    suite.deploy()
    check(client.curl("-f", "http://seedpod-1.seedpod-headless:9876/get/test") == "test data\n", "the set lost it")
    position = suite.equal_digests(suite.names(2))
    check(position["keys"] == 3, f"{position['keys']} keys where there were 3")
