#!/usr/bin/env python3
"""Rules and dashboard: each alert fires on its fault and not before, and every metric that they name is exposed."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import unittest
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import support  # noqa: E402
from support import ROOT, wait_until  # noqa: E402

MONITORING = ROOT / "manifests" / "monitoring"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
NAME = re.compile(r"\bseedpod_[a-z0-9_]*[a-z0-9]\b")
POD = 'namespace="n",job="seedpod-headless",instance="a"'
OTHER = POD.replace('"a"', '"b"')
DAY = 86400

# alert: the series of its fault, one value a minute, healthy until minute 5; the minutes at which it does not and does fire.
FAULTS = {
    "SeedpodNotReady": ({f"seedpod_ready{{{POD}}}": "1x4 0x20"}, 9, 11),
    "SeedpodServerDown": ({f"seedpod_server_up{{{POD}}}": "1x4 0x20"}, 6, 8),
    "SeedpodNoLeader": ({f'seedpod_role{{{POD},role="leader"}}': "1x4 0x20",
                         f'seedpod_role{{{OTHER},role="leader"}}': "0x24"}, 6, 8),
    "SeedpodLeaders": ({f'seedpod_role{{{POD},role="leader"}}': "1x24",
                        f'seedpod_role{{{OTHER},role="leader"}}': "0x4 1x20"}, 6, 8),
    "SeedpodStale": ({f"seedpod_stale{{{POD}}}": "0x4 1x20"}, 6, 8),
    "SeedpodLag": ({f"seedpod_lag_seconds{{{POD}}}": "30x4 31x20"}, 6, 8),
    "SeedpodDiverged": ({f'seedpod_sync_errors_total{{{POD},reason="diverged"}}': "0x4 1x20",
                         f'seedpod_sync_errors_total{{{POD},reason="unreachable"}}': "0+1x24"}, 4, 6),
    "SeedpodDamagedRecord": ({f"seedpod_server_damaged_records_total{{{POD}}}": "0x4 1x20"}, 4, 6),
    "SeedpodVolumeFull": ({f"seedpod_server_no_space_total{{{POD}}}": "0x4 1x20"}, 4, 6),
    "SeedpodWritesFail": ({f"seedpod_server_commit_failures_total{{{POD}}}": "0x4 1x20"}, 4, 6),
    "SeedpodFlushLate": ({f"seedpod_server_unflushed_seconds{{{POD}}}": "30x4 31x20"}, 6, 8),
    "SeedpodConfigRejected": ({f"seedpod_config_reload_success{{{POD}}}": "1x4 0x20"}, 6, 8),
    "SeedpodConfigsDiffer": ({f'seedpod_config_info{{{POD},hash="1"}}': "1x24",
                              f'seedpod_config_info{{{OTHER},hash="1"}}': "1x4 stale",
                              f'seedpod_config_info{{{OTHER},hash="2"}}': "_x5 1x20"}, 14, 16),
    "SeedpodReseedsOften": ({f"seedpod_reseeds_total{{{POD}}}": "0x4 1x4 2x4 3x40"}, 9, 20),
    "SeedpodCertificateExpires": ({f"seedpod_tls_certificate_expiry_timestamp_seconds{{{POD}}}":
                                   f"{8 * DAY}x4 {6 * DAY}x100"}, 60, 70),
    "SeedpodSecretsRejected": ({f"seedpod_secrets_reload_success{{{POD}}}": "1x4 0x20"}, 9, 11),
    "SeedpodRaftNoLeader": ({f"seedpod_raft_leader_known{{{POD}}}": "1x4 0x20"}, 5, 7),
    "SeedpodRaftElections": ({f"seedpod_raft_elections_won_total{{{POD}}}": "0 0 0 0 1 2 2 2 2 2",
                              f"seedpod_raft_elections_won_total{{{OTHER}}}": "0 0 0 0 0 0 1 2 3 4"}, 6, 10),
    "SeedpodRaftMemberGone": ({f"seedpod_raft_members{{{POD}}}": "2x4 3x40",
                               f"seedpod_raft_members{{{OTHER}}}": "2x4 3x40"}, 14, 16),
    "SeedpodRaftLogFails": ({f"seedpod_raft_log_failures_total{{{POD}}}": "0x4 1x20"}, 4, 6),
}
# Healthy for hours.
HEALTHY = {f"seedpod_{name}{{{POD}}}": f"{value}x200" for name, value in {
    "ready": 1, "server_up": 1, "stale": 0, "lag_seconds": 0, "server_damaged_records_total": 3,
    "server_no_space_total": 2, "server_commit_failures_total": 2, "server_unflushed_seconds": 1,
    "config_reload_success": 1, "reseeds_total": 7, "tls_certificate_expiry_timestamp_seconds": 0,
    "secrets_reload_success": 1, "raft_leader_known": 1, "raft_elections_won_total": 9, "raft_members": 1,
    "raft_log_failures_total": 1}.items()} | {
    f'seedpod_role{{{POD},role="leader"}}': "1x200", f'seedpod_sync_errors_total{{{POD},reason="digest"}}': "5x200",
    f'seedpod_config_info{{{POD},hash="1"}}': "1x200"}


def rules():
    """{alert: the lines of its rule}."""
    text = (MONITORING / "rules.yaml").read_text()
    parts = re.split(r"^  - alert: (\w+)\n", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def dashboard():
    return json.loads((MONITORING / "dashboard.json").read_text())


def queries():
    """The dashboard's queries, with its variables filled in as Grafana does."""
    return [(panel["title"], re.sub(r"\$__rate_interval", "1m", re.sub(r"\$(namespace|job)\b", ".*", target["expr"])))
            for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def documented():
    """Names in the table of metrics in docs/operations.md."""
    return set(NAME.findall(OPERATIONS[OPERATIONS.index("## Metrics"):OPERATIONS.index("## Alerts")]))


class Rules(unittest.TestCase):
    def setUp(self):
        support.need("promtool")

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def series(self, series):
        return [{"series": name, "values": values} for name, values in series.items()]

    def test_each_alert_fires_on_its_fault_and_not_before(self):
        self.assertEqual(set(rules()), set(FAULTS), "each alert needs a fault here")
        groups = []
        for alert, (series, before, after) in FAULTS.items():
            for minute, fires in (before, False), (after, True):
                # What fires is known by a query: promtool's own assertion wants every label and annotation repeated.
                groups.append({"interval": "1m", "input_series": self.series(series), "promql_expr_test": [{
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}]})
        groups.append({"interval": "1m", "input_series": self.series(HEALTHY), "promql_expr_test": [
            {"expr": "count(ALERTS) or vector(0)", "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": 0}]}
            for minute in (5, 60, 180)]})
        tests = pathlib.Path(support.tempfile.mkdtemp()) / "tests.yaml"
        tests.write_text(json.dumps({"rule_files": [str(MONITORING / "rules.yaml")], "evaluation_interval": "1m",
                                     "tests": groups}))
        self.promtool("test", "rules", tests)

    def test_the_rules_are_valid_and_the_operators_are_the_same(self):
        self.promtool("check", "rules", MONITORING / "rules.yaml")
        plain = (MONITORING / "rules.yaml").read_text()
        custom = (MONITORING / "prometheus-rule.yaml").read_text()
        self.assertEqual(textwrap.dedent(custom.partition("spec:\n")[2]), plain[plain.index("groups:"):])

    def test_every_alert_has_a_runbook(self):
        for alert, text in rules().items():
            self.assertIn(f"runbook_url: docs/operations.md#{alert.lower()}\n", text)
            self.assertEqual(OPERATIONS.count(f"\n### {alert}\n"), 1, alert)
            section = OPERATIONS.partition(f"\n### {alert}\n")[2].partition("\n### ")[0]
            expression = re.search(r"expr: \|-\n      (.*)", text)[1]
            self.assertIn(f"`{expression}`", section, alert)
            for anchor in re.findall(r"\]\(#([a-z-]+)\)", section):
                heads = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-")
                         for h in re.findall(r"^#+ (.*)", OPERATIONS, re.M)}
                self.assertIn(anchor, heads, alert)

    def test_the_dashboards_panels_do_not_overlap_and_have_a_number(self):
        panels, taken = dashboard()["panels"], set()
        self.assertEqual(len({p["id"] for p in panels}), len(panels))
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells


