"""TLS and tokens on real Kubernetes: who is let in, and Secrets that change while everything runs."""

import re

from case_raft import Raft
from doors import Doors, Untouched, lines_for, sections
from kube import DEFAULT_IMAGE, IMAGE, MANIFESTS, STORAGE_CLASS, check, is_ready, say
from suite import FULL, SMOKE, Skipped, case

BATCH = '{"op":"put","key":"doors","value":"v"}\n'


def closed(doors, curl, what):
    """A question that must not be answered at all: curl's exit code says how it ended."""
    code, answer = doors.client.try_curl("-m", "10", *curl)
    check(code in (35, 52, 55, 56, 58, 60) and not answer, f"{what}: curl exited {code}: {answer!r}")


def check_roles(doors, leader="seedpod-0"):
    """Every role against what it may and may not do; prints the table."""
    pod, url = f"{leader}.seedpod-headless", doors.client.url
    doors.client.put("doors", "v")
    asked = {
        "GET /status": [url(pod, "/status")],
        "GET key": [url(pod, "/v1/kv/doors")],
        "PUT key": ["-XPUT", "-d", "v", url(pod, "/v1/kv/doors")],
        "POST batch": ["--data-binary", BATCH, url(pod, "/v1/batch")],
        "GET position": [url(pod, "/v1/position")],
        "GET changes": [url(pod, "/v1/changes?since=0&limit=1")],
        "GET snapshot": [url(pod, "/v1/snapshot")],
    }
    allowed = {"GET /status": {"nobody", "stranger", "read", "write", "peer"}, "GET key": {"read", "write"},
               "PUT key": {"write"}, "POST batch": {"write"}, "GET position": {"read", "write", "peer"},
               "GET changes": {"peer"}, "GET snapshot": {"peer"}}
    who = {"nobody": None, "stranger": "stranger-" + "x" * 30} | {r: t[-1] for r, t in doors.tokens.items()}
    say(f"  {'':14}" + "".join(f"{name:>10}" for name in who))
    for what, curl in asked.items():
        got = {name: doors.status_of(token, *curl) for name, token in who.items()}
        say(f"  {what:14}" + "".join(f"{status:>10}" for status in got.values()))
        for name, status in got.items():
            wanted = (200, 204) if name in allowed[what] else (401,) if name in ("nobody", "stranger") else (403,)
            check(status in wanted, f"{name}: {what} was answered {status}")


@case(SMOKE)
def doors_locked(suite):
    """Components tls, tls-require and auth: nothing by plain HTTP or unverified, 401/403 by role, seeding by mutual TLS."""
    kube, client, doors = suite.kube, suite.client, Doors(suite, client_certificate=True)
    ini = sections() + lines_for("tls-require") + lines_for("auth")

    # Without the Secrets nothing starts, and the pod itself says what it lacks.
    suite.deploy(replicas=3, ini=ini, components=["parallel", "tls", "tls-require", "auth"], wait=False)
    suite.wait_described("seedpod-0", "/etc/seedpod/tls/tls.crt", "Exit Code:    78")
    doors.publish_certificate()
    doors.publish_tokens()
    kube.wait_ready(3)
    doors.open()

    pod = "seedpod-1.seedpod-headless"
    full, files = client.host(pod), ["--cacert", "/tmp/door/ca.crt"]
    mine = [*files, "--cert", "/tmp/door/tls.crt", "--key", "/tmp/door/tls.key"]
    closed(doors, [f"http://{full}:9876/status"], "plain HTTP")
    stranger = Doors(suite, client_certificate=True).client_files
    client.file("/tmp/stranger/pair", stranger["tls.crt"] + stranger["tls.key"], quiet=True)
    client.file("/tmp/stranger/ca", stranger["ca.crt"], quiet=True)
    closed(doors, ["--cacert", "/tmp/stranger/ca", f"https://{full}:9876/status"], "an authority that is not curl's")
    closed(doors, [*mine, f"https://{pod}:9876/status"], "a name that is not in the certificate")
    closed(doors, [*files, f"https://{full}:9876/status"], "no client certificate")
    closed(doors, [*files, "--cert", "/tmp/stranger/pair", f"https://{full}:9876/status"], "a foreign certificate")
    answer = client.curl("-f", *mine, f"https://{full}:9876/status")
    check(answer == "follower", f"the one way in was answered {answer!r}")
    check_roles(doors)

    # Both followers had an empty volume, and each pod asked the others with its own certificate and token.
    # The volume's own record says so: init's log goes with its container, which Kubernetes may delete or run again.
    for name in ("seedpod-1", "seedpod-2"):
        page = client.curl("-f", f"http://{name}.seedpod-headless:9877/metrics", quiet=True)
        seeded = re.search(r"^seedpod_snapshot_bytes_total (\d+)", page, re.M)
        check(seeded and int(seeded[1]) > 0, f"{name} was not seeded; its init's log:\n{kube.logs(name, 'init')}")
    seq = client.put("doors", "through any pod, redirected with the token")
    suite.settle(seq, suite.names(3))
    suite.scale(4)
    suite.equal_digests(suite.names(4))

    told = [token for tokens in doors.tokens.values() for token in tokens]
    for name in suite.names(4):
        log = "".join(kube.logs(name, container) for container in ("init", "server", "sidecar"))
        check(log and "(no log: " not in log, f"no log of {name} can be had: {log}")
        check(not any(token in log for token in told), f"a token stands in a log of {name}")
    say("no token stands in any log")


