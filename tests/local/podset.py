"""Pods as processes: what a kubelet does for a StatefulSet, on one machine.

A pod is a loopback address 127.0.<octet>.<ordinal>, a directory and three programs. It runs seedpod-init to its end,
then seedpod-server and seedpod-sidecar, all from one INI file that is laid out as a ConfigMap volume is. The demo, `make
up` and the integration tests are built on this module; it needs nothing but Python's standard library.

    pods = PodSet(root, build, octet=5)
    pods.scale(3)                       # starts store-0, store-1, store-2 and waits until each runs
    pods.wait_ready()
    pods[1].kill("server")              # SIGKILL, as the kernel would
    pods[1].restart("server")
    pods.close()                        # ends everything; the directory stays

Where a pod stands after a call:

    stopped --begin()--> init --(exit 0)--> running --stop(), kill()--> stopped
                           \\--(other)----> failed

tick() moves it on. Nobody needs to call it for a pod that was started with start(); a set that must behave like a real
node (restarting what dies) is ticked from a thread, see PodSet.supervise().
"""

import atexit
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import typing
import urllib.parse

CONTAINERS = ("init", "server", "sidecar")
API_PORT = 9876
SIDECAR_PORT = 9877
RAFT_PORT = 9875

# How much slower than a plain build everything is: sanitizers and valgrind set it.
SLOW = float(os.environ.get("SEEDPOD_TEST_SLOW", "1"))

# A Unix socket's path must fit in sun_path.
SOCKET_PATH_MAX = 107

# The kernel kills a child when the *thread* that started it ends, so all are started by one that lives as long as we do.
_spawner = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="spawner")
_open_sets: set["PodSet"] = set()


# A program that is killed writes no counts of the lines that it reached: `make coverage` has them end in order.
COUNTING = os.environ.get("SEEDPOD_TEST_COUNTING") == "1"


class PodError(Exception):
    """Something did not come about; the text holds the logs' ends."""


class Reply(typing.NamedTuple):
    """An HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)

    def text(self):
        return self.body.decode()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One HTTP connection, opened when it is needed and kept between requests. For one thread."""

    def __init__(self, host, port, timeout=30.0, unix=None, tls=None, headers=None):
        self._host, self._port, self._unix = host, port, unix
        self._tls, self._headers = tls, headers or {}
        self._timeout = timeout * SLOW
        self._connection = None

    def _open(self):
        if self._unix:
            return _UnixConnection(self._unix, self._timeout)
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def ask(self, method, path, body=None, headers=None):
        """Ask once. A connection that fails is closed and the failure raised: whether to ask again is the caller's."""
        if self._connection is None:
            self._connection = self._open()
        try:
            self._connection.request(method, path, body, self._headers | (headers or {}))
            answer = self._connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return reply

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def quote_key(key):
    """A key as it stands in a path: everything but letters, digits and _.-~ percent-encoded."""
    return urllib.parse.quote(key, safe="")


