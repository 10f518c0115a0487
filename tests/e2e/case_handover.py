"""How long mode raft takes no writes when its leader's pod goes, many times over: a measurement, not part of `full`."""

import datetime
import json
import os
import subprocess
import time

from case_raft import Raft
from kube import is_ready, say
from suite import LONG, case

COUNT = int(os.environ.get("HANDOVERS") or 30)
LIMIT = float(os.environ.get("LIMIT") or 1.0)  # seconds; a longer pause is explained


class Members:
    """The pods' addresses, told to the writer whenever they change, and the servers' logs as they come."""

    def __init__(self, suite, raft):
        self.suite, self.kube, self.raft = suite, suite.kube, raft
        self.writer = suite.client.begin("pauses.py", "h", 3)
        suite.cleanups.append(lambda: self.writer.process.poll() is None and self.writer.process.kill())
        self.told, self.logs = None, []
        self.tell()

    def tell(self):
        pods = json.loads(self.kube.run("get", "pods", "-l", "app.kubernetes.io/name=seedpod", "-o", "json", quiet=True))
        line = "members " + " ".join(sorted(f"{p['metadata']['name']}={p['status']['podIP']}" for p in pods["items"]
                                            if p["status"].get("podIP")))
        if line != self.told:
            self.writer.ask(line)
            self.told = line

    def follow_logs(self):
        """Begin to keep what the servers log: a pod that is deleted takes its log along."""
        self.logs = []
        for pod in self.raft.names():
            command = self.kube.command("logs", pod, "-c", "server", "-f", "--since=1s")
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.logs.append((pod, process))

    def said(self):
        """What they logged since follow_logs(), and what the pods that came anew did."""
        lines = []
        for pod, process in self.logs:
            process.terminate()
            lines += [f"{line.split(' ', 1)[0]} {pod} {line.split(' ', 1)[1]}" for line in process.stdout if " " in line]
        return [line.rstrip()[:240] for line in sorted(lines)]

    def wait_back(self, pod, uid):
        def back():
            self.tell()
            code, out, _ = self.kube.try_run("get", "pod", pod, "-o", "json", quiet=True)
            found = json.loads(out) if code == 0 else None
            return found and found["metadata"]["uid"] != uid and is_ready(found)
        self.kube.wait(f"another {pod} is Ready", back, 180, pause=0.2)


def measure(suite, what, arguments):
    raft = Raft(suite)
    members, pauses = Members(suite, raft), []
    for number in range(COUNT):
        leader = raft.leader()
        uid = suite.kube.pod(leader)["metadata"]["uid"]
        members.follow_logs()
        time.sleep(1)
        members.writer.ask("mark")
        suite.kube.run("delete", "pod", leader, "--wait=false", *arguments)
        members.wait_back(leader, uid)
        raft.wait_voters(3)
        time.sleep(0.5)
        told, said = members.writer.ask("mark"), members.said()
        pauses.append(told["longest_pause_s"])
        say(f"{what} {number}: nothing acknowledged for {pauses[-1]:.3f} s at the longest, load average "
            f"{os.getloadavg()[0]:.1f}")
        if pauses[-1] > LIMIT:
            began, ended = (datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%H:%M:%S.%f")[:-3]
                            for t in (told["began"], told["began"] + pauses[-1]))
            leads = [line for line in said if "this member leads" in line and began <= line[16:28] <= ended]
            say(f"  from {began} to {ended}; {'the lead went over within it' if leads else 'no lead went over within it'}")
            for line in said:
                say("  " + line)
    members.writer.stop()
    ordered = sorted(pauses)
    say(f"{what}, {COUNT} times: min {ordered[0]:.3f}  median {ordered[COUNT // 2]:.3f}  p90 "
        f"{ordered[int(0.9 * COUNT)]:.3f}  max {ordered[-1]:.3f} s; above {LIMIT:g} s: {sum(p > LIMIT for p in ordered)}")


@case(LONG)
def raft_handovers(suite):
    """Mode raft: HANDOVERS times (30) the leader's pod is deleted; how long nothing is acknowledged, by pod addresses."""
    measure(suite, "hand-over", ())


@case(LONG)
def raft_kills(suite):
    """Mode raft: the same with the leader's pod killed."""
    measure(suite, "kill", ("--grace-period=0", "--force"))
