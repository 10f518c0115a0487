"""Mode raft on real Kubernetes: no acknowledged write is lost, whatever pod goes, and how long writing pauses."""

import time

from kube import check, is_ready, say
from suite import FULL, case

TRY_SECONDS = 1  # a writer's patience with one try: a pod that is gone does not refuse, it is silent


class Raft:
    """The set in mode raft, and everything that was acknowledged to its writers."""

    def __init__(self, suite, components=("raft",), ini=None):
        self.suite, self.kube, self.client = suite, suite.kube, suite.client
        self.written = []  # (prefix, acknowledged)
        suite.deploy(replicas=None, components=components, ini=ini)
        self.count = 3
        self.wait_voters(3)

    # --- members ---

    def members(self, through="seedpod"):
        return self.client.json(self.client.url(through, "/v1/members"))

    def names(self):
        return self.suite.names(self.count)

    def leader(self):
        """The name of the pod that leads."""
        return next(m["name"] for m in self.members()["members"] if m.get("leader"))

    def wait_voters(self, count, timeout=120):
        def there():
            roles = [m["role"] for m in self.members()["members"]]
            return roles.count("voter") == count == len(roles)
        self.kube.wait(f"{count} members, all of them voters", there, timeout)
        told = self.members()
        say("  term {}: {}".format(told["term"], ", ".join(
            m["name"] + (" leads" if m.get("leader") else "") for m in told["members"])))

    # --- writing all the while ---

    def during(self, what, act):
        """act() while a client writes; says how long nothing was acknowledged at the longest, and that it went on."""
        prefix = f"w{len(self.written)}"
        writer = self.client.begin("writer.py", self.client.host("seedpod"), prefix, TRY_SECONDS)
        self.suite.cleanups.append(lambda: writer.process.poll() is None and writer.process.kill())
        self.wait_written(writer)
        began = time.monotonic()
        act()
        took = time.monotonic() - began
        self.wait_written(writer)
        result = writer.stop()
        self.written.append((prefix, result["acknowledged"]))
        say(f"recovery: {what}: {took:.1f} s in all; nothing acknowledged for {result['longest_pause_s']} s at the "
            f"longest, {result['acknowledged']} writes acknowledged")
        return result

    def wait_written(self, writer):
        before = writer.ask("count")["acknowledged"]
        self.kube.wait("the writer has had 30 more acknowledged",
                       lambda: writer.ask("count")["acknowledged"] > before + 30, 60, pause=0.1)

    def check_all(self):
        """Every member has all that was ever acknowledged, and all have the same."""
        self.suite.equal_digests(self.names())
        for pod in self.names():
            for prefix, count in self.written:
                read = self.client.python("verify.py", self.client.host(f"{pod}.seedpod-headless"), prefix, count)
                check(not read["missing"], f"{pod} lacks acknowledged writes of {prefix}: {read['missing']}")
        say(f"{sum(count for _, count in self.written)} acknowledged writes are on each of {', '.join(self.names())}")

    # --- pods ---

    def delete(self, pod, *arguments):
        """kubectl delete pod, until another one of that name is Ready and all are members."""
        uid = self.kube.pod(pod)["metadata"]["uid"]
        self.kube.run("delete", "pod", pod, "--wait=false", *arguments)
        self.kube.wait(f"another {pod} is Ready", lambda: self.kube.pod(pod)["metadata"]["uid"] != uid
                       and is_ready(self.kube.pod(pod)), 180)


@case(FULL)
def raft_leader_lost(suite):
    """Mode raft: the leader's pod deleted and killed under a writer, a rolling restart: nothing acknowledged is lost."""
    raft = Raft(suite)
    for how in ("--grace-period=0", "--force"), ():
        lost = raft.leader()
        raft.during(f"kubectl delete pod {lost} {' '.join(how)} (the leader)".replace("  ", " "),
                    lambda lost=lost, how=how: raft.delete(lost, *how))
        raft.wait_voters(3)
    raft.during("rolling restart", lambda: (
        suite.kube.run("rollout", "restart", "sts", "seedpod"),
        suite.kube.run("rollout", "status", "sts", "seedpod", "--timeout=300s", show=False, timeout=320),
        suite.kube.wait_ready(3)))
    raft.wait_voters(3)
    raft.check_all()


@case(FULL)
def raft_scale(suite):
    """Mode raft: scaled 3 -> 5 -> 3 -> 5 under a writer; pods that are scaled away leave by themselves."""
    raft = Raft(suite, ["raft", "raft-leave"])

    def grow():
        suite.scale(5, timeout=300)
        raft.count = 5
        raft.wait_voters(5)

    def shrink():
        suite.scale(3)
        raft.count = 3
        raft.wait_voters(3)

    raft.during("scale 3 -> 5, until all vote", grow)
    raft.check_all()
    raft.during("scale 5 -> 3, until the two have left", shrink)
    raft.check_all()
    raft.during("scale 3 -> 5 on the volumes of before", grow)
    raft.check_all()
    # A restart is no leaving: whoever comes back is the member that it was.
    ids = {m["number"]: m["id"] for m in raft.members()["members"]}
    raft.delete("seedpod-4")
    raft.wait_voters(5)
    check({m["number"]: m["id"] for m in raft.members()["members"]} == ids, "a pod that restarted is another member")


@case(FULL)
def raft_volumes_lost(suite):
    """Mode raft: a member's claim and pod deleted together, a follower's, the founder's, the leader's."""
    raft = Raft(suite)
    for number in range(3):
        lost = raft.leader() if number == 0 else f"seedpod-{(number + 1) % 3}"

        def lose(lost=lost):
            suite.delete_with_volume(lost)
            suite.kube.wait_ready(3, timeout=300)
            raft.wait_voters(3)
        raft.during(f"volume of {lost} lost, until it votes again", lose)
        log = suite.kube.logs(lost, "init")
        check("action=seed" in log, f"{lost} was not seeded:\n{log}")
    raft.check_all()