def parse_metrics(text):
    """Prometheus text as {'name{labels}': value}."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples


def wait_until(condition, timeout, what, pods=None, pause=0.02):
    """Wait until condition() is true, return what it returned. Connections refused or cut count as "not yet".

    Raises PodError after `timeout` seconds (times SLOW), with the last exception and the ends of the pods' logs.
    """
    deadline = time.monotonic() + timeout * SLOW
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as problem:
            last = problem
        if time.monotonic() > deadline:
            reason = f" (last: {last!r})" if last else ""
            logs = "\n" + pods.log_tails() if pods else ""
            raise PodError(f"waited {timeout * SLOW:.0f} s in vain until {what}{reason}{logs}")
        time.sleep(pause)


def claim_octet(first=10, last=250):
    """Take a third octet that no other test on this machine uses: (octet, claim). Keep `claim` open as long.

    The claim is a name in the kernel's abstract socket namespace: it leaves nothing behind, however we end.
    """
    for octet in range(first, last):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0seedpod-octet-{octet}")
            return octet, claim
        except OSError:
            claim.close()
    raise PodError(f"no free loopback network among 127.0.{first}.0 to 127.0.{last}.0")


class Container:
    """One program of a pod: at most one process at a time, its output in one log file."""

    def __init__(self, pod, name):
        self.pod, self.name = pod, name
        self.process = None
        self.starts = 0
        self.wrap = []  # put before the command: valgrind and its options
        self.arguments = []  # put after it
        self.exits = []  # exit codes so far, -signal where one ended it
        self.log_path = pod.dir / "logs" / f"{name}.log"
        self.termination_log = pod.dir / "termination" / name

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid if self.running else None

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def command(self):
        pods = self.pod.set
        program = str(pods.build / f"seedpod-{self.name}")
        return [*self.wrap, program, "--config", str(pods.config_path), *self.arguments]

    def environment(self):
        values = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDPOD_", "POD_"))}
        values |= {"POD_NAME": self.pod.name, "SEEDPOD_POD_TERMINATION_LOG": str(self.termination_log)}
        values |= self.pod.environment
        return values

    def start(self):
        if self.running:
            raise PodError(f"{self.pod.name}: {self.name} runs already")
        self.reap()
        # As in a container, the log goes to a file that outlives the process, and everything that the program starts
        # dies with it (here: one process group).
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.termination_log.parent.mkdir(parents=True, exist_ok=True)
        self.termination_log.write_bytes(b"")
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self.command()]
        with open(self.log_path, "ab") as log:
            self.process = _spawner.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.pod.dir,
                env=self.environment(), start_new_session=True).result()
        self.starts += 1
        return self

    def signal(self, number):
        """Send a signal to the program alone; SIGKILL goes to all that it started too, as a container's end would."""
        if not self.running:
            return
        try:
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        except ProcessLookupError:
            pass

    def wait(self, timeout=30.0):
        """The exit code (-signal where one ended it)."""
        if self.process is None:
            raise PodError(f"{self.pod.name}: {self.name} was never started")
        try:
            self.process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise PodError(f"{self.pod.name}: {self.name} still runs after {timeout * SLOW:.0f} s\n"
                           + self.pod.set.log_tails()) from None
        return self.reap()

    def reap(self):
        """Note the end of a process that has ended and clear what it left running."""
        if self.process is None or self.process.poll() is None:
            return None
        code, pid = self.process.returncode, self.process.pid
        self.process = None
        self.exits.append(code)
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return code

    def kill(self):
        if self.running:
            self.signal(signal.SIGKILL)
            self.wait()

    def stop(self, grace=30.0):
        """SIGTERM, and SIGKILL where that does not end it within `grace` seconds; the exit code, None if none ran."""
        if not self.running:
            return self.reap()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(grace * SLOW)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        return self.wait()


