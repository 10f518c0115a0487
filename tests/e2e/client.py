"""The client pod: curl as a user types it, and Python programs that read and write without pause."""

import json
import pathlib
import subprocess
import threading
import time

from kube import CLIENT_IMAGE, Failed, say, shown

SCRIPTS = pathlib.Path(__file__).resolve().parent / "client"
DOOR = "/tmp/door"  # in the client's pod: what it shows to the set, and whom it believes; see client/door.py
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "client", "labels": {"app": "client", "seedpod.dev/client": "true"}},
    "spec": {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "client", "image": CLIENT_IMAGE, "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }],
    },
}


def program(script):
    return (SCRIPTS / "door.py").read_text() + (SCRIPTS / script).read_text()


class Client:
    def __init__(self, kube):
        self.kube = kube
        self.tls = False     # the set is reached by HTTPS, under the names that its certificate has
        self.options = []    # curl's, while there is a door

    def start(self):
        self.kube.run("apply", "-f", "-", input=json.dumps(POD))
        self.kube.wait("the client pod runs", lambda: self.kube.pod("client")["status"]["phase"] == "Running")

    def _exec(self, *arguments, input=None, timeout=120):
        command = self.kube.command("exec", "-i", "client", "--", *arguments)
        return subprocess.run(command, input=input, capture_output=True, timeout=timeout)

    def try_curl(self, *arguments, input=None, quiet=False):
        """curl in the client pod: (exit code, answer)."""
        if not quiet:
            say("client$ curl " + shown(arguments))
        done = self._exec("curl", "-sS", "--max-time", "30", *arguments, input=input)
        answer = done.stdout.decode(errors="replace")
        if not quiet:
            say((answer.rstrip() or done.stderr.decode().strip() or "(no body)")[:600])
        return done.returncode, answer

    def curl(self, *arguments, input=None, quiet=False):
        """curl's answer. Where the network or the name server gave none (6, 7, 28), it is tried again, out loud."""
        for _ in range(4):
            code, answer = self.try_curl(*arguments, input=input, quiet=quiet)
            if code not in (6, 7, 28):
                break
            say(f"client: curl exited {code} (no name, no connection or no answer): once more")
            time.sleep(1)
        if code != 0:
            raise Failed(f"curl {shown(arguments)} exited {code}")
        return answer

    def file(self, path, text, quiet=False):
        """Write a file in the client pod."""
        if not quiet:
            say(f"client$ printf %s {text!r} > {path}")
        done = self._exec("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}.new && mv {path}.new {path}",
                          input=text.encode())
        if done.returncode != 0:
            raise Failed(done.stderr.decode())

    def open_door(self, files, token=None):
        """From now on show these: {"ca.crt", and perhaps "tls.crt", "tls.key"} ({}: plain HTTP), and the token."""
        lines = ["location-trusted"] if token else []
        for name, option in (("ca.crt", "cacert"), ("tls.crt", "cert"), ("tls.key", "key")):
            if name in files:
                self.file(f"{DOOR}/{name}", files[name], quiet=True)
                lines.append(f"{option} = {DOOR}/{name}")
        if token:
            self.file(f"{DOOR}/token", token, quiet=True)
            lines.append(f'header = "Authorization: Bearer {token}"')
        self.file(f"{DOOR}/curlrc", "\n".join(lines) + "\n", quiet=True)
        self.tls, self.options = "ca.crt" in files, ["-K", f"{DOOR}/curlrc"]

    def close_door(self):
        self._exec("rm", "-rf", DOOR)
        self.tls, self.options = False, []

    def host(self, name):
        """The name under which a Service, or a pod below one, is asked: with TLS one that the certificate has."""
        return f"{name}.{self.kube.namespace}.svc" if self.tls else name

    def url(self, name, path, port=9876):
        scheme = "https" if self.tls and port == 9876 else "http"
        return f"{scheme}://{self.host(name)}:{port}{path}"

    def json(self, url):
        return json.loads(self.curl("-f", *self.options, url, quiet=True))

    def position(self, pod, service="seedpod-headless"):
        return self.json(self.url(f"{pod}.{service}", "/v1/position"))

    def status(self, pod, service="seedpod-headless"):
        return self.json(self.url(f"{pod}.{service}", "/status", 9877))

    def put(self, key, value, to="seedpod"):
        """Write through a Service, as users do; the change's number."""
        answer = self.curl("-f", "-L", "-XPUT", "--data-binary", value, "-o", "/dev/null", "-D", "-", *self.options,
                           self.url(to, f"/v1/kv/{key}"), quiet=True)
        for line in answer.splitlines():
            if line.lower().startswith("seedpod-seq:"):
                return int(line.split(":")[1])
        raise Failed(f"PUT {key} was answered without a number:\n{answer}")

    def python(self, script, *arguments, timeout=600):
        """Run one of client/'s programs to its end; what it printed as JSON in its last line."""
        say(f"client$ {script} {shown(arguments)}")
        source = program(script)
        done = self._exec("python3", "-c", source, *map(str, arguments), timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"{script} exited {done.returncode}: {done.stderr.decode()[-800:]}")
        return json.loads(done.stdout.decode().splitlines()[-1])

    def begin(self, script, *arguments):
        return Background(self.kube, script, arguments)


class Background:
    """A program in the client pod that runs until it is told to stop; lines go to its standard input."""

    def __init__(self, kube, script, arguments):
        say(f"client$ {script} {shown(arguments)} &")
        self.script = script
        source = program(script)
        command = kube.command("exec", "-i", "client", "--", "python3", "-u", "-c", source, *map(str, arguments))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.lines, self.error = [], ""
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_error, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def _read_error(self):
        self.error = self.process.stderr.read()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line, timeout=30):
        """Tell it a line that it answers with JSON; the answer."""
        seen, deadline = len(self.lines), time.monotonic() + timeout
        self.tell(line)
        while len(self.lines) == seen:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"{self.script} did not answer \"{line}\": {self.error[-800:]}")
            time.sleep(0.02)
        return json.loads(self.lines[-1])

    def stop(self):
        """End it; what it printed as JSON in its last line."""
        try:
            self.tell("stop")
        except (BrokenPipeError, ValueError):
            pass
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for reader in self.readers:
            reader.join(5)
        if not self.lines:
            raise Failed(f"{self.script} said nothing: {self.error[-800:]}")
        result = json.loads(self.lines[-1])
        say(f"client: {self.script}: " + ", ".join(f"{k} {v}" for k, v in result.items() if not isinstance(v, list)))
        for line in result.get("notes", [])[:8]:
            say("  " + str(line))
        return result
