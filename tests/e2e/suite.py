"""What the cases share: a namespace, a client, and the set as it is deployed for one of them."""

import json
import secrets
import tempfile
import time
import traceback

from client import Client
from kube import DEFAULT_IMAGE, IMAGE, MANIFESTS, STORAGE_CLASS, Failed, Kube, Overlays, check, say

SMOKE, FULL, LONG = "smoke", "full", "long"  # long: by its name alone
CASES = []


class Skipped(Exception):
    """This cluster has no way to show it; the text says why."""


def case(part):
    """A test of the smoke part, of the full one, or of neither; its first line of documentation is its headline."""
    def add(function):
        CASES.append((part, function))
        return function
    return add


class Suite:
    def __init__(self):
        self.namespace = f"seedpod-e2e-{secrets.token_hex(3)}"
        self.kube = Kube(self.namespace)
        self.client = Client(self.kube)
        self.scratch = tempfile.TemporaryDirectory(prefix="seedpod-e2e-")
        self.overlays = Overlays(self.scratch.name)
        self.cleanups = []  # run at the end of a case, last one first

    def open(self):
        say("$ kubectl version")
        version = json.loads(self.kube.run("version", "-o", "json", quiet=True))
        say(f"client {version['clientVersion']['gitVersion']}, server {version['serverVersion']['gitVersion']}; "
            f"image {IMAGE}, storage class {STORAGE_CLASS or '(default)'}")
        self.version = tuple(int("".join(filter(str.isdigit, version["serverVersion"][k]))) for k in ("major", "minor"))
        self.base = "base"
        self.old = self.version < (1, 25)  # such a cluster gets what base-1.20 makes of it
        self.overlays.old = int("".join(filter(str.isdigit, version["clientVersion"]["minor"]))) < 21
        if (1, 25) <= self.version < (1, 29):
            raise Failed("the suite runs on Kubernetes 1.29 and later, and on 1.20 to 1.24")
        self.kube.run("create", "namespace", self.namespace)
        self.client.start()

    def close(self):
        say(f"$ kubectl delete namespace {self.namespace}")
        self.kube.try_run("delete", "namespace", self.namespace, "--wait=false", quiet=True)
        try:
            self.kube.wait_gone("namespace", self.namespace, timeout=180)
        except Failed as problem:
            say(problem)
        self.scratch.cleanup()

    def serves(self, group_version):
        return group_version in self.kube.run("api-versions", quiet=True).split()

    # --- the set ---

    def deploy(self, replicas=2, ini=None, patches=(), wait=True, components=()):
        """Apply the base as it stands where it will do, else with what differs; `replicas` None: as the components say."""
        patches = list(patches)
        base = self.base
        for component in components:
            base = self.overlays.with_component(base, component)
        if replicas is not None and replicas != 2:
            patches.append(f"apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: seedpod\n"
                           f"spec:\n  replicas: {replicas}\n")
        if ini is None and not patches and not components and IMAGE == DEFAULT_IMAGE and not STORAGE_CLASS:
            directory = MANIFESTS / ("base-1.20" if self.old else "base")
        else:
            directory = self.overlays.make([base], patches, ini)
            if self.old:
                directory = self.overlays.root / self.overlays.for_old_clusters(directory.name)
        self.kube.run("apply", "-k", str(directory))
        if wait:
            self.kube.wait_ready(replicas or self.kube.get("sts", "seedpod")["spec"]["replicas"])

    def walk_through(self):
        """A directory to apply: examples/mehdb in this run's namespace, with its image and storage class."""
        if self.old:
            raise Skipped("the walk-through is for Kubernetes 1.29 and later")
        directory = self.overlays.make(["examples/mehdb"], name="mehdb")
        path = directory / "kustomization.yaml"
        (directory / "no-namespace.yaml").write_text(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: mehdb\n$patch: delete\n")
        text = path.read_text()
        if "patches:" not in text:
            text += "patches:\n"
        text = text.replace("patches:\n", "patches:\n- path: no-namespace.yaml\n")
        path.write_text(text + f"namespace: {self.kube.namespace}\n")
        return directory

    def scale(self, replicas, timeout=180):
        self.kube.run("scale", "sts", "seedpod", f"--replicas={replicas}")
        self.kube.wait_ready(replicas, timeout=timeout)

    def set_ini(self, text):
        """Apply the ConfigMap with another seedpod.ini."""
        say("seedpod.ini: " + "; ".join(line for line in text.splitlines() if line.strip()))
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"seedpod.ini": text},
                    "metadata": {"name": "seedpod", "labels": {"app.kubernetes.io/name": "seedpod"}}}
        self.kube.run("apply", "-f", "-", input=json.dumps(manifest), show=False)

    def forget_set(self):
        """Delete the set, its volumes and all that belongs to it."""
        self.kube.run("delete", "sts,svc,cm,pdb,netpol,pods,pvc,sa,role,rolebinding", "-l", "app.kubernetes.io/name=seedpod", "--wait=false",
                      "--ignore-not-found", show=False)
        self.kube.wait_gone("sts,pods,pvc", "-l", "app.kubernetes.io/name=seedpod")

    # --- what the pods hold ---

    def names(self, count):
        return [f"seedpod-{i}" for i in range(count)]

    def settle(self, seq, names, timeout=60):
        """Wait until the servers of these pods have change `seq`."""
        self.kube.wait(f"{', '.join(names)} have change {seq}",
                       lambda: all(self.client.position(n)["seq"] >= seq for n in names), timeout)

    def equal_digests(self, names, timeout=60, service="seedpod-headless"):
        """Wait until all have one position, show it, return it."""
        def equal():
            self.positions = [self.client.position(n, service) for n in names]
            return len({(p["cluster"], p["epoch"], p["seq"], p["digest"]) for p in self.positions}) == 1
        took = self.kube.wait(f"{', '.join(names)} have equal digests", equal, timeout)
        if took > 10:
            for name in names:
                say(f"that was long; {name}'s sidecar:\n{self.kube.logs(name, 'sidecar', '--tail=6')}")
        for name, p in zip(names, self.positions):
            say(f"  {name}  {p['role']:8}  epoch {p['epoch']}  seq {p['seq']}  keys {p['keys']}  digest {p['digest']}")
        return self.positions[0]

    def wait_described(self, pod, *fragments, timeout=120):
        """Wait until `kubectl describe pod` alone holds all of these, and show the lines that do."""
        def told():
            self.described = self.kube.run("describe", "pod", pod, quiet=True)
            return all(f in self.described for f in fragments)
        self.kube.wait(f"`kubectl describe pod {pod}` says {' and '.join(map(repr, fragments))}", told, timeout)
        shown = 0
        for line in self.described.splitlines():
            if any(f in line for f in fragments) and shown < 6:
                say("  " + " ".join(line.split())[:400])
                shown += 1

    def delete_with_volume(self, pod):
        """Delete a pod and its claim together."""
        uid = self.kube.pod(pod)["metadata"]["uid"]
        claim_uid = self.kube.get("pvc", f"data-{pod}")["metadata"]["uid"]
        self.kube.run("delete", "pvc", f"data-{pod}", "--wait=false")
        self.kube.run("delete", "pod", pod, "--wait=false")

        def replaced():
            code, out, _ = self.kube.try_run("get", "pod", pod, "-o", "json", quiet=True)
            if code != 0 or json.loads(out)["metadata"]["uid"] == uid:
                return False
            code, out, _ = self.kube.try_run("get", "pvc", f"data-{pod}", "-o", "json", quiet=True)
            if code == 0 and json.loads(out)["metadata"]["uid"] != claim_uid:
                return True
            if code != 0:
                # The new pod was made while the old claim was going away: Kubernetes makes a claim with a pod only.
                say(f"{pod} waits for a claim that went away: delete it once more")
                self.kube.run("delete", "pod", pod, "--wait=false")
            return False
        self.kube.wait(f"{pod} is another pod on another volume", replaced, pause=1)


