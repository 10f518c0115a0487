"""Certificates and tokens as Secrets, made as docs/kubernetes.md says, and a client that has them."""

import pathlib
import re
import secrets
import sys
import textwrap
import time

from kube import MANIFESTS, ROOT, check, restarts, say

sys.path.insert(0, str(ROOT / "tests" / "integration"))

from authority import Authority  # noqa: E402

COMPONENTS = MANIFESTS / "components"


def certificate_names(namespace):
    """The names of certificate.yaml's certificate, in this namespace."""
    text = (COMPONENTS / "tls" / "certificate.yaml").read_text().replace("mystore.svc", f"{namespace}.svc")
    return [n.strip('"') for n in re.findall(r"^  - (\S+)$", text[text.index("dnsNames:"):], re.M)]


def lines_for(component):
    """What the top of a component's kustomization.yaml says must be in seedpod.ini."""
    text = (COMPONENTS / component / "kustomization.yaml").read_text()
    block = re.search(r"^#\t\[.*(?:\n#\t.*)*", text, re.M)[0]
    return "\n" + textwrap.dedent(block.replace("#\t", "")) + "\n"


def sections(component="base"):
    folder = MANIFESTS / "base" if component == "base" else COMPONENTS / component
    return (folder / "seedpod.ini").read_text()


class Doors:
    """One case's authority, certificates and tokens. The client shows one token that reads and writes."""

    def __init__(self, suite, client_certificate=False):
        self.suite, self.kube, self.client = suite, suite.kube, suite.client
        self.directory = pathlib.Path(suite.scratch.name) / f"doors-{secrets.token_hex(3)}"
        self.names = certificate_names(self.kube.namespace)
        self.authority = Authority(self.directory / "authority")
        self.client_files = self.authority.issue("client.example") if client_certificate else {
            "ca.crt": self.authority.crt.read_text()}
        self.tokens = {role: [secrets.token_hex(32)] for role in ("peer", "read", "write")}
        suite.cleanups.append(self.forget)

    def forget(self):
        self.client.close_door()
        self.kube.run("delete", "secret", "--ignore-not-found", "seedpod-tls",
                      *(f"seedpod-{role}-token" for role in self.tokens), show=False)

    def secret(self, name, *arguments):
        """Make a Secret, or change it: both in the way of the documentation."""
        text = self.kube.run("create", "secret", "generic", name, *arguments, "--dry-run=client", "-o", "yaml",
                             quiet=True)
        say(f"$ kubectl create secret generic {name} … --dry-run=client -o yaml | kubectl apply -f -")
        self.kube.run("apply", "-f", "-", input=text, quiet=True)

    def publish_certificate(self, files=None, **changed):
        """The Secret seedpod-tls with a new certificate, or these files; the files."""
        files = (files or self.authority.issue(*self.names)) | {k.replace("_", "."): v for k, v in changed.items()}
        folder = self.directory / f"files-{time.monotonic_ns()}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        self.secret("seedpod-tls", *(f"--from-file={folder / name}" for name in files))
        return files

    def publish_tokens(self, *roles):
        for role in roles or self.tokens:
            text = "".join(f"{token}\n" for token in self.tokens[role])
            self.secret(f"seedpod-{role}-token", f"--from-literal=tokens={text}")

    def open(self):
        self.client.open_door(self.client_files, self.tokens["write"][-1])

    # --- what is seen from outside ---

    def status_of(self, token, *arguments):
        """The status that curl gets with a token (None: without one)."""
        options = [o for name in ("cacert", "cert", "key") for o in self._file_option(name)]
        if token:
            options += ["-H", f"Authorization: Bearer {token}"]
        return int(self.client.curl("-o", "/dev/null", "-w", "%{http_code}", *options, *arguments, quiet=True))

    def _file_option(self, name):
        file = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}[name]
        return [f"--{name}", f"/tmp/door/{file}"] if file in self.client_files else []

    def served(self, name):
        """The certificate that a server shows, as PEM text."""
        code, text = self.client.try_curl(*self.client.options, "-o", "/dev/null", "-w", "%{certs}",
                                          self.client.url(name, "/status"), quiet=True)
        return re.search(r"-----BEGIN.*?-----END CERTIFICATE-----\n", text, re.S)[0] if code == 0 else ""

    def wait_served(self, files, pods):
        """Wait until every pod's server shows this certificate; the seconds since the Secret was changed."""
        return self.kube.wait(f"{', '.join(pods)} show the new certificate", lambda: all(
            self.served(f"{p}.seedpod-headless") == files["tls.crt"] for p in pods), 150)


class Untouched:
    """That no container of the set was replaced or started again meanwhile."""

    def __init__(self, suite):
        self.suite, self.before = suite, self.look(suite)

    @staticmethod
    def look(suite):
        return {name: (pod["metadata"]["uid"], restarts(pod)) for name, pod in suite.kube.pods().items()}

    def check(self):
        now = self.look(self.suite)
        check(now == self.before, f"pods or containers were restarted: {self.before} -> {now}")
        say("no pod and no container was restarted")