class Pod:
    def __init__(self, pods, ordinal):
        self.set, self.ordinal = pods, ordinal
        self.name = f"{pods.name}-{ordinal}"
        self.ip = f"127.0.{pods.octet}.{ordinal}"
        self.dir = pods.root / self.name
        self.data_dir = self.dir / "data"
        self.store_dir = self.data_dir / "store"
        self.control_socket = pods.run_root / self.name / "run" / "control.sock"
        self.url = f"http://{self.ip}:{API_PORT}"
        self.sidecar_url = f"http://{self.ip}:{SIDECAR_PORT}"
        self.environment = {}
        self.phase = "stopped"
        self.init_exit = None
        self.init_seconds = None
        self.lock = threading.RLock()
        self._mounted = False
        self._retry_at = 0.0
        self._began = 0.0
        self.containers = {name: Container(self, name) for name in CONTAINERS}
        self.make_directories()

    init = property(lambda self: self.containers["init"])
    server = property(lambda self: self.containers["server"])
    sidecar = property(lambda self: self.containers["sidecar"])

    def make_directories(self):
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.control_socket.parent.mkdir(parents=True, exist_ok=True)

    # --- life ---

    def begin(self):
        """Start the pod: its init container. tick() or wait_running() does the rest."""
        with self.lock:
            if self.phase in ("init", "running"):
                raise PodError(f"{self.name} is {self.phase} already")
            self.check_ports()
            self.phase, self.init_exit, self._began = "init", None, time.monotonic()
            self.init.start()

    def check_ports(self):
        for port in (API_PORT, SIDECAR_PORT, RAFT_PORT) if self.set.raft else (API_PORT, SIDECAR_PORT):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.ip, port))
                except OSError as problem:
                    raise PodError(f"{self.name} cannot start: {self.ip}:{port}: {problem.strerror}. "
                                   "Another process has that address.") from None

    def tick(self, restarts=False):
        """One look, as a kubelet's: after init start the others; with `restarts`, start again what has ended."""
        with self.lock:
            if self.phase == "init" and not self.init.running:
                self.init_exit = self.init.reap()
                self.init_seconds = time.monotonic() - self._began
                if self.init_exit == 0:
                    self.server.start()
                    self.sidecar.start()
                    self.phase = "running"
                else:
                    self.phase = "failed"
                    self._retry_at = time.monotonic() + 0.3
            elif self.phase == "failed" and restarts and time.monotonic() >= self._retry_at:
                self.phase = "init"
                self.init.start()
            elif self.phase == "running" and restarts:
                for container in (self.server, self.sidecar):
                    if not container.running:
                        container.start()

    def wait_running(self, timeout=60.0):
        """Wait until init is through and the other containers are started."""
        def over():
            self.tick()
            return self.phase != "init"
        wait_until(over, timeout, f"{self.name}'s init ends", self.set)
        if self.phase != "running":
            raise PodError(f"{self.name}: init exited {self.init_exit}\n{self.set.log_tails()}")
        return self

    def start(self, timeout=60.0):
        self.begin()
        return self.wait_running(timeout)

    def start_serving(self, timeout=60.0):
        """start(), and wait until the server answers from its store."""
        self.start(timeout)
        wait_until(self.position, timeout, f"{self.name} serves", self.set)
        return self

    def run_init(self, *arguments, timeout=60.0):
        """Run init alone, to its end: (exit code, what it logged in this run). The pod stays stopped."""
        before = len(self.init.log)
        self.init.arguments = list(arguments)
        try:
            self.init.start()
            code = self.init.wait(timeout)
        finally:
            self.init.arguments = []
        return code, self.init.log[before:]

    def stop(self, grace=30.0):
        """Delete the pod as Kubernetes does: SIGTERM to all at once. Returns {container: exit code}."""
        with self.lock:
            self.phase = "stopped"
            running = [c for c in self.containers.values() if c.running]
            for container in running:
                container.signal(signal.SIGTERM)
            return {c.name: c.stop(grace) for c in running}

    def kill(self, container=None):
        """SIGKILL one container, or the whole pod (a node that lost power)."""
        with self.lock:
            if container:
                self.containers[container].kill()
                return
            self.phase = "stopped"
            for each in self.containers.values():
                each.signal(signal.SIGKILL)
            for each in self.containers.values():
                each.kill()

    def kill_init(self):
        """SIGKILL init where it still runs."""
        with self.lock:
            if self.phase == "init":
                self.init.signal(signal.SIGKILL)

    def restart(self, container=None, timeout=60.0):
        """Start one container again, or delete the pod and start it anew."""
        if container:
            with self.lock:
                self.containers[container].stop()
                self.containers[container].start()
            return self
        self.stop()
        return self.start(timeout)

    def delete_volume(self):
        """Delete the claim: the next start finds an empty volume. A mounted one is emptied."""
        if self.phase not in ("stopped", "failed"):
            raise PodError(f"{self.name} is {self.phase}: stop it before its volume goes")
        for entry in self.data_dir.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def mount_volume(self, size):
        """Put a tmpfs of `size` (as mount takes it, "24m") under the data directory. Needs root."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "seedpod", str(self.data_dir)],
                       check=True, capture_output=True, text=True)
        self._mounted = True

    def unmount_volume(self):
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.data_dir)], check=False)
            self._mounted = False

    # --- talk ---

    def client(self, timeout=30.0):
        return Client(self.ip, API_PORT, timeout, tls=self.set.tls, headers=self.set.headers)

    def ask(self, method, path, body=None, headers=None, timeout=30.0):
        with self.client(timeout) as client:
            return client.ask(method, path, body, headers)

    def get(self, path, headers=None):
        return self.ask("GET", path, None, headers)

    def put(self, key, value, headers=None):
        return self.ask("PUT", f"/v1/kv/{quote_key(key)}", value, headers)

    def ask_sidecar(self, path, method="GET", body=None):
        with Client(self.ip, SIDECAR_PORT, headers=self.set.headers) as client:
            return client.ask(method, path, body)

    def ask_control(self, method, path, body=None, headers=None):
        """Ask through the control socket. It is the last that a server opens when it starts: that is waited for."""
        deadline = time.monotonic() + 5 * SLOW
        while True:
            with Client("", 0, unix=self.control_socket) as client:
                try:
                    return client.ask(method, path, body, headers)
                except (FileNotFoundError, ConnectionRefusedError):
                    if not self.server.running or time.monotonic() > deadline:
                        raise
            time.sleep(0.01)

    def position(self):
        reply = self.get("/v1/position")
        if reply.status != 200:
            raise http.client.HTTPException(f"{self.name}: /v1/position answered {reply.status}: {reply.body!r}")
        return reply.json()

    def readyz(self):
        return self.ask_sidecar("/readyz").status

    def status(self):
        return self.ask_sidecar("/status").json()

    def metrics(self):
        """What a Prometheus would scrape from this pod."""
        return parse_metrics(self.ask_sidecar("/metrics").text())

    def server_metrics(self):
        return parse_metrics(self.ask_control("GET", "/metrics").text())

    def offline_position(self):
        """The position of the store on the volume; the pod must be stopped. None where there is none."""
        if not self.store_dir.exists():
            return None
        done = subprocess.run([str(self.set.build / "seedpod-server"), "--position", "--store", str(self.store_dir)],
                              capture_output=True, text=True, timeout=120 * SLOW)
        if done.returncode != 0:
            raise PodError(f"{self.name}: --position exited {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def load(self, pairs, batch=5000):
        """Put many (key, text) pairs through /v1/batch; the last answer's seq."""
        seq, lines = None, []
        with self.client(timeout=120) as client:
            def send():
                reply = client.ask("POST", "/v1/batch", "\n".join(lines).encode() + b"\n",
                                   {"Content-Type": "application/x-ndjson"})
                if reply.status != 200:
                    raise PodError(f"{self.name}: /v1/batch answered {reply.status}: {reply.body[:500]!r}")
                lines.clear()
                return reply.json()["seq"]
            for key, value in pairs:
                lines.append(json.dumps({"op": "put", "key": key, "value": value}))
                if len(lines) == batch:
                    seq = send()
            if lines:
                seq = send()
        return seq