def run(cases):
    """Run them one after the other in one namespace; the exit code."""
    suite, passed, failed, skipped, summary = Suite(), 0, 0, 0, []
    try:
        suite.open()
        for function in cases:
            say()
            say(f"== {function.__name__}: {function.__doc__.splitlines()[0]}")
            began = time.monotonic()
            try:
                function(suite)
                passed += 1
                word = "ok"
            except Skipped as why:
                skipped += 1
                word = f"skip ({why})"
            except Exception as problem:  # one case's failure must not hide the others' results
                failed += 1
                word = "FAIL"
                say(f"FAIL: {problem}" if isinstance(problem, Failed) else traceback.format_exc())
            for cleanup in reversed(suite.cleanups):
                try:
                    cleanup()
                except Exception as problem:
                    say(f"cleaning up: {problem}")
            suite.cleanups.clear()
            try:
                if function is not cases[-1]:  # the last one's set goes with the namespace
                    suite.forget_set()
            except Failed as problem:
                say(problem)
            summary.append(f"{word:5} {time.monotonic() - began:6.1f}s  {function.__name__}")
            say(summary[-1])
    except Failed as problem:
        failed += 1
        say(f"FAIL: {problem}")
    finally:
        suite.close()
    print("\n" + "\n".join(summary))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


__all__ = ["CASES", "FULL", "LONG", "SMOKE", "Failed", "MANIFESTS", "Skipped", "Suite", "case", "check", "run", "say"]
