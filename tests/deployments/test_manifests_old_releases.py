"""The manifests against the schemas of Kubernetes 1.20 to 1.24, which only an old version of the validator has.

The schemas alone are taken from it: it looks for every reference of a schema anew, which takes it a minute.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has none
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from testkit.deployments.manifests import ALL
from testkit.deployments.monitoring import ROOT, Json, documents

PLACE = ROOT / ".venv-schemas"
SCHEMAS = PLACE / "kubernetes_validate" / "kubernetes-json-schema"
SWITCH = "NPU_SCHEMAS"
OLD_RELEASES = ("1.20", "1.21", "1.22", "1.23", "1.24")


@pytest.fixture(autouse=True)
def _needs_the_old_schemas() -> None:
    if (PLACE / ".ready").exists():
        return
    reason = f"{PLACE.name} is missing: run scripts/schemas-setup"
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{SWITCH}=required, but {reason}", pytrace=False)
    pytest.skip(reason)


@cache
def _schemas(release: str) -> tuple[Path, "Registry[Any]"]:
    """Where those of a release are that forbid unknown fields, and what they refer to."""
    place = SCHEMAS / f"v{release}.0-local-strict"
    name = "_definitions.json"
    return place, Registry().with_resource(name, DRAFT202012.create_resource(_read(place / name)))


def _read(path: Path) -> Any:  # noqa: ANN401  # JSON
    return json.loads(path.read_text(encoding="utf-8"))


def problems(each: Json, release: str) -> list[str]:
    """What of an object is wrong in this release."""
    place, definitions = _schemas(release)
    group, _, version = each["apiVersion"].rpartition("/")
    api = f"{group.partition('.')[0]}-{version}" if group else version
    schema = _read(place / f"{each['kind'].lower()}-{api}.json")
    validator = jsonschema.Draft202012Validator(schema, registry=definitions)
    return [f"{each['kind']}/{each['metadata']['name']}: {error.message}" for error in validator.iter_errors(each)]


@pytest.mark.parametrize("release", OLD_RELEASES)
def test_every_object_is_valid_and_has_no_unknown_field(release: str) -> None:
    objects = [each for path in ALL for each in documents(path)]
    assert [problem for each in objects for problem in problems(each, release)] == []
    assert sum(each["metadata"]["name"] == "furiosa-device-plugin" for each in objects) >= 2


def test_an_unknown_field_would_be_noticed() -> None:
    (wrong,) = (each for each in documents(ALL[0]) if each["kind"] == "DaemonSet")
    assert problems(wrong, OLD_RELEASES[0]) == []
    pod = wrong["spec"]["template"]["spec"]
    pod["nodeSelectors"] = pod.pop("nodeSelector")
    assert "nodeSelectors" in str(problems(wrong, OLD_RELEASES[0]))
