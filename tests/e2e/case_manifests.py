"""Every manifest is taken by the API server and is restricted."""

import itertools
import json

import pss
from kube import MANIFESTS, Failed, check, say
from suite import SMOKE, case

# What a component needs of a cluster: (a version of Kubernetes, an API).
NEEDS = {"native-sidecar": ((1, 29), None), "prometheus": (None, "monitoring.coreos.com/v1")}


# What does not go together: the hook that lets a member leave is the sidecar container's.
APART = {"native-sidecar", "raft-leave"}

# What makes no sense without another.
AFTER = {"network-policy-api": "network-policy", "tls-require": "tls"}


def without_kind(text, kind):
    return "\n---\n".join(d for d in text.split("\n---\n") if f"\nkind: {kind}\n" not in "\n" + d)


class Check:
    def __init__(self, suite):
        self.suite, self.count, self.pods, self.skipped = suite, 0, 0, []

    def missing(self, components):
        """Why this cluster cannot take these components; "" where it can."""
        for component in components:
            version, api = NEEDS.get(component, (None, None))
            if version and self.suite.version < version:
                return f"{component} needs Kubernetes {version[0]}.{version[1]}"
            if api and not self.suite.serves(api):
                return f"{component} needs {api}"
        return ""

    def accept(self, what, text, namespace=True):
        kube = self.suite.kube
        arguments = ["apply", "--dry-run=server", "-f", "-"]
        code, out, err = kube.try_run(*arguments, input=text, quiet=True)
        if code != 0 and not namespace:
            # An example that makes its own namespace: on a dry run there is none yet to put things in.
            text = text.replace("namespace: mehdb", f"namespace: {kube.namespace}")
            code, out, err = kube.try_run(*arguments, input=without_kind(text, "Namespace"), quiet=True)
        if code != 0:
            raise Failed(f"{what}: {err.strip()[-1000:]}")
        self.count += 1
        say(f"accepted: {what} ({len(out.splitlines())} objects)")

    def restricted(self, what, text):
        kube = self.suite.kube
        # Only workloads matter, and only their kinds are known to every cluster.
        for document in text.split("\n---\n"):
            if "kind: StatefulSet\n" not in document:
                continue
            document = document.replace("namespace: mehdb", f"namespace: {kube.namespace}")
            thing = json.loads(kube.run("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-",
                                        input=document, quiet=True))
            found = pss.violations(thing)
            check(not found, f"{what}: not restricted: {'; '.join(found)}")
            self.pods += 1

    def take(self, what, directory, components=(), namespace=True):
        text = self.suite.kube.run("kustomize", str(directory), quiet=True)
        self.restricted(what, text)
        why = self.missing(components)
        if why:
            self.skipped.append(what)
            say(f"rendered and restricted, not sent: {what}: {why}")
            return
        self.accept(what, text, namespace)


@case(SMOKE)
def manifests_accepted(suite):
    """kubectl apply --dry-run=server takes base, components in all pairs, examples, drop-in; all pods are restricted."""
    kube, overlays = suite.kube, suite.overlays
    c = Check(suite)
    start = suite.base
    c.take(suite.base, MANIFESTS / suite.base)
    names = sorted(p.name for p in (MANIFESTS / "components").iterdir())
    together = tuple(n for n in names if n != "raft-leave")
    for pair in itertools.chain([(n,) for n in names], itertools.combinations(names, 2), [together]):
        if set(pair) == APART or any(AFTER.get(name, pair[0]) not in pair for name in pair):
            continue
        made = start
        for component in pair:
            made = overlays.with_component(made, component)
        if pair == together:
            fit = [n for n in together if not c.missing([n])]
            c.take("base + all", overlays.root / made, pair)
            for made, component in itertools.accumulate(fit, lambda m, n: (overlays.with_component(m[0], n), n),
                                                        initial=(start, None)):
                pass
            c.take("base + all that this cluster can take: " + ", ".join(fit), overlays.root / made)
            continue
        if c.missing(pair) and len(pair) > 1:
            c.skipped.append(" + ".join(pair))
            continue
        c.take("base + " + " + ".join(pair), overlays.root / made, pair)
    c.take("drop-in", MANIFESTS / "drop-in")
    for example in sorted((MANIFESTS / "examples").iterdir()):
        code, text, err = kube.try_run("kustomize", str(example), quiet=True)
        if code != 0:
            say(f"examples/{example.name} needs a kubectl that knows components: {err.strip()[:200]}")
            text = production_by_hand(suite)
        c.restricted(f"examples/{example.name}", text)
        if not suite.serves("policy/v1"):
            text = text.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n")
        c.accept(f"examples/{example.name}", text, namespace=False)
    say(f"{c.count} renderings accepted, {c.pods} pod templates restricted, {len(c.skipped)} not for this cluster")
    if suite.version >= (1, 23):
        kube.run("label", "namespace", suite.namespace, "pod-security.kubernetes.io/enforce=restricted")
        suite.deploy()
        kube.run("label", "namespace", suite.namespace, "pod-security.kubernetes.io/enforce-")


def production_by_hand(suite):
    """examples/production with its components turned into overlays."""
    overlays = suite.overlays
    source = overlays.root / "examples" / "production"
    made = suite.base
    lines, rest, section = [], [], None
    for line in (source / "kustomization.yaml").read_text().splitlines():
        if not line.startswith(("- ", " ")):
            section = line.rstrip(":")
        if section == "components" and line.startswith("- "):
            made = overlays.with_component(made, line.rpartition("/")[2])
        elif section not in ("components", "resources"):
            rest.append(line)
    directory = overlays.make([made], settle=False)
    lines = (directory / "kustomization.yaml").read_text().splitlines() + [l for l in rest if "Kind" not in l]
    lines = [l for i, l in enumerate(lines) if i < 2 or not l.startswith(("apiVersion", "kind"))]
    (directory / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    for name in ("production.yaml", "seedpod.ini"):
        (directory / name).write_text((source / name).read_text())
    return suite.kube.run("kustomize", str(directory), quiet=True)
