"""The Helm chart on a real cluster."""

import json
import subprocess

from kube import IMAGE, MANIFESTS, ROOT, STORAGE_CLASS, Failed, check, say, shown
from suite import FULL, Skipped, case

RELEASE = "seedpod"  # the names that the rest of the suite knows


def helm_program():
    done = subprocess.run([str(ROOT / "tests" / "k8s-tools")], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"no helm: {done.stderr.strip()[-200:]}")
    return done.stdout.strip() + "/helm"


class Helm:
    def __init__(self, suite):
        self.suite, self.program = suite, helm_program()

    def run(self, *arguments, timeout=300):
        say("$ helm " + shown(arguments))
        done = subprocess.run([self.program, "-n", self.suite.kube.namespace, *arguments], capture_output=True, text=True,
                              timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"helm {shown(arguments)} exited {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")
        say(done.stdout.rstrip()[:2500])
        return done.stdout


def values():
    repository, _, tag = IMAGE.rpartition(":")
    chosen = ["--set-string", f"image.repository={repository},image.tag={tag}"]
    return chosen + (["--set", f"persistence.storageClass={STORAGE_CLASS}"] if STORAGE_CLASS else [])


@case(FULL)
def helm_chart(suite):
    """helm install, test, upgrade, rollback, uninstall: the data stay; a wrong value changes nothing."""
    if suite.old:
        raise Skipped("the chart is for Kubernetes 1.29 and later")
    kube, client, helm, chart = suite.kube, suite.client, Helm(suite), str(MANIFESTS / "helm" / "seedpod")
    suite.cleanups.append(lambda: kube.run("delete", "secret", "-l", "owner=helm", "--ignore-not-found", show=False))
    helm.run("install", RELEASE, chart, *values(), "--wait", "--timeout", "180s")
    kube.wait_ready(2)
    suite.settle(client.put("helm", "kept"), suite.names(2))
    helm.run("test", RELEASE, "--timeout", "60s")
    helm.run("upgrade", RELEASE, chart, *values(), "--set", "replicas=3,config.readiness.max_lag=5s", "--wait",
             "--timeout", "240s")
    kube.wait_ready(3)
    suite.equal_digests(suite.names(3))
    kube.wait("all pods run the new configuration", lambda: all(
        "<= 5s" in json.dumps(client.status(name)["checks"]) for name in suite.names(3)[1:]), 150)
    try:
        helm.run("upgrade", RELEASE, chart, *values(), "--set", "mode=quorum")
    except Failed as refused:
        check("mode" in str(refused), f"the refusal does not name the value: {refused}")
        say(f"refused: {str(refused)[-200:]}")
    else:
        raise Failed("mode=quorum was taken")
    helm.run("rollback", RELEASE, "1", "--wait", "--timeout", "240s")
    kube.wait_ready(2)
    check(client.curl("-f", "http://seedpod-1.seedpod-headless:9876/v1/kv/helm") == "kept", "the write was lost")
    helm.run("uninstall", RELEASE, "--wait")
    kube.wait_gone("pods", "-l", "app.kubernetes.io/name=seedpod")
    check(kube.exists("pvc", "data-seedpod-0"), "helm uninstall deleted a volume")
    helm.run("install", RELEASE, chart, *values(), "--wait", "--timeout", "180s")
    kube.wait_ready(2)
    check(client.curl("-f", "http://seedpod-1.seedpod-headless:9876/v1/kv/helm") == "kept", "the volume was not used")
    helm.run("uninstall", RELEASE, "--wait")