class PodSet:
    """A StatefulSet: pods of one name, one configuration. `config` is {"section.key": value} over the defaults here."""

    def __init__(self, root, build, octet=1, name="store", config=None):
        self.root = pathlib.Path(root).resolve()
        self.build = pathlib.Path(build).resolve()
        self.octet, self.name = octet, name
        self.pods = []
        self.config = self._defaults() | (config or {})
        self._supervisor = None
        self._end = threading.Event()
        self._versions = 0
        self.tls = None  # an ssl.SSLContext: the servers are asked through it
        self.headers = {}  # of every request to servers and sidecars
        for program in CONTAINERS:
            if not os.access(self.build / f"seedpod-{program}", os.X_OK):
                raise PodError(f"{self.build}/seedpod-{program} is missing: run make first")
        self.config_dir = self.root / "config"
        self.config_path = self.config_dir / "seedpod.ini"
        self.config_dir.mkdir(parents=True, exist_ok=True)
        self.write_config()
        _open_sets.add(self)

    def _defaults(self):
        # A socket's path has little room: where the root is too deep, the sockets live elsewhere.
        self.run_root = self.root
        self._own_run_root = False
        if len(str(self.root / f"{self.name}-9999" / "run" / "control.sock")) > SOCKET_PATH_MAX:
            self.run_root = pathlib.Path(tempfile.mkdtemp(prefix="seedpod-run-"))
            self._own_run_root = True
        return {
            "pod.peer_url": f"http://127.0.{self.octet}.{{ordinal}}:{API_PORT}",
            "server.listen": f"127.0.{self.octet}.{{ordinal}}:{API_PORT}",
            "server.control_socket": f"{self.run_root}/{{name}}/run/control.sock",
            "server.data_dir": f"{self.root}/{{name}}/data",
            "sidecar.listen": f"127.0.{self.octet}.{{ordinal}}:{SIDECAR_PORT}",
            "raft.listen": f"127.0.{self.octet}.{{ordinal}}:{RAFT_PORT}",
            "raft.peer": f"127.0.{self.octet}.{{ordinal}}:{RAFT_PORT}",
            "bootstrap.peer_grace": "500ms",
            "bootstrap.retry_delay": "100ms",
        }

    def __getitem__(self, ordinal):
        return self.pods[ordinal]

    def __iter__(self):
        return iter(list(self.pods))

    def __len__(self):
        return len(self.pods)

    @property
    def raft(self):
        """Whether the pods elect their leader."""
        return self.config.get("replication.mode") == "raft"

    @property
    def leader(self):
        """The first pod; in mode raft whoever leads at present, waiting for an election to end."""
        return self.elected() if self.raft else self.pods[0]

    def elected(self, timeout=20.0, pods=None):
        """Wait until one of the pods that run leads, with a majority that follows it in its term; that pod."""
        def look():
            told = []
            for pod in pods or self:
                if pod.server.running:
                    try:
                        told.append((pod, pod.position()["raft"]))
                    except (OSError, http.client.HTTPException):
                        pass
            newest = max((member["term"] for _, member in told), default=0)
            return next((pod for pod, member in told if member["role"] == "leader" and member["term"] == newest), None)
        return wait_until(look, timeout, "a leader is elected", self)

    # --- the ConfigMap volume ---

    def config_text(self):
        sections = {}
        for name, value in self.config.items():
            section, key = name.split(".", 1)
            sections.setdefault(section, []).append(f"{key} = {value}")
        return "\n".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())

    def edit_config(self, changes):
        """Change keys ({"sync.interval": "2s"}; None takes one out) in the file that all pods share."""
        self.config = {k: v for k, v in (self.config | changes).items() if v is not None}
        self.write_config()

    def write_config(self, text=None):
        """Publish a version as a kubelet does: a new directory, then the `..data` link swapped in one rename."""
        self._versions += 1
        version = self.config_dir / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{os.getpid()}{self._versions:04d}"
        version.mkdir()
        (version / "seedpod.ini").write_text(text if text is not None else self.config_text())
        link, fresh = self.config_dir / "..data", self.config_dir / "..data_tmp"
        former = os.readlink(link) if link.is_symlink() else None
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(version.name)
        os.rename(fresh, link)
        if not self.config_path.is_symlink():
            self.config_path.unlink(missing_ok=True)  # somebody edited it in place, with sed -i
            self.config_path.symlink_to("..data/seedpod.ini")
        if former:
            shutil.rmtree(self.config_dir / former, ignore_errors=True)

    def config_hash(self):
        """XXH3-128 of the file, as xxh128sum prints it."""
        return xxh128(self.config_path.read_bytes())

    # --- life ---

    def add(self):
        """One more pod, not started."""
        pod = Pod(self, len(self.pods))
        self.pods.append(pod)
        return pod

    def scale(self, replicas, timeout=60.0):
        """As `kubectl scale`: pods are started one after the other, in mode raft at once; the last are stopped first."""
        while len(self.pods) > replicas:
            self.pods.pop().stop()
        while len(self.pods) < replicas:
            self.add()
        stopped = [pod for pod in self.pods if pod.phase == "stopped"]
        if self.raft:  # podManagementPolicy: Parallel
            for pod in stopped:
                pod.begin()
            for pod in stopped:
                pod.wait_running(timeout)
        else:
            for pod in stopped:
                pod.start(timeout)
        return self

    def supervise(self, interval=0.05):
        """From now on, restart what ends, as a kubelet does; until close() or unsupervise()."""
        def loop():
            while not self._end.wait(interval):
                for pod in self:
                    pod.tick(restarts=True)
        self._end.clear()
        self._supervisor = threading.Thread(target=loop, name="kubelet", daemon=True)
        self._supervisor.start()

    def unsupervise(self):
        if self._supervisor:
            self._end.set()
            self._supervisor.join()
            self._supervisor = None

    def stop(self):
        self.unsupervise()
        return {pod.name: pod.stop() for pod in reversed(self.pods)}

    def close(self):
        """End every process at once, unmount, forget. The root directory stays."""
        self.unsupervise()
        for pod in self.pods:
            if COUNTING:
                pod.stop(grace=5)
            pod.kill()
            pod.unmount_volume()
        if self._own_run_root:
            shutil.rmtree(self.run_root, ignore_errors=True)
        _open_sets.discard(self)

    # --- looking ---

    def wait_ready(self, timeout=60.0, pods=None):
        for pod in pods or self:
            wait_until(lambda p=pod: p.readyz() == 200, timeout, f"{pod.name} is ready", self)
        return self

    def wait_equal(self, timeout=60.0, pods=None):
        """Wait until all positions are equal, digest included; the position."""
        def equal():
            positions = [pod.position() for pod in pods or self]
            states = {tuple(p[k] for k in ("cluster", "epoch", "seq", "digest")) for p in positions}
            return positions[0] if len(states) == 1 else None
        return wait_until(equal, timeout, "all positions are equal", self)

    def crashes(self):
        """Ends that no program may have: by a signal of its own making."""
        bad = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, -signal.SIGPIPE}
        return [f"{pod.name}: {c.name} was ended by {signal.Signals(-code).name}"
                for pod in self.pods for c in pod.containers.values() for code in c.exits if code in bad]

    def log_tails(self, lines=15):
        """The last lines of every container's log, for messages."""
        parts = []
        for pod in self.pods:
            for container in pod.containers.values():
                tail = container.log.splitlines()[-lines:]
                if tail:
                    parts.append(f"--- {pod.name} {container.name} ({container.log_path})")
                    parts += [line[:2000] for line in tail]
        return "\n".join(parts)


def xxh128(data):
    """XXH3-128 of bytes, as 32 hexadecimal digits, by the tool that users would check it with."""
    done = subprocess.run(["xxh128sum", "-"], input=data, capture_output=True, check=True)
    return re.match(rb"[0-9a-f]{32}", done.stdout).group().decode()


@atexit.register
def _end_all():
    for pods in list(_open_sets):
        pods.close()
