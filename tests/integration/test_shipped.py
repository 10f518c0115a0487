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


def tools():
    """The folder with helm and a current kubectl; skips the test where they cannot be had."""
    done = subprocess.run([str(ROOT / "tests" / "k8s-tools")], capture_output=True, text=True)
    if done.returncode != 0:
        raise unittest.SkipTest(f"no kubectl and helm: {done.stderr.strip()[-300:]}")
    return pathlib.Path(done.stdout.strip())


def render(directory, warnings=""):
    """What kubectl renders; a warning other than these is a failure."""
    done = subprocess.run([str(tools() / "kubectl"), "kustomize", str(directory)], capture_output=True, text=True)
    if done.returncode != 0 or (done.stderr and not warnings) or warnings not in done.stderr:
        raise AssertionError(f"{directory}: {done.stderr}")
    return done.stdout


def objects(text):
    """{(kind, name): object} of rendered YAML, read by kubectl, which needs no cluster for that."""
    with tempfile.TemporaryDirectory() as directory:
        (pathlib.Path(directory) / "objects.yaml").write_text(text)
        # A local object goes through kubectl as it is.
        done = subprocess.run([str(tools() / "kubectl"), "patch", "--local", "-f", "objects.yaml", "--type=json",
                               "-p", "[]", "-o", "json"], cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    found, at = {}, 0
    while done.stdout[at:].strip():
        thing, end = json.JSONDecoder().raw_decode(done.stdout[at:].lstrip())
        at += end + len(done.stdout[at:]) - len(done.stdout[at:].lstrip())
        found[thing["kind"], thing["metadata"]["name"]] = thing
    return found


class Manifests(unittest.TestCase):
    def overlay(self, *components, base="base"):
        with tempfile.TemporaryDirectory(dir=ROOT) as directory:
            lines = [f"resources: [../manifests/{base}]", "components:" if components else ""]
            lines += [f"- ../manifests/components/{name}" for name in components]
            (pathlib.Path(directory) / "kustomization.yaml").write_text("\n".join(lines) + "\n")
            return render(directory)

    def pod(self, text, name="seedpod"):
        return objects(text)["StatefulSet", name]["spec"]["template"]["spec"]

    def names(self, containers):
        return [c["name"] for c in containers]

    def test_nothing_that_is_rendered_is_deprecated(self):
        # render() fails on any warning.
        names = sorted(p.name for p in (MANIFESTS / "components").iterdir())
        for name in names:
            self.overlay(*(["tls"] if name == "tls-require" else []), name)
        for directory in [MANIFESTS / "base", MANIFESTS / "drop-in", MANIFESTS / "monitoring", *(MANIFESTS / "examples").iterdir()]:
            render(directory)

    def test_the_base_has_a_native_sidecar_after_init(self):
        for text in self.overlay(), self.overlay("raft", "raft-leave"), *(
                render(MANIFESTS / "examples" / name) for name in ("small", "production")):
            pod = self.pod(text)
            self.assertEqual(self.names(pod["initContainers"]), ["init", "sidecar"])
            self.assertEqual(self.names(pod["containers"]), ["server"])
            self.assertEqual(pod["initContainers"][1]["restartPolicy"], "Always")
            self.assertIn("policy/v1\n", text)
            self.assertIn("unhealthyPodEvictionPolicy: AlwaysAllow\n", text)

    def test_older_clusters_get_an_ordinary_sidecar(self):
        old = render(MANIFESTS / "base-1.20", "'bases' is deprecated")
        self.assertIn("policy/v1beta1\n", old)
        for text in old, self.overlay("raft", "raft-leave", "classic-sidecar"):
            pod = self.pod(text)
            self.assertEqual(self.names(pod["initContainers"]), ["init"])
            self.assertEqual(self.names(pod["containers"]), ["server", "sidecar"])
            self.assertNotIn("restartPolicy", pod["containers"][1])
            self.assertNotIn("unhealthyPodEvictionPolicy", text)
        self.assertIn("--leave", pod["containers"][1]["lifecycle"]["preStop"]["exec"]["command"])

    def test_a_node_can_be_drained_without_a_word_about_local_data(self):
        for text in self.overlay(), self.overlay("tls", "auth", "raft", "raft-leave"), render(MANIFESTS / "drop-in"):
            self.assertNotIn("emptyDir", text)

    def test_every_container_has_a_memory_limit(self):
        for text, name in (self.overlay(), "seedpod"), (render(MANIFESTS / "examples" / "production"), "seedpod"):
            pod = self.pod(text, name)
            for container in pod["initContainers"] + pod["containers"]:
                self.assertIn("memory", container["resources"]["limits"], container["name"])

    def test_the_image_is_set_in_one_place(self):
        with tempfile.TemporaryDirectory() as build:
            done = subprocess.run(["make", "-s", "manifests", "IMAGE=registry.example.com/a/seedpod:9", f"BUILD={build}"],
                                  cwd=ROOT, capture_output=True, text=True,
                                  env=os.environ | {"PATH": f"{tools()}:{os.environ['PATH']}"})
            self.assertEqual(done.returncode, 0, done.stderr)
            text = (pathlib.Path(build) / "install.yaml").read_text()
        images = re.findall(r"^ *(?:- )?image: (.*)", text, re.M)
        self.assertEqual(images, ["registry.example.com/a/seedpod:9"] * 3)
        self.assertEqual(text.replace("registry.example.com/a/seedpod:9", "localhost/seedpod:0.1.0"), self.overlay())

    def test_the_walk_through_has_its_own_names(self):
        found = objects(render(MANIFESTS / "examples" / "mehdb"))
        self.assertEqual({n for k, n in found if k == "Service"}, {"mehdb"})
        self.assertEqual(found["StatefulSet", "mehdb"]["spec"]["serviceName"], "mehdb")

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
        self.check_doors(self.overlay("tls", "auth", "raft"), True)
        self.check_doors(self.overlay("network-policy", "auth", "tls", "classic-sidecar"), True)

    def test_the_secret_of_the_raft_port_lies_beside_certificates_and_tokens(self):
        for others in (), ("tls", "auth"):
            text = self.overlay("raft", *others, "raft-secret")
            self.check_doors(text, "tls" in others)
            self.assertEqual(text.count("path: raft/secret\n"), 1)

    def test_where_a_certificate_is_required_the_pod_probes_itself(self):
        text = self.overlay("tls", "auth", "tls-require")
        self.check_doors(text, False)
        self.assertEqual(text.count("https://127.0.0.1:9876/status\n"), 2)
        self.assertEqual(text.count("https://127.0.0.1:9876/status?level=full\n"), 1)
        self.assertNotIn("httpGet:\n            path: /status\n            port: api", text)

    def test_production_has_its_doors_shut(self):
        self.check_doors(render(MANIFESTS / "examples" / "production"), True)


class Version(unittest.TestCase):
    def test_the_sources_the_image_and_the_manifests_have_one(self):
        version = re.search(r'SEEDPOD_VERSION "(.*)"', (ROOT / "lib/base/version.h").read_text()).group(1)
        built = set(re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Containerfile").read_text(), re.M))
        named = set()
        for path in MANIFESTS.rglob("*.yaml"):
            named |= set(re.findall(r"\bseedpod:([0-9][\w.-]*)", path.read_text()))
        self.assertEqual((built, named), ({version}, {version}))


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


class Image(unittest.TestCase):
    def test_the_library_that_loads_icu_works_with_the_empty_data_of_the_image(self):
        support.need("bsdtar", "gcc", "ldd")
        linked = re.search(r"(libicudata\.so\.(\d+)) =>", subprocess.run(["ldd", PROGRAMS[0]], capture_output=True,
                                                                        text=True).stdout)
        if linked is None:
            raise unittest.SkipTest("nothing loads ICU here")
        with tempfile.TemporaryDirectory() as directory:
            data = pathlib.Path(directory) / linked[1]
            subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-DENTRY=icudt{linked[2]}_dat",
                            f"-Wl,-soname,{linked[1]}", "-o", str(data), str(ROOT / "packaging" / "icudata.c")], check=True)
            environment = os.environ | {"LD_LIBRARY_PATH": directory}
            loaded = subprocess.run(["ldd", PROGRAMS[0]], capture_output=True, text=True, env=environment).stdout
            self.assertIn(str(data), loaded)
            for program in PROGRAMS:
                done = subprocess.run([program, "--version"], capture_output=True, text=True, env=environment)
                self.assertEqual(done.returncode, 0, done.stderr)
            # xar is the one format for which libarchive goes through libxml2, and so through ICU.
            (pathlib.Path(directory) / "a file").write_text("content")
            for arguments in ["--format=xar", "-cf", "x.xar", "a file"], ["-tf", "x.xar"]:
                done = subprocess.run(["bsdtar", *arguments], cwd=directory, capture_output=True, text=True, env=environment)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, "a file\n")


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
