"""The rules where one Prometheus has two clusters whose nodes, addresses and cards are called alike.

Every test of the rules is done with its series twice, once in each cluster: what fires then fires twice, and what is
recorded is recorded twice, each in its cluster.
"""

import copy
import re
from pathlib import Path

import pytest
import yaml

from testkit.deployments.monitoring import RULE_TESTS, RULES, Json, document
from tests.prometheus.tools import promtool

pytestmark = pytest.mark.prometheus
CLUSTERS = ("a", "b")
OF_ALL = {"FuriosaNpuNotScraped"}
"""Alerts about what nothing is known of, the cluster included. Their tests have clusters themselves."""
FILES = sorted(path for path in RULE_TESTS.glob("*.yaml") if path.stem != "clusters")


def in_both(group: Json) -> Json:
    """A group of tests, with every series and everything that is expected once in each cluster."""
    doubled = copy.deepcopy(group)
    doubled["input_series"] = [
        each | {"series": _in(each["series"], cluster)} for cluster in CLUSTERS for each in group["input_series"]
    ]
    for test in doubled.get("alert_rule_test", ()):
        test["exp_alerts"] = [
            alert | {"exp_labels": alert["exp_labels"] | {"cluster": cluster}}
            for cluster in CLUSTERS
            for alert in test["exp_alerts"]
        ]
    tests = [test for test in doubled.pop("promql_expr_test", ()) if not test["expr"].startswith("sum(")]
    for test in tests:
        test["exp_samples"] = [
            sample | {"labels": _in(sample["labels"], cluster)}
            for cluster in CLUSTERS
            for sample in test["exp_samples"]
        ]
    return doubled | ({"promql_expr_test": tests} if tests else {})


def _in(series: str, cluster: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{cluster="{cluster}"{f", {labels}" if labels else "}"}'


def _is_of_a_cluster(group: Json) -> bool:
    return not any(test["alertname"] in OF_ALL for test in group.get("alert_rule_test", ()))


def _written(directory: Path, source: Path, rules: Path) -> str:
    whole = document(source)
    whole["rule_files"] = [str(rules)]
    whole["tests"] = [in_both(group) for group in whole["tests"] if _is_of_a_cluster(group)]
    path = directory / source.name
    path.write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("source", FILES, ids=lambda path: path.stem)
def test_the_rules_do_the_same_in_each_of_two_clusters(tmp_path: Path, source: Path) -> None:
    done = promtool("test", "rules", _written(tmp_path, source, RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_that_mix_clusters_are_found_out(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text(re.sub(r"\bcluster, ", "", RULES.read_text(encoding="utf-8")), encoding="utf-8")
    done = promtool("test", "rules", _written(tmp_path, RULE_TESTS / "records.yaml", mixed))
    assert done.returncode != 0
    assert "device:furiosa_npu_power_watts:max" in done.stdout + done.stderr
