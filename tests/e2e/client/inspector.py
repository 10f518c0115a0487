"""What the kernel says of the set's programs: inspector.py NAMESPACE. Needs the node's processes and may see into them.

Prints JSON: for each program its pod, /proc/PID/status, what its root and its mounts are, the files that it made with
their modes and owners, the ports that its pod listens on, and the names of its environment's variables.
"""
import json
import os
import pathlib
import stat
import sys

PROGRAMS = ("seedpod-server", "seedpod-sidecar", "seedpod-init")
FOLDERS = ("/var/lib/seedpod",)
STATUS = ("Uid", "Gid", "Groups", "Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


def listening(process):
    ports = set()
    for name in ("tcp", "tcp6"):
        for line in (process / "net" / name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(ports)


def files(process):
    found = {}
    for folder in FOLDERS:
        top = process / "root" / folder[1:]
        for path in sorted(top.rglob("*")):
            try:
                held = path.lstat()
            except FileNotFoundError:
                continue
            kind = "folder" if stat.S_ISDIR(held.st_mode) else "socket" if stat.S_ISSOCK(held.st_mode) else "file"
            found[f"{folder}/{path.relative_to(top)}"] = [kind, oct(held.st_mode & 0o7777), held.st_uid]
    return found


def mounts(process):
    """{mount point: its options}"""
    return {fields[4]: fields[5].split(",") for fields in map(str.split, (process / "mountinfo").read_text().splitlines())}


found = []
for process in pathlib.Path("/proc").iterdir():
    try:
        program = os.path.basename((process / "cmdline").read_bytes().split(b"\0")[0].decode())
        if not process.name.isdigit() or program not in PROGRAMS:
            continue
        environment = dict(item.split("=", 1) for item in (process / "environ").read_text().split("\0") if "=" in item)
        if environment.get("POD_NAMESPACE") != sys.argv[1]:
            continue
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        found.append({"pod": environment["POD_NAME"], "program": program, "status": {k: status[k] for k in STATUS},
                      "mounts": mounts(process), "files": files(process), "ports": listening(process),
                      "account": (process / "root/var/run/secrets/kubernetes.io").exists(),
                      "environment": environment})
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        continue
print(json.dumps(found))
