"""What tells Prometheus where to scrape, and the rules in the form of its operator, beside what is deployed."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from testkit.deployments.monitoring import PLACE, ROOT, RULES, Json, deployed, document, rules, services

EXPORTER = "furiosa-npu-metrics-exporter"
PLUGIN = "furiosa-device-plugin"
DISCOVERY = "furiosa-npu-feature-discovery"
APPLICATION = "app.kubernetes.io/name"
PORT = "http-metrics"
OBJECTS = {
    "service-monitor.yaml": "ServiceMonitor",
    "pod-monitor.yaml": "PodMonitor",
    "prometheus-rule.yaml": "PrometheusRule",
}
FIELDS = {"port", "path", "interval", "scrapeTimeout", "honorLabels", "relabelings"}
NODE = [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]


def _template(application: str) -> Json:
    template: Json = deployed(application, "DaemonSet")["spec"]["template"]
    return template


def _ports(application: str) -> list[str]:
    return [port["name"] for container in _template(application)["spec"]["containers"] for port in container["ports"]]


def _monitoring_rules(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(ROOT / "scripts" / "monitoring-rules"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_objects_are_what_the_operator_of_prometheus_looks_for() -> None:
    assert set(document(PLACE / "kustomization.yaml")["resources"]) == OBJECTS.keys()
    for file, kind in OBJECTS.items():
        found = document(PLACE / file)
        assert (found["apiVersion"], found["kind"]) == ("monitoring.coreos.com/v1", kind)
        assert found["metadata"]["namespace"] == "kube-system"
        assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "furiosa-npu"


def test_the_rules_for_the_operator_are_those_for_prometheus() -> None:
    made = _monitoring_rules("--check")
    assert (made.returncode, made.stdout + made.stderr) == (0, "")
    assert document(PLACE / "prometheus-rule.yaml")["spec"] == document(RULES)


def test_the_service_monitor_selects_the_exporter_s_service() -> None:
    monitor, service = document(PLACE / "service-monitor.yaml")["spec"], deployed(EXPORTER, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert "namespaceSelector" not in monitor  # which means: the monitor's own
    assert document(PLACE / "service-monitor.yaml")["metadata"]["namespace"] == service["metadata"]["namespace"]
    [endpoint] = monitor["endpoints"]
    [port] = service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in _ports(EXPORTER)
    assert monitor["jobLabel"] == APPLICATION
    assert service["metadata"]["labels"][APPLICATION] == EXPORTER


def test_the_pod_monitor_selects_the_pods_of_the_two_others() -> None:
    monitor = document(PLACE / "pod-monitor.yaml")["spec"]
    [expression] = monitor["selector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == (APPLICATION, "In")
    assert set(expression["values"]) == services().keys() - {EXPORTER}
    assert monitor["jobLabel"] == APPLICATION
    [endpoint] = monitor["podMetricsEndpoints"]
    for application in expression["values"]:
        assert _template(application)["metadata"]["labels"][APPLICATION] == application
        assert endpoint["port"] in _ports(application)


@pytest.mark.parametrize(
    ("file", "endpoints"), [("service-monitor.yaml", "endpoints"), ("pod-monitor.yaml", "podMetricsEndpoints")]
)
def test_labels_stay_as_exported_and_the_node_is_one_of_them(file: str, endpoints: str) -> None:
    [endpoint] = document(PLACE / file)["spec"][endpoints]
    assert endpoint.keys() == FIELDS
    assert endpoint["honorLabels"] is True
    assert endpoint["relabelings"] == NODE
    assert endpoint["path"] == "/metrics"


def test_without_the_operator_the_same_is_scraped_under_the_same_names() -> None:
    [job] = document(PLACE / "scrape-config.yaml")["scrape_configs"]
    assert job["honor_labels"] is True
    [discovery] = job["kubernetes_sd_configs"]
    [selector] = discovery["selectors"]
    key, _, value = selector["label"].partition("=")
    for application in services():
        template = _template(application)
        assert template["metadata"]["labels"][key] == value
        assert PORT in _ports(application)
        assert deployed(application, "DaemonSet")["metadata"]["namespace"] in discovery["namespaces"]["names"]
    keep, name, node = job["relabel_configs"]
    assert (keep["regex"], keep["action"]) == (PORT, "keep")
    assert name["source_labels"] == ["__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", APPLICATION)]
    assert (name["target_label"], node["target_label"]) == ("job", "node")


@pytest.mark.parametrize("alert", ["FuriosaNpuTargetDown", "FuriosaNpuNotScraped"])
def test_an_alert_about_targets_knows_every_job(alert: str) -> None:
    [rule] = [rule for rule in rules() if rule.get("alert") == alert]
    known = [set(jobs.split("|")) for jobs in re.findall(r'job=~"([^"]+)"', rule["expr"])]
    assert known
    assert all(jobs == services().keys() for jobs in known)
    absent = re.findall(r'absent\(up\{job="([^"]+)"\}\)', rule["expr"])
    assert set(absent) == (services().keys() if alert == "FuriosaNpuNotScraped" else set())


def test_the_label_of_the_cluster_can_have_another_name(tmp_path: Path) -> None:
    done = _monitoring_rules("--cluster-label=k8s_cluster", f"--into={tmp_path}")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for name in ("rules.yaml", "prometheus-rule.yaml"):
        (made,) = yaml.safe_load_all((tmp_path / name).read_text(encoding="utf-8"))
        groups, shipped = made.get("spec", made)["groups"], document(RULES)["groups"]
        for group, before in zip(groups, shipped, strict=True):
            for rule, as_it_was in zip(group["rules"], before["rules"], strict=True):
                assert rule == as_it_was | {"expr": re.sub(r"\bcluster\b", "k8s_cluster", as_it_was["expr"])}
    text = (tmp_path / "dashboard.json").read_text(encoding="utf-8")
    assert json.loads(text)["templating"]["list"][1]["name"] == "k8s_cluster"
    assert not re.search(r"\bcluster\b", text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--cluster-label=a-b", "--into=/tmp"), "the name of a label"),
        (("--cluster-label=__a", "--into=/tmp"), "the name of a label"),
        (("--cluster-label=a", "--into=/does/not/exist"), "a directory that exists"),
        (("--cluster-label=a",), "usage:"),
        (("--into=/tmp",), "usage:"),
        (("--what",), "unknown argument --what"),
    ],
)
def test_arguments_that_make_no_rules_are_told(arguments: tuple[str, ...], expected: str) -> None:
    done = _monitoring_rules(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr


def test_the_exporter_knows_the_name_of_its_node() -> None:
    """The power of a node is found by the label ``node`` of furiosa_npu_info."""
    [container] = _template(EXPORTER)["spec"]["containers"]
    [name] = [each for each in container["env"] if each["name"] == "NODE_NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"


def test_every_alert_says_how_bad_it_is_what_is_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["alert"].startswith("FuriosaNpu")
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_documentation_has_a_row_for_every_alert_and_recording_rule() -> None:
    whole = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    text = whole.partition("## Recording rules")[2].partition("## Beside")[0]
    rows = set(re.findall(r"^\| `([A-Za-z_:]+)`", text, re.MULTILINE))
    assert rows == {rule.get("alert") or rule["record"] for rule in rules()}
    severities = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert severities == {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}


def test_every_example_of_yaml_in_the_documentation_is_yaml() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        yaml.safe_load(example)
