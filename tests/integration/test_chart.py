#!/usr/bin/env python3
"""The Helm chart: the same objects as kustomize's, for each option; values that are checked; notes that are right."""

import configparser
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import support  # noqa: E402
from support import BUILD, ROOT  # noqa: E402
from test_shipped import MANIFESTS, objects, render, tools  # noqa: E402

CHART = MANIFESTS / "helm" / "seedpod"
VERSIONS = ("1.29.0", "1.33.0", "1.36.2")

# What a chart adds to every object.
OF_HELM = ("app.kubernetes.io/managed-by", "helm.sh/chart")


def helm(*arguments):
    return subprocess.run([str(tools() / "helm"), *map(str, arguments)], capture_output=True, text=True)


def template(*values, version="1.36.2"):
    done = helm("template", "seedpod", CHART, "--namespace", "mystore", "--kube-version", version,
                *(word for value in values for word in ("--set", value)))
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    text = re.sub(r"^---\n", "", done.stdout)
    return objects("\n---\n".join(re.split(r"^---\n", text, flags=re.M)))


# Lists whose order has no meaning, and what they are sorted by. (That of init containers has.)
UNORDERED = {"ports": "name", "volumes": "name", "volumeMounts": "mountPath"}


def without_nothing(value):
    """Empty members say nothing, and neither does the order in some lists."""
    if isinstance(value, list):
        return [without_nothing(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: sorted(without_nothing(v), key=lambda item, by=UNORDERED.get(k): item.get(by, ""))
            if k in UNORDERED else without_nothing(v) for k, v in value.items() if v not in (None, {}, [])}


def read_ini(text):
    """{section: {key: value}} as seedpod reads them."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    parser.read_string(text)
    return {name: dict(section) for name, section in parser.items() if name != "DEFAULT"}


def comparable(found):
    """What must be the same in both."""
    result = {}
    for key, thing in found.items():
        thing = without_nothing(thing)
        metadata = thing["metadata"]
        if "helm.sh/hook" in metadata.get("annotations", {}):
            continue
        for name in OF_HELM:
            metadata.get("labels", {}).pop(name, None)
        metadata.pop("namespace", None)
        if thing["kind"] == "ConfigMap":
            thing["data"] = read_ini(thing["data"]["seedpod.ini"])
        result[key] = thing
    return result


class Chart(unittest.TestCase):
    maxDiff = None

    def kustomized(self, *components, ini=""):
        with tempfile.TemporaryDirectory(dir=ROOT) as directory:
            directory = pathlib.Path(directory)
            lines = ["resources: [../manifests/base]", "components:" if components else ""]
            lines += [f"- ../manifests/components/{name}" for name in components]
            (directory / "kustomization.yaml").write_text("\n".join(lines) + "\n")
            found = comparable(objects(render(directory)))
        # What the components' documentation has the overlay add to its seedpod.ini.
        for section, keys in read_ini(ini).items():
            found["ConfigMap", "seedpod"]["data"].setdefault(section, {}).update(keys)
        return found

    def check(self, components, values, ini=""):
        chart, kustomized = comparable(template(*values)), self.kustomized(*components, ini=ini)
        self.assertEqual(sorted(chart), sorted(kustomized), values)
        for key, thing in kustomized.items():
            self.assertEqual(chart[key], thing, f"{values} {key}")

    TLS = "[tls]\ncert = /etc/seedpod/tls/tls.crt\nkey = /etc/seedpod/tls/tls.key\nca = /etc/seedpod/tls/ca.crt\n" \
          "client_auth = {}\n"
    AUTH = "[auth]\ntokens = /etc/seedpod/tokens\n"

    def test_the_objects_are_those_of_kustomize(self):
        self.check([], [])
        self.check(["parallel", "anti-affinity", "scrape-annotations"],
                   ["podManagementPolicy=Parallel", "antiAffinity=true", "monitoring.annotations=true"])
        self.check(["prometheus", "network-policy"],
                   ["monitoring.annotations=true", "monitoring.serviceMonitor=true", "networkPolicy.enabled=true"])

    def test_the_objects_of_mode_raft_are_those_of_kustomize(self):
        self.check(["raft"], ["mode=raft", "raftLeave=false"])
        self.check(["raft", "raft-leave", "network-policy", "network-policy-api"],
                   ["mode=raft", "networkPolicy.enabled=true", "networkPolicy.apiServer=true"])

    def test_the_objects_with_role_labels_are_those_of_kustomize(self):
        self.check(["role-label"], ["roleLabel=true"])
        self.check(["raft", "raft-leave", "role-label"], ["mode=raft", "roleLabel=true"])

    def test_the_objects_with_tls_and_tokens_are_those_of_kustomize(self):
        self.check(["tls"], ["tls.enabled=true"], self.TLS.format("optional"))
        self.check(["auth"], ["auth.enabled=true"], self.AUTH)
        self.check(["raft", "raft-secret"], ["mode=raft", "raftLeave=false", "raftSecret=true"],
                   "[raft]\nsecret_file = /etc/seedpod/raft/secret\n")
        self.check(["raft", "tls", "tls-require", "auth"],
                   ["mode=raft", "raftLeave=false", "tls.enabled=true", "tls.clientAuth=require", "auth.enabled=true"],
                   self.TLS.format("require") + self.AUTH)

    def test_lint_has_nothing_to_say_and_three_versions_of_kubernetes_render(self):
        done = helm("lint", "--strict", CHART)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotRegex(done.stdout, "WARNING|ERROR")
        rendered = [template("mode=raft", version=version) for version in VERSIONS]
        self.assertEqual(rendered[0], rendered[1])
        self.assertEqual(rendered[0], rendered[2])
        done = helm("template", "seedpod", CHART, "--kube-version", "1.28.0")
        self.assertIn("1.29", done.stderr)

    def test_wrong_values_are_named(self):
        for value, named in (("mode=quorum", "mode"), ("replica=3", "replica"), ("replicas=three", "replicas"),
                             ("persistence.size=much", "size"), ("tls.clientAuth=maybe", "clientAuth"),
                             ("image.digest=sha256:12", "digest")):
            done = helm("template", "seedpod", CHART, "--set", value)
            self.assertNotEqual(done.returncode, 0, value)
            self.assertIn(named, done.stderr)

    def test_the_image_and_the_configuration_are_set_by_values(self):
        found = template("image.repository=registry.example.com/a/seedpod", "image.tag=v9", "config.readiness.max_lag=3s",
                         "config.server.max_value=1MiB", "config.sync=null", "replicas=0")
        pod = found["StatefulSet", "seedpod"]["spec"]["template"]["spec"]
        self.assertEqual({c["image"] for c in pod["initContainers"] + pod["containers"]},
                         {"registry.example.com/a/seedpod:v9"})
        self.assertEqual(found["StatefulSet", "seedpod"]["spec"]["replicas"], 0)
        ini = found["ConfigMap", "seedpod"]["data"]["seedpod.ini"]
        self.assertEqual(read_ini(ini)["readiness"]["max_lag"], "3s")
        self.assertEqual(read_ini(ini)["server"], {"max_value": "1MiB"})
        self.assertNotIn("sync", read_ini(ini))
        digest = "sha256:" + "ab" * 32
        found = template(f"image.digest={digest}")
        self.assertIn(f"localhost/seedpod@{digest}", json.dumps(found["StatefulSet", "seedpod"]))

    def test_every_configuration_that_it_writes_parses(self):
        for values in [], ["mode=raft"], ["tls.enabled=true", "auth.enabled=true"]:
            text = template(*values)["ConfigMap", "seedpod"]["data"]["seedpod.ini"]
            with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
                file.write(text)
                file.flush()
                done = subprocess.run([str(BUILD / "seedpod-server"), "--print", "--config", file.name],
                                      capture_output=True, text=True, env={"POD_NAME": "seedpod-0"})
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_another_release_names_everything_after_itself(self):
        done = helm("template", "other", CHART, "--set", "mode=raft,tls.enabled=true,auth.enabled=true")
        self.assertEqual(done.returncode, 0, done.stderr)
        names = re.findall(r"^  name: (\S+)$", done.stdout, re.M)
        self.assertTrue(all(n.startswith("other") for n in names), names)
        self.assertNotRegex(done.stdout, r"name: seedpod-(?!test)|: seedpod-(headless|write)")


if __name__ == "__main__":
    support.main()
