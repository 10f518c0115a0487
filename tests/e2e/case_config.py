"""One ConfigMap tunes all pods while they run."""

from kube import check, restarts, say
from suite import SMOKE, case

INI = """[pod]
service = seedpod-headless

[bootstrap]
attempts = 6

[sync]
mode = poll ; live
interval = {interval} ; live

[readiness]
max_lag = {max_lag} ; live
"""


@case(SMOKE)
def live_configuration(suite):
    """sync.interval and readiness.max_lag change in running pods; a broken ConfigMap changes nothing and is seen."""
    kube, client = suite.kube, suite.client
    suite.deploy(ini=INI.format(interval="1s", max_lag="30s"))
    names = suite.names(2)
    before = {name: (pod["metadata"]["uid"], restarts(pod)) for name, pod in kube.pods().items()}
    old = client.status("seedpod-0")["config"]["hash"]
    say(f"configuration {old} in force")

    suite.set_ini(INI.format(interval="3s", max_lag="42s"))

    def acknowledged():
        hashes = {client.status(n)["config"]["hash"] for n in names}
        return len(hashes) == 1 and old not in hashes
    kube.wait("both pods acknowledge another hash in /status", acknowledged, 150)
    states = [client.status(n) for n in names]
    new = states[0]["config"]["hash"]
    lag = [c["text"] for c in states[1]["checks"] if c["name"] == "lag"][0]
    say(f"configuration {new} in force; seedpod-1: {lag}")
    check(lag.endswith("<= 42s"), f"max_lag is not 42s in seedpod-1: {lag}")
    # In mode poll the time since the leader answered grows to the interval: more than 2 s only with the new one.
    kube.wait("seedpod-1 asks its leader at the new interval",
              lambda: client.status("seedpod-1")["leader_contact_age_seconds"] > 2, 30, pause=0.05)

    suite.set_ini(INI.format(interval="3s", max_lag="soon"))
    for name in names:
        kube.wait(f"{name} reports the broken configuration",
                  lambda name=name: not client.status(name)["config"]["success"], 150)
        config = client.status(name)["config"]
        say(f"{name} /status: {config['error']}")
        check("max_lag" in config["error"], "the key is not named")
        check(config["hash"] == new, "another configuration is in force")
        metrics = client.curl(f"http://{name}.seedpod-headless:9877/metrics", quiet=True)
        check("seedpod_config_reload_success 0" in metrics, "seedpod_config_reload_success is not 0")
        for container in ("server", "sidecar"):
            lines = [line for line in kube.logs(name, container).splitlines() if "max_lag" in line]
            check(lines, f"{name}'s {container} did not log it")
            say(f"{name} {container}: {lines[-1][:300]}")
    check(client.status("seedpod-1")["ready"], "a broken configuration made a pod unready")

    suite.set_ini(INI.format(interval="1s", max_lag="30s"))
    kube.wait("the first configuration is in force again",
              lambda: all(client.status(n)["config"]["hash"] == old and client.status(n)["config"]["success"]
                          for n in names), 150)
    after = {name: (pod["metadata"]["uid"], restarts(pod)) for name, pod in kube.pods().items()}
    check(before == after, f"pods or containers were restarted: {before} -> {after}")
    say("no pod and no container was restarted")
