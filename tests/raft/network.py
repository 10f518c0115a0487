"""A network that can be cut: each member in a network namespace of its own, routed through this process's.

This process must be in a network namespace of its own already (`unshare -n`, or `unshare -rn` where it is not root's). Its
clients talk to all members whatever is cut; the members talk to one another through it, and a cut is a rule for packets
that pass: they vanish, as in a network that fails, and no connection is told.

    network = Network(3)
    network.wrap(0)                 # put before a command that shall run in member 0's network
    network.cut({(0, 1), (1, 0)})   # the pairs (from, to) that are cut now: these and no others
    network.close()
"""

import ctypes
import os
import pathlib
import signal
import subprocess

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000


def address(member):
    return f"10.77.{member}.2"


class Network:
    def __init__(self, members):
        if os.readlink("/proc/self/ns/net") == os.readlink(f"/proc/{os.getppid()}/ns/net"):
            raise RuntimeError("this changes the network: run it under `unshare -n`")
        self._holders = []
        self._cut = set()
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        lines = ["link set lo up"]
        for i in range(members):
            holder = subprocess.Popen(["sleep", "infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      preexec_fn=_own_network)
            self._holders.append(holder)
            lines += [f"link add r{i} type veth peer name m{i} netns {holder.pid}", f"addr add 10.77.{i}.1/30 dev r{i}",
                      f"link set r{i} up"]
        _ip(lines)
        for i in range(members):
            _ip(["link set lo up", f"addr add {address(i)}/30 dev m{i}", f"link set m{i} up",
                 f"route add default via 10.77.{i}.1"], self.wrap(i))

    def wrap(self, member):
        return ["nsenter", f"--net=/proc/{self._holders[member].pid}/ns/net", "--"]

    def cut(self, pairs):
        pairs = set(pairs)
        rule = "rule {} from {} to {} priority 100 blackhole".format
        lines = [rule("del", address(a), address(b)) for a, b in sorted(self._cut - pairs)]
        lines += [rule("add", address(a), address(b)) for a, b in sorted(pairs - self._cut)]
        if lines:
            _ip(lines)
        self._cut = pairs

    def close(self):
        for holder in self._holders:
            holder.kill()
            holder.wait()
        self._holders = []


def _own_network():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _ip(lines, wrap=()):
    done = subprocess.run([*wrap, "ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip: {done.stderr.strip()} ({'; '.join(lines)})")


def usable():
    """The command before a program that needs a network like this, or None where this machine does not let us."""
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    here = pathlib.Path(__file__).resolve()
    try:
        done = subprocess.run([*command, "python3", str(here)], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return command if done.returncode == 0 else None


def _try_out():
    network = Network(2)
    try:
        network.cut({(0, 1)})
        network.cut(set())
    finally:
        network.close()


if __name__ == "__main__":
    _try_out()
