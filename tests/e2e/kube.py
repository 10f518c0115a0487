"""kubectl, said out loud: every command and every wait is printed with what came of it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MANIFESTS = ROOT / "manifests"
DEFAULT_IMAGE = ":".join(re.search(r"newName: (\S+)\n  newTag: (\S+)",
                                    (MANIFESTS / "base" / "kustomization.yaml").read_text()).groups())
IMAGE = os.environ.get("IMAGE") or DEFAULT_IMAGE
CLIENT_IMAGE = os.environ.get("CLIENT_IMAGE") or "localhost/seedpod-e2e-client:1"
STORAGE_CLASS = os.environ.get("STORAGE_CLASS", "")
SLOW = float(os.environ.get("SEEDPOD_TEST_SLOW", "1"))
_began = time.monotonic()


class Failed(Exception):
    """Something is not as it must be."""


def say(text=""):
    stamp = f"[{time.monotonic() - _began:6.1f}s] "
    for line in str(text).splitlines() or [""]:
        print(stamp + line, flush=True)
        stamp = " " * len(stamp)


def check(condition, what):
    if not condition:
        raise Failed(what)


def find_kubectl():
    """$KUBECTL; the one beside a cluster that keeps its own; the one in PATH."""
    beside = pathlib.Path(os.environ.get("KUBECONFIG", "/")).parent.parent / "bin" / "kubectl"
    found = os.environ.get("KUBECTL") or (str(beside) if os.access(beside, os.X_OK) else shutil.which("kubectl"))
    if not found:
        sys.exit("e2e: no kubectl: put it in PATH or name it in KUBECTL")
    return found


KUBECTL = find_kubectl()


def shown(arguments):
    arguments = [str(a) for a in arguments]
    return " ".join(a if a and all(c.isalnum() or c in "-_./:=,@{}%+" for c in a) else repr(a) for a in arguments)


class Kube:
    """One namespace of a cluster."""

    def __init__(self, namespace):
        self.namespace = namespace

    def command(self, *arguments):
        return [KUBECTL, "-n", self.namespace, *arguments]

    def try_run(self, *arguments, input=None, quiet=False, timeout=300):
        """Run kubectl; (exit code, output, error output)."""
        if not quiet:
            say("$ kubectl " + shown(arguments))
        done = subprocess.run(self.command(*arguments), input=input, capture_output=True, text=True,
                              timeout=timeout * SLOW, errors="replace")
        return done.returncode, done.stdout, done.stderr

    def run(self, *arguments, input=None, quiet=False, show=True, timeout=300):
        """Run kubectl, show and return what it said; Failed where it fails."""
        code, out, err = self.try_run(*arguments, input=input, quiet=quiet, timeout=timeout)
        if code != 0:
            raise Failed(f"kubectl {shown(arguments)} exited {code}: {(err or out).strip()[-1500:]}")
        if show and not quiet and out.strip():
            say(out.rstrip()[:4000])
        return out

    def get(self, *arguments):
        """kubectl get -o json, quietly."""
        return json.loads(self.run("get", *arguments, "-o", "json", quiet=True))

    def exists(self, *arguments):
        return bool(self.run("get", *arguments, "--ignore-not-found", "-o", "name", quiet=True).strip())

    def pods(self, selector="app.kubernetes.io/name=seedpod"):
        """{name: pod} of the set."""
        return {p["metadata"]["name"]: p for p in self.get("pods", "-l", selector)["items"]}

    def pod(self, name):
        return self.get("pod", name)

    def wait(self, what, condition, timeout=120, pause=0.25):
        """Wait until condition() is true; how many seconds that took, which it also says."""
        say(f"… {what}")
        began, last = time.monotonic(), ""
        while True:
            try:
                if condition():
                    say(f"  after {time.monotonic() - began:.1f} s")
                    return time.monotonic() - began
            except (Failed, KeyError, json.JSONDecodeError) as problem:
                last = f" (last: {problem})"
            if time.monotonic() - began > timeout * SLOW:
                raise Failed(f"waited {timeout * SLOW:.0f} s in vain: {what}{last}\n{self.troubles()}")
            time.sleep(pause)

    def wait_ready(self, count, name="seedpod", timeout=180):
        """Wait until the set has exactly `count` pods and all are Ready."""
        def ready():
            state = self.get("sts", name)
            pods = [p for n, p in self.pods_of(name).items()]
            return (state["spec"]["replicas"] == count and len(pods) == count
                    and state["status"].get("observedGeneration") == state["metadata"]["generation"]
                    and all(is_ready(p) and "deletionTimestamp" not in p["metadata"] for p in pods))
        self.wait(f"{name}: {count} pods are Ready", ready, timeout)

    def pods_of(self, name):
        return {p["metadata"]["name"]: p for p in self.get("pods")["items"]
                if p["metadata"]["name"].rpartition("-")[0] == name}

    def wait_gone(self, *arguments, timeout=120):
        self.wait(f"{' '.join(arguments)} is gone", lambda: not self.exists(*arguments), timeout)

    def logs(self, pod, container, *arguments):
        """A container's log; if it cannot be had, why: an empty text would be taken for a log that says nothing."""
        code, out, err = self.try_run("logs", pod, "-c", container, *arguments, quiet=True)
        return out if code == 0 else f"(no log: {err.strip()})"

    def describe(self, pod):
        return self.run("describe", "pod", pod, show=False)

    def troubles(self):
        """What a person would look at first when a wait was in vain."""
        text = self.try_run("get", "pods,pvc", "-o", "wide", quiet=True)[1]
        for name, pod in self.pods("").items():
            if is_ready(pod):
                continue
            text += f"\n-- describe {name} (the end)\n" + self.try_run("describe", "pod", name, quiet=True)[1][-2500:]
            for container in ("init", "server", "sidecar"):
                text += f"\n-- logs {name} {container}\n" + self.logs(name, container, "--tail=12")
        return text


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def ready_since(pod):
    for c in pod["status"].get("conditions", []):
        if c["type"] == "Ready" and c["status"] == "True":
            return c["lastTransitionTime"]
    return None


