#!/usr/bin/env python3
"""What is shipped beside the programs: manifests that render, configurations in them that parse, the list of parts."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import support  # noqa: E402
from support import BUILD, ROOT  # noqa: E402

MANIFESTS = ROOT / "manifests"
PROGRAMS = [str(BUILD / f"seedpod-{name}") for name in ("init", "server", "sidecar")]


def render(directory):
    done = subprocess.run(["kubectl", "kustomize", str(directory)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


class Manifests(unittest.TestCase):
    def setUp(self):
        support.need("kubectl")

    def overlay(self, *components):
        with tempfile.TemporaryDirectory(dir=ROOT) as directory:
            lines = ["resources: [../manifests/base-1.25]", "components:"]
            lines += [f"- ../manifests/components/{name}" for name in components]
            (pathlib.Path(directory) / "kustomization.yaml").write_text("\n".join(lines) + "\n")
            return render(directory)

    def check_doors(self, text, tls):
        volume = text[text.index("      - name: config\n        projected:"):]
        self.assertNotIn("configMap:\n          name: seedpod\n        name: config", text)
        for path in ("tls/tls.crt", "tls/tls.key", "tls/ca.crt", "tokens/read", "tokens/write", "tokens/peer",
                     "tokens/metrics"):
            self.assertEqual(volume.count(f"path: {path}\n"), 1, path)
        self.assertEqual(text.count("scheme: HTTPS"), 3 if tls else 0)
        # Nobody has to be patched: every container has the folder.
        self.assertEqual(text.count("mountPath: /etc/seedpod\n"), 3)

    def test_components_for_the_doors(self):
        self.check_doors(self.overlay("tls"), True)
        self.check_doors(self.overlay("auth"), False)
        self.check_doors(self.overlay("tls", "auth", "native-sidecar", "raft"), True)
        self.check_doors(self.overlay("native-sidecar", "network-policy", "auth", "tls"), True)

    def test_where_a_certificate_is_required_the_pod_probes_itself(self):
        text = self.overlay("tls", "auth", "tls-require")
        self.check_doors(text, False)
        self.assertEqual(text.count("https://127.0.0.1:9876/status\n"), 2)
        self.assertEqual(text.count("https://127.0.0.1:9876/status?level=full\n"), 1)
        self.assertNotIn("httpGet:\n            path: /status\n            port: api", text)

    def test_production_has_its_doors_shut(self):
        self.check_doors(render(MANIFESTS / "examples" / "production"), True)


class Configurations(unittest.TestCase):
    def test_all_in_the_manifests_parse(self):
        files = sorted(MANIFESTS.rglob("seedpod.ini"))
        self.assertGreater(len(files), 3)
        for path in files:
            with self.subTest(path.relative_to(ROOT)):
                done = subprocess.run([PROGRAMS[1], "--print", "--config", str(path)], capture_output=True, text=True,
                                      env=os.environ | {"POD_NAME": "seedpod-0"})
                self.assertEqual(done.returncode, 0, done.stderr)
                if path.parent.name == "production":
                    self.assertIn("\npeer_url = https://", done.stdout)
                    self.assertRegex(done.stdout, r"\ntokens = /etc/seedpod/tokens\n")


class Parts(unittest.TestCase):
    def test_the_list_names_the_package_of_every_library(self):
        support.need("dpkg-query")
        done = subprocess.run([str(ROOT / "packaging" / "sbom"), "1.2.3", *PROGRAMS], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual((document["bomFormat"], document["metadata"]["component"]["version"]), ("CycloneDX", "1.2.3"))
        versions = {c["name"]: c["version"] for c in document["components"]}
        self.assertEqual(len(versions), len(document["components"]))
        self.assertLessEqual({"ca-certificates", "libarchive13", "libc6", "libcurl4", "libgnutls30", "liblmdb0",
                              "libmicrohttpd12", "libssl3"}, set(versions))
        for name in ("libc6", "libgnutls30"):
            asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
            self.assertEqual(versions[name], asked.stdout.split("\n")[0])
        for component in document["components"]:
            self.assertRegex(component["purl"], r"^pkg:deb/[a-z]+/[a-z0-9.%B-]+@[^@]+\?arch=\w+&distro=")
        # Every library that a program loads has its package in the list.
        loaded = subprocess.run(["ldd", *PROGRAMS], capture_output=True, text=True).stdout
        files = {os.path.realpath(path).removeprefix("/usr") for path in re.findall(r"=> (/\S+)", loaded)}
        owners = subprocess.run(["dpkg-query", "-S", *files, *("/usr" + path for path in files)], capture_output=True,
                                text=True).stdout
        found = dict(reversed(line.split(": ", 1)) for line in owners.splitlines())
        self.assertEqual({path.removeprefix("/usr") for path in found}, files)
        self.assertLessEqual({package.split(":")[0] for package in found.values()}, set(versions))


if __name__ == "__main__":
    support.main()
