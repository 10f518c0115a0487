#!/usr/bin/env python3
"""What the programs may do and what they leave behind: no new privileges, and files for their own user alone."""

import os
import pathlib
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import support  # noqa: E402
from support import PodTest  # noqa: E402


def process_status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


class Sandbox(PodTest):
    def test_running_programs_have_given_up_what_they_do_not_need(self):
        pods = self.pod_set(1)
        for container in (pods.leader.server, pods.leader.sidecar):
            status = process_status(container.pid)
            self.assertEqual(status["NoNewPrivs"], "1", container.name)
            self.assertEqual(int(status["Umask"], 8), 0o077, container.name)

    def test_a_log_that_nobody_takes_is_not_written_into_the_store(self):
        """The first files that a program opens get the numbers of the standard streams where those are closed."""
        pods = self.pod_set(1)
        pod = pods.leader
        pod.stop()
        for container in pod.containers.values():
            container.wrap = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
        pod.start_serving()
        for container in (pod.server, pod.sidecar):
            for fd in range(3):
                self.assertEqual(os.readlink(f"/proc/{container.pid}/fd/{fd}"), "/dev/null", container.name)
        self.assertEqual(pod.put("k", b"v").status, 204)
        self.assertEqual(pod.get("/v1/snapshot").status, 200)  # which is logged
        pod.stop()
        done = subprocess.run([str(support.BUILD / "seedpod-server"), "--verify", "--store", str(pod.store_dir)],
                              capture_output=True, text=True, timeout=60 * support.SLOW)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(": ok: 1 keys", done.stdout)

    def test_a_limit_of_the_size_of_files_fails_the_write_and_kills_nobody(self):
        pods = self.pod_set(1, {"bootstrap.attempts": "1"})
        pods.leader.load((f"key-{n}", "x" * 5000) for n in range(1000))
        follower = pods.add()
        follower.init.wrap = ["prlimit", "--fsize=2000000"]
        code, log = follower.run_init()
        self.assertEqual(code, 74, log)
        self.assertIn("File too large", follower.init.termination_log.read_text())
        self.assertEqual([path.name for path in follower.data_dir.glob("store*")], [])

    def test_files_are_for_their_user_alone(self):
        """A leader's volume, and one that init has seeded; whatever the umask was that the programs were started with."""
        pods = self.pod_set(1, {"server.durability": "async"})
        pods.leader.put("k", b"v")
        pods.scale(2)
        pods.wait_ready()
        seen = set()
        for pod in pods:
            mode = pod.control_socket.stat().st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o600)
            for path in pod.data_dir.rglob("*"):
                mode = path.lstat().st_mode
                seen.add(path.name)
                self.assertEqual(stat.S_IMODE(mode), 0o700 if stat.S_ISDIR(mode) else 0o600, path)
        self.assertLessEqual({"store", "data.mdb", "lock.mdb", "lock", "seed.json", "journal"}, seen)


if __name__ == "__main__":
    support.main()
