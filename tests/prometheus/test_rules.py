"""The rules of deployments/monitoring by promtool: they parse, and each does what its tests say."""

import shutil
from pathlib import Path

import pytest
import yaml

from testkit.deployments.monitoring import PLACE, RULE_TESTS, RULES, document, expressions, rules
from tests.prometheus.tools import promtool

pytestmark = pytest.mark.prometheus
FILES = sorted(RULE_TESTS.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_does_something_else_is_found_out(tmp_path: Path) -> None:
    """The tests of the alerts about cards, with a rule file in which a card is hot a little later."""
    place = tmp_path / "tests" / "prometheus" / "rules"
    place.mkdir(parents=True)
    (tmp_path / "deployments" / "monitoring").mkdir(parents=True)
    shutil.copy(RULE_TESTS / "cards.yaml", place)
    text = RULES.read_text(encoding="utf-8")
    (tmp_path / "deployments" / "monitoring" / "rules.yaml").write_text(text.replace("> 85", "> 91"), encoding="utf-8")
    done = promtool("test", "rules", str(place / "cards.yaml"))
    assert done.returncode != 0
    assert "FuriosaNpuHot" in done.stdout + done.stderr


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    tested = [
        (test["alertname"], bool(test["exp_alerts"]))
        for path in FILES
        for group in document(path)["tests"]
        for test in group.get("alert_rule_test", ())
    ]
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {name for name, fires in tested if fires} == alerts
    assert {name for name, fires in tested if not fires} == alerts


def test_every_recording_rule_is_tested() -> None:
    asked = [
        test["expr"]
        for path in FILES
        for group in document(path)["tests"]
        for test in group.get("promql_expr_test", ())
    ]
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    assert [name for name in recorded if not any(name in expression for expression in asked)] == []


def test_prometheus_can_read_every_expression_of_rules_and_dashboard(tmp_path: Path) -> None:
    every = [{"record": f"expression_{number}", "expr": each.text} for number, each in enumerate(expressions())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "every", "rules": every}]}), encoding="utf-8")
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(every)} rules found" in done.stdout


def test_prometheus_accepts_the_rule_file() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_what_to_scrape(tmp_path: Path) -> None:
    """All but where the targets come from: Debian's Prometheus is built without Kubernetes."""
    config = document(PLACE / "scrape-config.yaml")
    [job] = config["scrape_configs"]
    del job["kubernetes_sd_configs"]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = promtool("check", "config", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
