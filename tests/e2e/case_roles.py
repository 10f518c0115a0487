"""Roles and events that Kubernetes itself shows, with no more rights than that needs."""

from case_raft import Raft
from kube import check, say
from suite import FULL, case

LABEL = "seedpod.dev/role"


def labels(suite):
    return {name: pod["metadata"]["labels"].get(LABEL) for name, pod in suite.kube.pods().items()}


def wait_labels(suite, leader, names):
    suite.kube.wait(f"{leader()} is labelled leader, and nobody else", lambda: labels(suite) == {
        name: "leader" if name == leader() else "follower" for name in names}, 90)
    suite.kube.run("get", "pods", "-l", "app.kubernetes.io/name=seedpod", "-L", LABEL)


def wait_event(suite, pod, reason):
    def there():
        found = suite.kube.get("events", "--field-selector", f"involvedObject.name={pod},reason={reason}")["items"]
        wanted = [e for e in found if e["involvedObject"]["uid"] == suite.kube.pod(pod)["metadata"]["uid"]]
        if wanted:
            say(f"  {wanted[-1]['type']} {reason} {pod}: {wanted[-1]['message'][:200]}")
        return wanted
    suite.kube.wait(f"{pod} has an event {reason}", there, 150)


def check_rights(suite):
    """What the account may do is patching the set's pods and creating Events."""
    account = f"--as=system:serviceaccount:{suite.kube.namespace}:seedpod"
    for verb, what, may in (("patch", "pods/seedpod-0", True), ("create", "events", True), ("patch", "pods/client", False),
                            ("delete", "pods/seedpod-0", False), ("get", "secrets", False), ("list", "pods", False),
                            ("patch", "statefulsets/seedpod", False)):
        code, out, _ = suite.kube.try_run("auth", "can-i", verb, what, account, quiet=True)
        say(f"  may {verb} {what}: {out.strip()}")
        check((out.strip() == "yes") == may, f"the account may {'not ' if may else ''}{verb} {what}")


@case(FULL)
def role_labels(suite):
    """Component role-label in mode raft: labels follow the leader, seedpod-write is the leader alone, events on the pods."""
    kube, client = suite.kube, suite.client
    raft = Raft(suite, ["raft", "role-label"])
    wait_labels(suite, raft.leader, raft.names())
    check_rights(suite)

    def plain_puts(count):
        for n in range(count):
            code, status = client.try_curl("-o", "/dev/null", "-w", "%{http_code}", "-XPUT", "-d", "v",
                                           f"http://seedpod-write:9876/v1/kv/plain-{n}", quiet=True)
            check(code == 0 and status == "204", f"a plain PUT at seedpod-write was answered {code} {status}")
        say(f"{count} plain PUTs at seedpod-write: all of them 204")
    plain_puts(20)
    seeded = next(n for n in raft.names() if "msg=seeded" in kube.logs(n, "init"))
    wait_event(suite, seeded, "Seeded")
    lost = raft.leader()
    raft.delete(lost)
    raft.wait_voters(3)
    wait_labels(suite, raft.leader, raft.names())
    kube.wait("seedpod-write is the leader", lambda: client.curl(
        "-f", "http://seedpod-write:9876/status", quiet=True) == "leader", 30)
    plain_puts(20)
    wait_event(suite, raft.leader(), "Promoted")
    suite.set_ini("[readiness]\nmax_lag = soon\n")
    wait_event(suite, "seedpod-1", "ConfigRejected")
