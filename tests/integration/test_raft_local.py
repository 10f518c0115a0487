#!/usr/bin/env python3
"""A cluster on the command line: the session that users of the Raft key-value store know, with curl."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import authority
import support
from support import need, wait_until


class Session(support.PodTest):
    """Members are processes; 127.0.<octet>.1 is their machine, the ports are like those of the session,
    but below those that the kernel gives to connections: member 4 would lose 42380 to one now and then."""

    def setUp(self):
        super().setUp()
        need("curl")
        self.host = f"127.0.{support.octet()}.1"
        self.processes = {}
        # A Unix socket's path has little room.
        self.folder = tempfile.TemporaryDirectory(prefix="sp-")
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.end)

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def urls(self, members):
        return ",".join(f"http://{self.host}:2{n}379" for n in range(1, members + 1))

    def start(self, number, members=3, *more):
        log = open(f"{self.folder.name}/{number}.log", "ab")
        self.addCleanup(log.close)
        self.processes[number] = subprocess.Popen(
            [str(support.BUILD / "seedpod-server"), "--id", str(number), "--cluster", self.urls(members), "--port",
             f"2{number}380", *more], cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def curl(self, *arguments):
        """(status, body) of one curl."""
        done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", *arguments], capture_output=True, text=True,
                              timeout=30 * support.SLOW)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def put(self, number, key, value):
        return self.curl("-L", "-XPUT", "-d", value, f"http://{self.host}:2{number}380/{key}")[0]

    def get(self, number, key):
        return self.curl("-L", f"http://{self.host}:2{number}380/{key}")

    def logs(self):
        return "".join(open(f"{self.folder.name}/{n}.log").read()[-3000:] for n in self.processes)

    def wait(self, condition, what):
        try:
            wait_until(condition, 20, what)
        except support.PodError as problem:
            raise AssertionError(f"{problem}\n{self.logs()}") from None

    def voters(self, number):
        status, body = self.curl(f"http://{self.host}:2{number}380/v1/members")
        return body.count('"role":"voter"') if status == 200 else 0

    def test_members_reach_one_another_by_ipv6(self):
        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError as problem:
            self.skipTest(f"no IPv6: {problem}")
        self.host, peer = "127.0.0.1", "[::1]"
        self.urls = lambda members: ",".join(f"http://{peer}:2{n}379" for n in range(1, members + 1))
        for number in (1, 2, 3):
            self.start(number)
        self.wait(lambda: self.voters(1) == 3, "three vote")
        self.assertEqual(self.put(1, "key", "value"), 204)
        status, body = self.curl(f"http://127.0.0.1:22380/key?consistency=linearizable")
        self.assertEqual((status, body), (200, "value"))

    def test_a_member_beyond_the_log_says_what_to_do_and_that_helps(self):
        os.environ.update({"SEEDPOD_RAFT_TRAILING": "16", "SEEDPOD_RAFT_SNAPSHOT_EVERY": "16"})
        self.addCleanup(lambda: [os.environ.pop(f"SEEDPOD_RAFT_{name}") for name in ("TRAILING", "SNAPSHOT_EVERY")])
        for number in (1, 2, 3):
            self.start(number)
        self.wait(lambda: self.voters(1) == 3, "three vote")
        self.assertEqual(self.put(1, "first", "value"), 204)
        self.processes[3].terminate()
        self.assertEqual(self.processes[3].wait(20), 0)
        self.wait(lambda: self.put(1, "second", "value") == 204, "two go on")
        for n in range(100):
            self.assertEqual(self.put(1, f"key-{n}", "value"), 204)
        self.start(3)
        self.wait(lambda: '"role":"needs_snapshot"' in self.curl(f"http://{self.host}:23380/v1/position")[1],
                  "it says that it needs a snapshot")
        log = pathlib.Path(f"{self.folder.name}/3.log")
        self.wait(lambda: "nobody seeds a cluster on the command line" in log.read_text(), "the log says what to do")
        command = re.search(r'command="([^"]+)"', log.read_text()).group(1)
        self.assertIn("/v1/snapshot", command)
        self.processes[3].terminate()
        self.assertEqual(self.processes[3].wait(20), 0)
        subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, cwd="/", timeout=30)
        self.start(3)
        self.wait(lambda: self.get(3, "key-99?consistency=linearizable") == (200, "value"), "the third has it all")
        self.assertEqual(self.put(3, "after", "value"), 204)
        self.wait(lambda: self.get(3, "after") == (200, "value"), "and goes on by the log")

    def test_three_members_one_stops_and_returns_a_fourth_comes_the_third_goes(self):
        for number in (1, 2, 3):
            self.start(number)
        self.wait(lambda: self.voters(1) == 3, "three vote")
        # Write to any.
        self.assertEqual(self.put(1, "my-key", "hello"), 204)
        self.assertEqual(self.put(3, "my-key", "hello again"), 204)
        self.wait(lambda: self.get(2, "my-key") == (200, "hello again"), "the second has it")
        self.assertEqual(self.get(1, "none")[0], 404)
        # Stop one, write, start it: it has the new value.
        self.processes[2].kill()
        self.processes[2].wait()
        self.wait(lambda: self.put(1, "my-key", "foo") == 204, "a majority goes on")
        self.assertEqual(self.get(1, "my-key"), (200, "foo"))
        self.start(2)
        self.wait(lambda: self.get(2, "my-key") == (200, "foo"), "the second caught up")
        # Add a fourth with POST, then start it.
        self.wait(lambda: self.curl("-L", "-XPOST", "-d", f"http://{self.host}:24379",
                                    f"http://{self.host}:21380/4")[0] == 204, "the fourth is announced")
        self.start(4, 4, "--join")
        self.wait(lambda: self.voters(1) == 4, "four vote")
        self.wait(lambda: self.get(4, "my-key") == (200, "foo"), "the fourth has it")
        self.assertEqual(self.put(4, "from-four", "bar"), 204)
        # Remove the third with DELETE: it shuts itself down.
        self.wait(lambda: self.curl("-L", "-XDELETE", f"http://{self.host}:21380/3")[0] in (204, 404), "it is removed")
        self.assertEqual(self.processes[3].wait(20 * support.SLOW), 0)
        self.wait(lambda: self.voters(1) == 3, "three vote again")
        self.assertEqual(self.put(2, "my-key", "baz"), 204)
        status, headers = self.curl("-i", "-XPATCH", f"http://{self.host}:21380/my-key")
        self.assertEqual(status, 405)
        self.assertRegex(headers, r"(?m)^Allow: PUT, GET, HEAD, POST, DELETE\r?$")

    def log(self, number):
        return pathlib.Path(f"{self.folder.name}/{number}.log").read_text()

    def test_member_1_that_lost_its_folder_founds_no_second_cluster(self):
        for number in (1, 2, 3):
            self.start(number)
        self.wait(lambda: self.voters(1) == 3, "three vote")
        self.assertEqual(self.put(1, "my-key", "hello"), 204)
        self.processes[1].kill()
        self.processes[1].wait()
        shutil.rmtree(f"{self.folder.name}/seedpod-1")
        self.wait(lambda: self.put(2, "my-key", "hello again") == 204, "two go on")
        for restart in range(2):
            self.start(1)
            self.wait(lambda: self.get(1, "my-key?consistency=linearizable") == (200, "hello again"), "it is seeded")
            self.wait(lambda: self.voters(2) == 3, "three vote again")
            self.assertEqual(self.put(1, "my-key", "hello again"), 204)
            self.processes[1].terminate()
            self.assertEqual(self.processes[1].wait(20 * support.SLOW), 0)
        self.assertIn("this one joins it and founds none", self.log(1))

    def test_who_waits_for_a_leader_says_what_for(self):
        self.start(2)
        self.wait(lambda: "Member 1, without --join, begins one" in self.log(2), "the second says that it waits")
        self.assertEqual(self.put(2, "my-key", "hello"), 503)
        self.start(1)
        self.wait(lambda: self.voters(1) == 2, "two vote")
        self.assertIn("there is a leader again", self.log(2))
        self.processes[2].kill()
        self.processes[2].wait()
        self.wait(lambda: "a majority of the voters has to be up" in self.log(1), "the first says what is missing")
        self.start(2)
        self.wait(lambda: self.put(1, "my-key", "hello") == 204, "it goes on")

    def test_the_command_line_says_what_is_wrong_with_it(self):
        for arguments, said in (
                (["--id", "1"], "--port"), (["--cluster", self.urls(3)], "--id"), (["--id", "0", "--port", "1"], "--id"),
                (["--id", "4", "--cluster", self.urls(3), "--port", "1"], "none for member 4"),
                (["--id", "1", "--cluster", "nonsense", "--port", "1"], "--cluster"),
                (["--id", "1", "--cluster", "http://127.0.0.1", "--port", "1"], "--cluster"),
                (["--id", "1", "--cluster", "https://127.0.0.1:9", "--port", "1"], "--cluster"),
                (["--id", "1", "--cluster", self.urls(3), "--port", "70000"], "--port"),
                (["--id", "2", "--cluster", self.urls(3), "--port", "22379"], "--port 22379 is for clients"),
                (["--id", "2", "--cluster", self.urls(3), "--port", "22378"], "--port 22378 is for clients")):
            done = subprocess.run([str(support.BUILD / "seedpod-server"), *arguments], capture_output=True, text=True,
                                  cwd=self.folder.name, timeout=20 * support.SLOW)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn(said, done.stderr)

    def test_a_member_with_a_certificate_does_not_start(self):
        support.need("openssl")
        files = authority.Volume(pathlib.Path(self.folder.name) / "tls")
        files.write(authority.Authority(pathlib.Path(self.folder.name) / "authority").issue("node-1.local"))
        environment = os.environ | {"SEEDPOD_TLS_CERT": f"{files.path}/tls.crt", "SEEDPOD_TLS_KEY": f"{files.path}/tls.key",
                                    "SEEDPOD_TLS_CA": f"{files.path}/ca.crt"}
        for more in ({}, {"SEEDPOD_POD_PEER_URL": "https://{name}.local:1"}):
            done = subprocess.run([str(support.BUILD / "seedpod-server"), "--id", "1", "--cluster", self.urls(1),
                                   "--port", "21380"], capture_output=True, text=True, cwd=self.folder.name,
                                  env=environment | more, timeout=20 * support.SLOW)
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertIn("no TLS", done.stderr)


if __name__ == "__main__":
    support.main()