def restarts(pod):
    """How often the server and the sidecar were started again; init's own tries are none."""
    status = pod["status"]
    return sum(c["restartCount"] for c in status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
               if c["name"] != "init")


class Overlays:
    """Kustomizations made for a test, in a copy of manifests/, rendered with whatever kubectl there is.

    `old`: kubectl 1.20, which knows neither components nor today's names of bases and patches. Components are turned into
    overlays for it; ours use only fields that both have.
    """

    def __init__(self, directory):
        self.root = pathlib.Path(directory) / "manifests"
        shutil.copytree(MANIFESTS, self.root)
        self.count = 0
        self.old = False

    def _new(self):
        self.count += 1
        return self.root / f"made-{self.count}"

    def _bases(self, names):
        return ["bases:" if self.old else "resources:"] + [f"- ../{n}" for n in names]

    def _patches(self, names):
        return ["patchesStrategicMerge:" if self.old else "patches:"] + [
            f"- {n}" if self.old else f"- path: {n}" for n in names]

    def make(self, bases, patches=(), ini=None, settle=True, name="seedpod"):
        """A directory to apply: bases (relative to manifests/ or made before), patches (texts), seedpod.ini."""
        directory = self._new()
        directory.mkdir()
        lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", *self._bases(bases)]
        patches = list(patches)
        if settle and STORAGE_CLASS:
            patches.append(storage_class_patch(name))
        for i, patch in enumerate(patches):
            (directory / f"patch-{i}.yaml").write_text(patch)
        if patches:
            lines += self._patches(f"patch-{i}.yaml" for i in range(len(patches)))
        if ini is not None:
            (directory / "seedpod.ini").write_text(ini)
            lines += ["configMapGenerator:", "- name: seedpod", "  behavior: merge", "  files:", "  - seedpod.ini",
                      "generatorOptions:", "  disableNameSuffixHash: true"]
        if settle and IMAGE != DEFAULT_IMAGE:
            name, _, tag = IMAGE.rpartition(":")
            lines += ["images:", f"- name: {DEFAULT_IMAGE.rpartition(':')[0]}", f"  newName: {name}",
                      f"  newTag: {json.dumps(tag)}"]
        (directory / "kustomization.yaml").write_text("\n".join(lines) + "\n")
        return directory

    def with_component(self, base, component):
        """An overlay that does to `base` what the component does; its name relative to the copy."""
        directory = self._new()
        if not self.old:
            directory.mkdir()
            lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", *self._bases([base]),
                     "components:", f"- ../components/{component}"]
            (directory / "kustomization.yaml").write_text("\n".join(lines) + "\n")
            return directory.name
        shutil.copytree(self.root / "components" / component, directory)
        path = directory / "kustomization.yaml"
        text = path.read_text().replace("kind: Component", f"kind: Kustomization\nbases:\n- ../{base}")
        text = text.replace("patches:\n", "patchesStrategicMerge:\n").replace("- path: ", "- ")
        path.write_text(text.replace("kustomize.config.k8s.io/v1alpha1", "kustomize.config.k8s.io/v1beta1"))
        return directory.name

    def for_old_clusters(self, base):
        """What base-1.20 does to manifests/base, done to `base`; its name relative to the copy."""
        directory = self._new()
        shutil.copytree(self.root / "base-1.20", directory)
        path = directory / "kustomization.yaml"
        path.write_text(path.read_text().replace("- ../base\n", f"- ../{base}\n"))
        return directory.name


def storage_class_patch(name="seedpod", size="8Gi"):
    return f"""apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {name}
spec:
  volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: {STORAGE_CLASS}
      resources:
        requests:
          storage: {size}
"""
