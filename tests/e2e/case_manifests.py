"""Every manifest is taken by the API server and is restricted."""

import itertools
import json

import pss
from kube import MANIFESTS, Failed, check, say
from suite import FULL, SMOKE, case

# What a component needs of a cluster: (a version of Kubernetes, an API).
NEEDS = {"prometheus": (None, "monitoring.coreos.com/v1")}

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
            first = thing["spec"]["template"]["spec"]["initContainers"][0]["name"]
            check(first in ("init", "seedpod-init"), f"{what}: the first init container is {first}")
            self.pods += 1

    def take(self, what, directory, components=(), namespace=True):
        if self.suite.old and directory.name != "base-1.20":
            directory = self.suite.overlays.root / self.suite.overlays.for_old_clusters(directory.name)
        self.take_text(what, self.suite.kube.run("kustomize", str(directory), quiet=True), components, namespace)

    def take_text(self, what, text, components=(), namespace=True):
        self.restricted(what, text)
        why = self.missing(components)
        if why:
            self.skipped.append(what)
            say(f"rendered and restricted, not sent: {what}: {why}")
            return
        self.accept(what, text, namespace)


def component_names():
    """All but the one that is for older clusters alone, and last of all."""
    return tuple(sorted(p.name for p in (MANIFESTS / "components").iterdir() if p.name != "classic-sidecar"))


def with_components(suite, components):
    made = suite.base
    for component in components:
        made = suite.overlays.with_component(made, component)
    return suite.overlays.root / made


def take_some(suite, c, some):
    """base with these components, if they make sense together."""
    if any(AFTER.get(name, some[0]) not in some for name in some):
        return
    if c.missing(some) and len(some) > 1:
        c.skipped.append(" + ".join(some))
        return
    c.take("base + " + " + ".join(some), with_components(suite, some), some)


@case(FULL)
def manifests_in_pairs(suite):
    """kubectl apply --dry-run=server takes every two components together; all pods are restricted."""
    c = Check(suite)
    for pair in itertools.combinations(component_names(), 2):
        take_some(suite, c, pair)
    say(f"{c.count} renderings accepted, {c.pods} pod templates restricted, {len(c.skipped)} not for this cluster")


@case(SMOKE)
def manifests_accepted(suite):
    """kubectl apply --dry-run=server takes base, each component and all, examples, drop-in; all pods are restricted."""
    kube, c, together = suite.kube, Check(suite), component_names()
    c.take("base-1.20" if suite.old else "base", MANIFESTS / ("base-1.20" if suite.old else "base"))
    for name in together:
        take_some(suite, c, (name,))
    c.take("base + all", with_components(suite, together), together)
    fit = [n for n in together if not c.missing([n])]
    c.take("base + all that this cluster can take: " + ", ".join(fit), with_components(suite, fit))
    if not suite.old:  # what clusters before 1.29 get; later ones take it, too
        c.take("base + all + classic-sidecar", with_components(suite, [*fit, "classic-sidecar"]))
    c.take_text("drop-in", kube.run("kustomize", str(MANIFESTS / "drop-in"), quiet=True))
    for example in () if suite.old else sorted((MANIFESTS / "examples").iterdir()):
        c.take_text(f"examples/{example.name}", kube.run("kustomize", str(example), quiet=True), namespace=False)
    say(f"{c.count} renderings accepted, {c.pods} pod templates restricted, {len(c.skipped)} not for this cluster")
    if suite.version >= (1, 23):
        kube.run("label", "namespace", suite.namespace, "pod-security.kubernetes.io/enforce=restricted")
        suite.deploy()
        kube.run("label", "namespace", suite.namespace, "pod-security.kubernetes.io/enforce-")
