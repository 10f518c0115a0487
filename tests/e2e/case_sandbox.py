"""What the programs may do in a real pod, as the kernel tells it."""

import json
import subprocess

from client import SCRIPTS
from doors import Doors, lines_for, sections
from kube import CLIENT_IMAGE, Failed, check, say
from suite import FULL, Skipped, case

INSPECTOR = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inspector"},
    "spec": {
        "hostPID": True, "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 0},
        "containers": [{"name": "inspector", "image": CLIENT_IMAGE, "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "infinity"], "securityContext": {"privileged": True}}],
    },
}
# What is mounted for writing; the second line is the runtime's in every pod, and root's but for the termination message.
WRITABLE = {"/var/lib/seedpod",
            "/dev", "/dev/mqueue", "/dev/pts", "/dev/shm", "/dev/termination-log", "/etc/hostname", "/etc/hosts",
            "/etc/resolv.conf"}


def inspect(suite):
    """The programs of the set, by a pod that sees the node's processes."""
    kube = suite.kube
    code, _, err = kube.try_run("apply", "-f", "-", input=json.dumps(INSPECTOR))
    if code != 0:
        raise Skipped(f"no pod may see the node's processes here: {err.strip()[:200]}")
    suite.cleanups.append(lambda: kube.run("delete", "pod", "inspector", "--wait=false"))
    kube.wait("the inspector runs", lambda: kube.pod("inspector")["status"]["phase"] == "Running")
    source = (SCRIPTS / "inspector.py").read_text()
    done = subprocess.run(kube.command("exec", "inspector", "--", "python3", "-c", source, kube.namespace),
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failed(f"inspector.py: {done.stderr[-800:]}")
    return json.loads(done.stdout)


@case(FULL)
def sandboxed(suite):
    """No root, capability, privilege or writable root; seccomp on; files for their user alone; no secret in the environment."""
    doors = Doors(suite)
    doors.publish_certificate()
    doors.publish_tokens()
    suite.deploy(replicas=2, ini=sections() + lines_for("tls") + lines_for("auth"), components=["tls", "auth"])
    doors.open()
    suite.settle(suite.client.put("k", "v"), suite.names(2))
    programs = inspect(suite)
    check(len(programs) == 4, f"{len(programs)} programs where there should be two a pod")
    for p in programs:
        what, status = f"{p['pod']} {p['program']}", p["status"]
        check(status["Uid"].split() == status["Gid"].split() == ["65532"] * 4, f"{what}: {status}")
        check(set(status["Groups"].split()) <= {"65532"}, f"{what}: groups {status['Groups']}")
        capabilities = [name for name in status if name.startswith("Cap") and int(status[name], 16) != 0]
        check(not capabilities, f"{what}: {capabilities}")
        check(status["NoNewPrivs"] == "1", f"{what}: may gain privileges")
        check(status["Seccomp"] == "2", f"{what}: no seccomp filter (Seccomp: {status['Seccomp']})")
        check(int(status["Umask"], 8) == 0o077, f"{what}: umask {status['Umask']}")
        check("ro" in p["mounts"]["/"], f"{what}: the root file system can be written")
        writable = {path for path, options in p["mounts"].items()
                    if "rw" in options and not path.startswith(("/proc", "/sys"))}
        check(writable <= WRITABLE, f"{what}: can be written too: {writable - WRITABLE}")
        check(not p["account"], f"{what}: has a service account's token")
        check(p["ports"] == [9876, 9877], f"{what}: the pod listens on {p['ports']}")
        told = [name for name, value in p["environment"].items()
                if any(token in value for tokens in doors.tokens.values() for token in tokens)]
        check(not told, f"{what}: a token stands in {told}")
        for path, (kind, mode, owner) in p["files"].items():
            wanted = "0o700" if kind == "folder" else "0o600"
            # fsGroup: some volumes have their top and what was on it opened to the pod's group, which is its user's own.
            check(owner == 65532 and (mode == wanted or kind == "folder" and mode == "0o2700"),
                  f"{what}: {path} is {mode} of {owner}")
        say(f"  {what}: uid 65532, no capabilities, NoNewPrivs 1, Seccomp 2, umask 077, root read-only; writable: "
            + ", ".join(sorted(w for w in writable if not w.startswith(("/dev", "/etc")))))
    seen = {path for p in programs for path in p["files"]}
    wanted = {"/var/lib/seedpod/control.sock", "/var/lib/seedpod/store/data.mdb", "/var/lib/seedpod/seed.json"}
    check(wanted <= seen, f"files that were to be looked at are not there: {wanted - seen}")
    say(f"{len(seen)} files, folders and sockets are 0600 or 0700")
