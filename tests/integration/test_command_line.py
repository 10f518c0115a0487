#!/usr/bin/env python3
"""The three programs' command lines, the shipped sample, the man pages."""

import json
import os
import re
import subprocess

import support

PROGRAMS = ("seedpod-init", "seedpod-server", "seedpod-sidecar")


class CommandLine(support.PodTest):
    def run_program(self, program, *arguments, environment=None):
        values = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDPOD_", "POD_"))}
        values |= {"POD_NAME": "store-1"} | (environment or {})
        done = subprocess.run([str(support.BUILD / program), *arguments], capture_output=True, text=True, env=values,
                              timeout=30 * support.SLOW, cwd=self.dir, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def config(self, text):
        path = self.dir / "test.ini"
        path.write_text(text)
        return str(path)

    def test_help_names_every_common_option(self):
        for program in PROGRAMS:
            with self.subTest(program):
                code, out, err = self.run_program(program, "--help")
                self.assertEqual((code, err), (0, ""))
                for option in ("--config", "--check", "--print", "--help", "--version"):
                    self.assertIn(option, out)

    def test_help_names_each_exit_code_of_the_man_page(self):
        for program in PROGRAMS:
            with self.subTest(program):
                page = (support.ROOT / "docs" / "man" / f"{program}.1").read_text()
                codes = re.findall(r"^\.It (\d+)$", page.split(".Sh EXIT STATUS")[1].split(".Sh ")[0], re.M)
                self.assertGreater(len(codes), 5)
                told = self.run_program(program, "--help")[1].split("Exit codes")[1]
                self.assertEqual([code for code in codes if not re.search(rf"\b{code}\b", told)], [])

    def test_version_is_the_one_of_the_headers(self):
        version = re.search(r'"(.+)"', (support.ROOT / "lib/base/version.h").read_text()).group(1)
        for program in PROGRAMS:
            with self.subTest(program):
                code, out, _ = self.run_program(program, "--version")
                self.assertEqual((code, out.strip()), (0, f"{program} {version}"))

    def test_unknown_options_and_stray_arguments_are_64_with_a_hint(self):
        for program in PROGRAMS:
            with self.subTest(program):
                for arguments in (["--nonsense"], ["stray"], ["--config"]):
                    code, out, err = self.run_program(program, *arguments)
                    self.assertEqual((code, out), (64, ""))
                    self.assertIn("--help", err)

    def test_json_without_plan_is_64_and_seeds_nothing(self):
        source = self.config(f"[server]\ndata_dir = {self.dir}/data\n[pod]\ntermination_log =\n")
        code, out, err = self.run_program("seedpod-init", "--config", source, "--json")
        self.assertEqual((code, out), (64, ""))
        self.assertIn("--plan", err)
        self.assertFalse((self.dir / "data").exists())

    def test_a_plan_that_cannot_be_written_is_no_success(self):
        source = self.config(f"[server]\ndata_dir = {self.dir}/data\n[pod]\ntermination_log =\n[bootstrap]\nmax_peers = 1\n")
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(support.BUILD / "seedpod-init"), "--config", source, "--plan"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=30 * support.SLOW,
                                  env=os.environ | {"POD_NAME": "store-0"})
        self.assertEqual(done.returncode, 73, done.stderr)
        self.assertIn("No space left on device", done.stderr)

    def test_the_shipped_sample_checks(self):
        sample = str(support.ROOT / "conf" / "seedpod.ini")
        for program in PROGRAMS:
            with self.subTest(program):
                code, out, err = self.run_program(program, "--config", sample, "--check")
                self.assertEqual((code, out, err), (0, f"{sample}: ok\n", ""))

    def test_printed_configuration_parses_again_to_the_same(self):
        source = self.config("[sync]\ninterval = 1500ms\n[server]\nmax_value = 3MiB\n[bootstrap]\nreseed_ratio = 0.25\n"
                             "[pod]\npeer_url = http://{name}.{service}.{namespace}.svc:9876\n")
        for program in PROGRAMS:
            with self.subTest(program):
                code, printed, err = self.run_program(program, "--config", source, "--print")
                self.assertEqual((code, err), (0, ""))
                again = self.dir / "again.ini"
                again.write_text(printed)
                self.assertEqual(self.run_program(program, "--config", str(again), "--check")[0], 0)
                self.assertEqual(self.run_program(program, "--config", str(again), "--print")[1], printed)
                self.assertRegex(printed, r"(?m)^interval = 1500ms")
                self.assertRegex(printed, r"(?m)^max_value = 3MiB")

    def test_the_environment_overrides_keys(self):
        source = self.config("[sync]\ninterval = 10s\n")
        for program in PROGRAMS:
            with self.subTest(program):
                _, printed, _ = self.run_program(program, "--config", source, "--print",
                                                 environment={"SEEDPOD_SYNC_INTERVAL": "3s"})
                self.assertRegex(printed, r"(?m)^interval = 3s")
                code, _, err = self.run_program(program, "--config", source, "--check",
                                                environment={"SEEDPOD_SYNC_INTERVALL": "3s"})
                self.assertEqual(code, 78)
                self.assertIn("SEEDPOD_SYNC_INTERVALL", err)

    def test_a_bad_configuration_is_78_and_names_file_line_key_and_what_is_allowed(self):
        source = self.config("[sync]\n\nmode = sometimes\n")
        for program in PROGRAMS:
            with self.subTest(program):
                for arguments in (["--check"], ["--print"], []):
                    code, out, err = self.run_program(program, "--config", source, *arguments)
                    self.assertEqual((code, out), (78, ""))
                    for part in ("test.ini:3", "sync", "mode", "sometimes", "stream", "poll"):
                        self.assertIn(part, err)

    def test_a_bad_configuration_is_told_in_the_termination_message_too(self):
        said = self.dir / "said"
        for text, found in ((f"[pod]\ntermination_log = {said}\n[sync]\nmode = sometimes\n", "test.ini:4: [sync] mode"),
                            (None, "missing.ini: No such file")):
            source = self.config(text) if text else str(self.dir / "missing.ini")
            for arguments in (["--check"], ["--print"], ["--plan"]):
                self.run_program("seedpod-init", "--config", source, *arguments,
                                 environment={} if text else {"SEEDPOD_POD_TERMINATION_LOG": str(said)})
                self.assertFalse(said.exists(), arguments)
            code, _, _ = self.run_program("seedpod-init", "--config", source,
                                          environment={} if text else {"SEEDPOD_POD_TERMINATION_LOG": str(said)})
            message = json.loads(said.read_text())
            self.assertEqual((code, message["exit_code"], message["phase"]), (78, 78, "configuration"))
            self.assertIn(found, message["error"])
            said.unlink()
        source = self.config("[pod]\ntermination_log =\n[sync]\nmode = sometimes\n")
        self.assertEqual(self.run_program("seedpod-init", "--config", source)[0], 78)

    def test_a_missing_configuration_is_named(self):
        for program in PROGRAMS:
            with self.subTest(program):
                for missing in ("/nonexistent/seedpod.ini", "/etc/hostname/seedpod.ini", str(self.dir)):
                    code, _, err = self.run_program(program, "--config", missing)
                    self.assertEqual(code, 78)
                    self.assertIn(missing, err)

    def test_a_pod_name_without_an_ordinal_is_78(self):
        source = self.config("")
        code, _, err = self.run_program("seedpod-server", "--config", source, environment={"POD_NAME": "store"})
        self.assertEqual(code, 78)
        self.assertIn("store", err)

    def test_the_man_pages_are_sound(self):
        support.need("mandoc")
        pages = sorted((support.ROOT / "docs" / "man").glob("*.[15]"))
        self.assertEqual([page.name for page in pages],
                         ["seedpod-init.1", "seedpod-server.1", "seedpod-sidecar.1", "seedpod.ini.5"])
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *map(str, pages)], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class Offline(support.PodTest):
    """The server's program on a store that no server has open."""

    def server(self, *arguments):
        done = subprocess.run([str(support.BUILD / "seedpod-server"), *arguments], capture_output=True, text=True,
                              timeout=60 * support.SLOW)
        return done.returncode, done.stdout, done.stderr

    def test_verify_recomputes_the_digest_and_finds_an_altered_record(self):
        pods = self.pod_set(1)
        pods.leader.load((f"key-{n}", f"a value to look for {n:06d}") for n in range(500))
        position = pods.leader.position()
        pods.stop()
        store = pods.leader.store_dir
        code, out, err = self.server("--verify", "--store", str(store))
        self.assertEqual(code, 0, err)
        self.assertIn(position["digest"], out)
        image = store / "data.mdb"
        data = image.read_bytes()
        image.write_bytes(data.replace(b"a value to look for 000250", b"a value to look for 000999"))
        code, out, err = self.server("--verify", "--store", str(store))
        self.assertEqual(code, 65, out)
        self.assertTrue(err)

    def test_a_store_that_a_server_has_open_is_not_read_beside_it(self):
        pods = self.pod_set(1)
        pods.leader.load((f"key-{n}", "a value") for n in range(10))
        for option in ("--verify", "--position"):
            code, out, err = self.server(option, "--store", str(pods.leader.store_dir))
            self.assertEqual((code, out), (75, ""))
            self.assertIn("a server has this store open", err)
        self.assertEqual(pods.leader.ask_control("POST", "/role", b'{"role":"follower"}').status, 200)
        self.assertEqual(pods.leader.ask_control("POST", "/release").status, 204)
        code, _, err = self.server("--verify", "--store", str(pods.leader.store_dir))
        self.assertEqual(code, 0, err)

    def test_a_store_that_is_named_in_vain_is_64(self):
        store = str(self.dir)
        for arguments in (["--store", store], ["--verify"], ["--position"],
                          ["--verify", "--position", "--store", store]):
            code, out, err = self.server(*arguments)
            self.assertEqual((code, out), (64, ""))
            self.assertIn("--store DIR", err)

    def test_position_of_what_is_no_store_is_65(self):
        (self.dir / "data.mdb").write_bytes(b"nothing of the kind" * 1000)
        code, out, err = self.server("--position", "--store", str(self.dir))
        self.assertEqual((code, out), (65, ""))
        self.assertTrue(err)


if __name__ == "__main__":
    support.main()
