"""What deployments/monitoring has, and what there is to be named in it."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "deployments" / "monitoring"
RULES = PLACE / "rules.yaml"
RULE_TESTS = ROOT / "tests" / "prometheus" / "rules"

Json = dict[str, Any]


def documents(path: Path) -> list[Json]:
    """The documents of a YAML file; whoever asks may change them."""
    return deepcopy(_documents(path.read_text(encoding="utf-8")))


@cache
def _documents(text: str) -> list[Json]:
    return [each for each in yaml.safe_load_all(text) if each is not None]


def document(path: Path) -> Json:
    """The only document of a YAML file."""
    (only,) = documents(path)
    return only


def rules() -> list[Json]:
    """Every rule."""
    return [rule for group in document(RULES)["groups"] for rule in group["rules"]]


@cache
def dashboard() -> Json:
    """The dashboard."""
    loaded: Json = json.loads((PLACE / "dashboard.json").read_text(encoding="utf-8"))
    return loaded


def panels() -> list[Json]:
    """The dashboard's panels, without the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, as Prometheus gets it.

    Attributes:
        where: of which rule or panel it is.
        text: itself.
        shown: text for people that may name labels.
    """

    where: str
    text: str
    shown: tuple[str, ...] = ()


def expressions() -> Iterator[Expression]:
    """All of them: rules', panels' and variables'."""
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        yield Expression(name, rule["expr"], tuple(rule.get("annotations", {}).values()))
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield Expression(f"{panel['title']} {target['refId']}", text, (target["legendFormat"],))
    for variable in variables():
        metric, _, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
        yield Expression(f"${variable['name']}", f"count by ({label}) ({metric})")


def variables() -> list[Json]:
    """The dashboard's variables that ask Prometheus."""
    return [each for each in dashboard()["templating"]["list"] if each["type"] == "query"]


def services() -> Mapping[str, list[Json]]:
    """What is deployed of each service, by the name of its application."""
    files = ("device-plugin", "npu-feature-discovery", "npu-metrics-exporter")
    found: dict[str, list[Json]] = {}
    for file in files:
        for each in documents(ROOT / "deployments" / f"{file}.yaml"):
            found.setdefault(each["metadata"]["labels"]["app.kubernetes.io/name"], []).append(each)
    return found


def deployed(application: str, kind: str) -> Json:
    """The only object of that kind."""
    (only,) = (each for each in services()[application] if each["kind"] == kind)
    return only
