"""What is tortured, as the harness sees it: members that live and die, and clients that ask one of them.

A Member is a process in a network of its own; a Cluster founds, lists and changes its members. Two of them: seedpod in mode
raft (subject_seedpod.py), and etcd (subject_etcd.py), which shows that the harness itself accepts what is right.
"""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import typing
import urllib.parse

READ_TIMEOUT = 1.0  # seconds; an answer that takes longer is "unknown"


class Answer(typing.NamedTuple):
    """What an operation brought. `outcome` is as in linearizable.Op, or "never": it cannot have taken effect."""

    outcome: str
    value: object = None
    version: int = 0  # of the value read or written; larger means later


NEVER, UNKNOWN = Answer("never"), Answer("unknown")


class Caller:
    """HTTP to members, one kept connection each, for one thread. Redirects are followed, nothing is asked twice."""

    def __init__(self, timeout=READ_TIMEOUT):
        self.timeout = timeout
        self._open = {}

    def ask(self, url, method, path, body=None, headers=None, redirects=3):
        """(status, headers, body), or NEVER (the connection was refused), or UNKNOWN (no whole answer came)."""
        where = urllib.parse.urlsplit(url)
        for _ in range(redirects + 1):
            key = (where.hostname, where.port)
            connection = self._open.get(key)
            if connection is None:
                connection = http.client.HTTPConnection(*key, timeout=self.timeout)
                try:
                    connection.connect()
                except OSError:
                    return NEVER
                self._open[key] = connection
            try:
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                del self._open[key]
                return UNKNOWN
            if answer.will_close:
                connection.close()
                del self._open[key]
            if answer.status not in (307, 308):
                return answer.status, answer.headers, data
            where = urllib.parse.urlsplit(answer.headers["Location"])
            path = where.path + ("?" + where.query if where.query else "")
        return NEVER  # sent from one to the next and taken by none

    def json(self, url, method, path, body=None):
        """The answer's JSON, or None where there was none or it was no success."""
        got = self.ask(url, method, path, None if body is None else json.dumps(body))
        if not isinstance(got, Answer) and 200 <= got[0] < 300:
            return json.loads(got[2]) if got[2] else {}
        return None

    def close(self):
        for connection in self._open.values():
            connection.close()
        self._open = {}


class Process:
    """One process of a member's: started, killed, stopped for a while; its output in one file."""

    def __init__(self, name, wrap, log):
        self.name, self.wrap, self.log = name, list(wrap), pathlib.Path(log)
        self.child = None
        self.lives = 0
        self.lock = threading.RLock()  # a watcher may look at it while the nemesis kills it
        self.exits = []  # how each life that we did not end went: an exit code, or -signal

    def start(self, argv, env=None, cwd=None):
        self.lives += 1
        with open(self.log, "ab") as log:
            log.write(f"--- {time.monotonic():.6f} start\n".encode())
            log.flush()
            self.child = subprocess.Popen([*self.wrap, "setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd,
                                          start_new_session=True)

    @property
    def running(self):
        with self.lock:
            if self.child is not None and self.child.poll() is not None:
                self.exits.append(self.child.returncode)
                self._clear()
            return self.child is not None

    def signal(self, number):
        """To it and all that it started."""
        with self.lock:
            if self.running:
                try:
                    os.killpg(self.child.pid, number)
                except ProcessLookupError:
                    pass

    def kill(self):
        """SIGKILL; what it was in the midst of is lost."""
        with self.lock:
            self.signal(signal.SIGKILL)
            if self.child is not None:
                self.child.wait()
                self._clear()

    def _clear(self):
        """It ended; so does what it started."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child = None

    def end(self, grace=5):
        """SIGTERM, and wait."""
        child = self.child
        if not self.running:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            code = child.wait(grace)
        except subprocess.TimeoutExpired:
            self.exits.append("no end after SIGTERM")
            self.kill()
            return
        with self.lock:
            if self.child is child:
                self._clear()
        if code not in (0, -signal.SIGTERM):
            self.exits.append(code)

    def crashed(self):
        """Lives that ended by a signal of their own making, or would not end. (SIGKILL is always somebody else's.)"""
        self.running
        return [e for e in self.exits if e != -signal.SIGKILL and (not isinstance(e, int) or e < 0)]