@case(FULL)
def doors_renewed(suite):
    """Certificate, authority and tokens change under a writer, without a restart; a bad Secret is refused and seen."""
    kube, client, doors = suite.kube, suite.client, Doors(suite)
    first = doors.publish_certificate()
    doors.publish_tokens()
    suite.deploy(replicas=3, ini=sections() + lines_for("tls") + lines_for("auth"), components=["tls", "auth"])
    doors.open()
    names, untouched = suite.names(3), Untouched(suite)
    writer = client.begin("writer.py", client.host("seedpod"), "renewed", 2)
    suite.cleanups.append(lambda: writer.process.poll() is None and writer.process.kill())

    def went_on(what):
        count = writer.ask("count")["acknowledged"]
        kube.wait(f"{what}: the writer goes on", lambda: writer.ask("count")["acknowledged"] > count + 30, 60)

    took = doors.wait_served(doors.publish_certificate(), names)
    say(f"recovery: a renewed certificate is served by all pods {took:.1f} s after its Secret was changed")
    went_on("certificate renewed")

    # A key of another certificate: refused whole, the one before stays, and it is seen.
    doors.publish_certificate(tls_key=first["tls.key"])
    page = "http://seedpod-1.seedpod-headless:9877/metrics"
    kube.wait("seedpod-1 reports the Secret", lambda: re.search(
        r"^seedpod_secrets_reload_success\S* 0$", client.curl("-f", page, quiet=True), re.M), 150)
    for container in ("server", "sidecar"):
        def refusals(container=container):
            return [line for line in kube.logs("seedpod-1", container).splitlines() if "files refused" in line]
        kube.wait(f"seedpod-1's {container} has logged it", refusals, 10)
        say("  " + refusals()[-1][:300])
    went_on("a bad Secret")

    # Another authority, step by step: trust both, then its certificates, then it alone.
    old, new = doors.authority, type(doors.authority)(doors.directory / "next", "next")
    both = old.crt.read_text() + new.crt.read_text()
    trusted = doors.publish_certificate(old.issue(*doors.names), ca_crt=both)
    client.file("/tmp/door/ca.crt", both, quiet=True)
    doors.wait_served(trusted, names)
    doors.wait_served(doors.publish_certificate(new.issue(*doors.names), ca_crt=both), names)
    last = doors.publish_certificate(new.issue(*doors.names))
    took = doors.wait_served(last, names)
    doors.client_files["ca.crt"] = last["ca.crt"]
    doors.open()
    say(f"the authority was replaced, its last step in {took:.1f} s")
    went_on("authority replaced")

    # Tokens: the new one beside the old one, then alone.
    former = {role: tokens[0] for role, tokens in doors.tokens.items()}
    for role, tokens in doors.tokens.items():
        tokens.insert(0, f"second-{role}-" + "y" * 20)
    doors.publish_tokens()
    url = [client.url("seedpod-2.seedpod-headless", "/v1/kv/renewed-0")]
    kube.wait("both tokens are good", lambda: all(
        doors.status_of(token, *url) == 200 for token in doors.tokens["read"]), 150)
    client.file("/tmp/door/token", doors.tokens["write"][0], quiet=True)
    for role, tokens in doors.tokens.items():
        tokens.remove(former[role])
    doors.publish_tokens()
    doors.open()
    took = kube.wait("the former ones are good no more, in any pod", lambda: all(
        doors.status_of(former["read"], client.url(f"{n}.seedpod-headless", "/v1/kv/renewed-0")) == 401
        and doors.status_of(former["peer"], client.url(f"{n}.seedpod-headless", "/v1/position")) == 401
        for n in names), 150)
    say(f"recovery: tokens of all roles are replaced {took:.1f} s after their Secrets were changed")
    went_on("tokens replaced")

    written = writer.stop()
    check(written["longest_pause_s"] < 5, "writing paused while Secrets changed")
    untouched.check()
    check(all(is_ready(pod) for pod in kube.pods().values()), "a pod is not ready")
    suite.equal_digests(names)
    for name in names:
        read = client.python("verify.py", client.host(f"{name}.seedpod-headless"), "renewed", written["acknowledged"])
        check(not read["missing"], f"{name} lacks acknowledged writes: {read['missing']}")
    # And a new pod is seeded by what is in force now.
    suite.scale(4)
    suite.equal_digests(suite.names(4))