class Live(support.PodTest):
    """With pods that run, of both modes, and a Prometheus that scrapes them."""

    def exposed(self, pods):
        names = set()
        for pod in pods:
            names |= set(re.findall(r"^# TYPE (\S+) ", pod.ask_sidecar("/metrics").text(), re.M))
        return names

    def start_prometheus(self, pods, directory):
        support.need("prometheus", "promtool")
        address = f"127.0.{pods.octet}.250:9090"
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "rule_files": [str(MONITORING / "rules.yaml")],
                  "scrape_configs": [{"job_name": "seedpod-headless", "static_configs": [
                      {"targets": [f"{pod.ip}:9877" for pod in pods], "labels": {"namespace": "n"}}]}]}
        (directory / "prometheus.yaml").write_text(json.dumps(config))
        log = (directory / "prometheus.log").open("w")
        process = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address={address}"], stdout=log, stderr=log)

        def stop():
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            log.close()
        self.addCleanup(stop)
        return address

    def ask(self, path, **parameters):
        url = f"http://{self.prometheus}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query):
        try:
            return self.ask("/api/v1/query", query=query)["result"]
        except OSError:
            return []

    def test_all_that_is_named_is_exposed_and_all_that_is_exposed_is_documented(self):
        static = self.pod_set(2)
        static.wait_ready()
        wait_until(lambda: "seedpod_server_writes_total" in self.exposed(static), 20, "the pages are complete", static)
        exposed = self.exposed(static)
        for pod in static:
            pod.stop()
        raft = self.pod_set(0, {"replication.mode": "raft"})
        raft.scale(1)
        raft.wait_ready()
        wait_until(lambda: {"seedpod_raft_term", "seedpod_raft_elections_won_total"} <= self.exposed(raft), 20,
                   "the page is complete", raft)
        exposed |= self.exposed(raft)
        self.assertEqual(sorted(exposed - documented()), [], "exposed and not documented")
        self.assertEqual(sorted(documented() - exposed - {"seedpod_server"}), [], "documented and not exposed")
        for what, text in [*rules().items(), *queries()]:
            self.assertEqual(sorted(set(NAME.findall(text)) - exposed), [], what)
        named = {name for _, text in queries() for name in NAME.findall(text)}
        self.assertGreater(len(named), 30)

    def test_prometheus_loads_the_rules_answers_the_dashboard_and_sees_a_dead_server(self):
        pods = self.pod_set(2)
        pods.wait_ready()
        pods.leader.put("x", b"x")
        directory = pathlib.Path(support.tempfile.mkdtemp(dir=pods.leader.dir))
        self.prometheus = self.start_prometheus(pods, directory)
        wait_until(lambda: len(self.values("seedpod_ready == 1")) == 2, 60, "Prometheus has scraped both pods", pods)
        wait_until(lambda: all(rule["health"] == "ok" for group in self.ask("/api/v1/rules")["groups"]
                               for rule in group["rules"]), 30, "every rule was evaluated", pods)
        # What is empty has a reason: no error, no certificate, no raft.
        reasons = {"Sync errors by reason", "Time until the certificate ends", "Term, elections won",
                   "Committed and applied", "Members, voters, leader known"}
        wait_until(lambda: {title for title, query in queries() if not self.values(query)} <= reasons, 60,
                   "the dashboard's queries have answers", pods)
        # One that waits to be looked at may come of the first scrapes, of one pod and not yet of the other.
        wait_until(lambda: not self.values("ALERTS"), 30, "no alert is there", pods)
        pods[1].kill("server")
        wait_until(lambda: {a["labels"]["alertname"] for a in self.ask("/api/v1/alerts")["alerts"]}
                   >= {"SeedpodNotReady", "SeedpodServerDown"}, 30, "the alerts are pending", pods)


if __name__ == "__main__":
    support.main()
