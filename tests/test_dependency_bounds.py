"""What the packages promise to work with. `make test-lowest` runs the unit tests with the lowest of it."""

import re
import tomllib

import pytest

from testkit.documents import ROOT

GENERATED = {
    "libs/npu-core": "libs/npu-core/src/npu_core/kubelet/_podresources/podresources_pb2",
    "services/device-plugin": "services/device-plugin/src/npu_device_plugin/kubelet/_api/deviceplugin_pb2",
}
PACKAGES = ("libs/npu-core", "services/device-plugin", "services/feature-discovery", "services/metrics-exporter")


def bounds(package: str) -> dict[str, set[str]]:
    """Name of what a package depends on directly, and the lowest versions that it says."""
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    wanted = [*project["dependencies"], *(text for extra in extras for text in extra)]
    found: dict[str, set[str]] = {}
    for text in wanted:
        match = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9.]+)(?:,<[0-9.]+)?", text)
        assert match, f"{package}: {text} has no lowest version"
        found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("package", GENERATED)
def test_the_generated_code_loads_with_the_lowest_version_that_is_promised(package: str) -> None:
    grpc = re.search(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", (ROOT / f"{GENERATED[package]}_grpc.py").read_text())
    proto = re.search(r"# Protobuf Python Version: ([0-9.]+)", (ROOT / f"{GENERATED[package]}.py").read_text())
    assert grpc
    assert proto
    assert bounds(package)["grpcio"] == {grpc[1]}
    assert bounds(package)["protobuf"] == {proto[1]}


def test_packages_say_the_same_of_what_several_of_them_need() -> None:
    together: dict[str, set[str]] = {}
    for package in PACKAGES:
        for name, lowest in bounds(package).items():
            together.setdefault(name, set()).update(lowest)
    assert {name: lowest for name, lowest in together.items() if len(lowest) > 1} == {}