def production(suite):
    """examples/production as text, with what this cluster has not: its storage class, a processor a pod, its registry."""
    if suite.old:
        raise Skipped("examples/production is for Kubernetes 1.29 and later")
    text = suite.kube.run("kustomize", str(MANIFESTS / "examples" / "production"), quiet=True)
    text = text.replace("registry.example.com/" + DEFAULT_IMAGE.partition("/")[2], IMAGE)
    text = re.sub(r"\n *storageClassName: fast-local", "\\g<0>" if STORAGE_CLASS == "fast-local" else "", text)
    if STORAGE_CLASS and STORAGE_CLASS != "fast-local":
        text = re.sub(r"(\n *)accessModes:", rf"\1storageClassName: {STORAGE_CLASS}\g<0>", text)
    return re.sub(r"cpu: (\"1\"|1)\n", "cpu: 100m\n", text)


@case(FULL)
def production_example(suite):
    """examples/production, with its Secrets: three pods behind TLS and tokens; written, read, scaled."""
    kube, client, doors = suite.kube, suite.client, Doors(suite)
    doors.publish_certificate()
    doors.publish_tokens()
    kube.run("apply", "-f", "-", input=production(suite))
    kube.wait_ready(3, timeout=300)
    doors.open()
    check_roles(doors)
    suite.settle(client.put("doors", "once more"), suite.names(3))
    check('"msg":"seeded"' in kube.logs("seedpod-1", "init"), "seedpod-1 was not seeded")
    untouched = Untouched(suite)
    suite.scale(4)
    suite.equal_digests(suite.names(4))
    check(set(untouched.before.items()) <= set(untouched.look(suite).items()), "a pod was restarted")


def check_raft_port(doors, pod):
    """It speaks TLS under the pod's own name, and ends it with whoever is no member."""
    code, took = doors.client.try_curl("-m", "10", "-o", "/dev/null", "-w", "%{time_appconnect}", "--cacert",
                                       "/tmp/door/ca.crt", doors.client.url(pod, "/", 9875).replace("http:", "https:"))
    check(code in (52, 55, 56) and float(took) > 0, f"the raft port of {pod}: curl exited {code}, TLS after {took} s")


@case(FULL)
def raft_doors(suite):
    """Mode raft behind TLS and tokens: founds, joins, elects, renews, scales 3 -> 4 -> 3; nothing acknowledged is lost."""
    kube, doors = suite.kube, Doors(suite)
    doors.publish_certificate()
    doors.publish_tokens()
    doors.open()
    raft = Raft(suite, ["raft", "raft-leave", "tls", "auth"], sections("raft") + lines_for("tls") + lines_for("auth"))
    closed(doors, [f"http://{suite.client.host('seedpod')}:9876/status"], "plain HTTP")
    check_roles(doors, raft.leader())
    for name in raft.names():
        check_raft_port(doors, f"{name}.seedpod-headless")
    lost = raft.leader()
    raft.during(f"kubectl delete pod {lost} --grace-period=0 --force (the leader)",
                lambda: raft.delete(lost, "--grace-period=0", "--force"))
    raft.wait_voters(3)
    raft.during("certificate renewed", lambda: doors.wait_served(doors.publish_certificate(), raft.names()))

    def scale(count):
        suite.scale(count)
        raft.count = count
        raft.wait_voters(count)
    raft.during("scale 3 -> 4, until all vote", lambda: scale(4))
    raft.during("scale 4 -> 3, until it has left", lambda: scale(3))
    raft.check_all()
