"""Losing the leader, and losing volumes."""

import time

from kube import check, is_ready, say
from suite import FULL, case


@case(FULL)
def leader_deleted_under_writers(suite):
    """kubectl delete pod of the leader under two writing clients: every acknowledged write is there afterwards."""
    kube, client = suite.kube, suite.client
    suite.deploy()
    writers = {"direct": client.begin("writer.py", "seedpod-write", "direct"),
               "redirected": client.begin("writer.py", "seedpod", "redirected")}
    for writer in writers.values():
        suite.cleanups.append(lambda writer=writer: writer.process.poll() is None and writer.process.kill())
    kube.wait("both have written", lambda: client.position("seedpod-0")["keys"] > 200)
    for arguments in (), ("--grace-period=0", "--force"):
        uid = kube.pod("seedpod-0")["metadata"]["uid"]
        began = time.monotonic()
        kube.run("delete", "pod", "seedpod-0", "--wait=false", *arguments)
        kube.wait("another seedpod-0 is Ready", lambda uid=uid: kube.pod("seedpod-0")["metadata"]["uid"] != uid
                  and is_ready(kube.pod("seedpod-0")))
        say(f"recovery: the leader is Ready again {time.monotonic() - began:.1f} s after kubectl delete pod "
            + " ".join(arguments))
        keys = client.position("seedpod-0")["keys"]
        kube.wait("the writers go on", lambda keys=keys: client.position("seedpod-0")["keys"] > keys + 200)
    results = {name: writer.stop() for name, writer in writers.items()}
    suite.equal_digests(suite.names(2))
    for name, result in results.items():
        say(f"recovery: {name}: nothing acknowledged for {result['longest_pause_s']} s at the longest")
        for pod in suite.names(2):
            read = client.python("verify.py", f"{pod}.seedpod-headless", name, result["acknowledged"])
            say(f"{pod}: {read}")
            check(not read["missing"], f"{pod} lacks acknowledged writes: {read['missing']}")


@case(FULL)
def volumes_lost(suite):
    """The leader's claim and pod deleted together: it comes back with a follower's data. A follower's: seeded again."""
    kube, client = suite.kube, suite.client
    suite.deploy()
    for n in range(20):
        seq = client.put(f"kept-{n}", f"value {n}")
    suite.settle(seq, suite.names(2))
    before = suite.equal_digests(suite.names(2))

    suite.delete_with_volume("seedpod-1")
    kube.wait_ready(2)
    log = kube.logs("seedpod-1", "init")
    check("action=seed" in log, f"seedpod-1 was not seeded:\n{log}")
    after = suite.equal_digests(suite.names(2))
    check(after["digest"] == before["digest"], "the digest is another")

    suite.delete_with_volume("seedpod-0")
    kube.wait_ready(2)
    log = kube.logs("seedpod-0", "init")
    say([line for line in log.splitlines() if "action=" in line][-1])
    check("action=restore" in log, f"seedpod-0 was not restored:\n{log}")
    after = suite.equal_digests(suite.names(2))
    check(after["cluster"] == before["cluster"] and after["keys"] == before["keys"], f"{before} -> {after}")
    check(after["epoch"] == before["epoch"] + 1, "no new epoch was begun")
    for n in range(20):
        answer = client.curl("-f", f"http://seedpod-0.seedpod-headless:9876/v1/kv/kept-{n}", quiet=True)
        check(answer == f"value {n}", f"kept-{n} is {answer!r}")
    seq = client.put("afterwards", "written")
    suite.settle(seq, suite.names(2))
