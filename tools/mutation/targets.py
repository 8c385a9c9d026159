"""Which modules are mutated, and which tests are to notice."""

from dataclasses import dataclass
from pathlib import Path

from tools.mutation.child import Suite
from tools.mutation.source import Source

_SOURCES = {
    "npu_core": "libs/npu-core/src",
    "npu_device_plugin": "services/device-plugin/src",
    "npu_feature_discovery": "services/feature-discovery/src",
    "npu_metrics_exporter": "services/metrics-exporter/src",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A module and its tests.

    Attributes:
        module: as it is imported.
        path: its file, below the repository.
        tests: the files whose tests speak of what it does, its own first.
        least: per cent of its mutants that have to be noticed.
    """

    module: str
    path: str
    tests: tuple[str, ...]
    least: float


def _targets(directory: str, package: str, table: dict[str, str], least: float = 90.0) -> tuple[Target, ...]:
    source = _SOURCES[package.partition(".")[0]]
    return tuple(
        Target(
            f"{package}.{module}",
            f"{source}/{package}.{module}".replace(".", "/") + ".py",
            tuple(_test_file(directory, name) for name in names.split()),
            least,
        )
        for module, names in table.items()
    )


def _test_file(directory: str, name: str) -> str:
    """The file of tests of that name, in the directory that the name says itself or else in this one."""
    return "tests/{}/test_{}.py".format(*(name.rsplit("/", 1) if "/" in name else (directory, name)))


PURE: tuple[Target, ...] = (
    *_targets(
        "core",
        "npu_core",
        {
            "allocations": "allocations",
            "arch": "arch inventory readings fake_plans",
            "claims": "claims allocations",
            "cores": "cores",
            "counters": "counters attributes",
            "device": "device inventory identity_faults",
            "health": "health vitals",
            "identity": "identity",
            "limits": "limits attributes",
            "partition": "partition golden/npu_core",
            "sensors": "sensors readings",
        },
    ),
    *_targets(
        "core",
        "npu_core.parse",
        {
            "clocks": "parse_counters parse_fuzz attributes golden/npu_core",
            "devfs": "parse_names parse_fuzz inventory golden/npu_core",
            "dmi": "parse_attributes parse_fuzz attributes",
            "hwmon": "parse_hwmon parse_fuzz readings limits golden/npu_core",
            "mgmt": "parse_attributes parse_fuzz attributes inventory limits golden/npu_core",
            "perf_regs": "parse_counters parse_fuzz attributes limits golden/npu_core",
            "text": "parse_attributes parse_fuzz parse_hwmon limits golden/npu_core",
        },
    ),
    *_targets(
        "device_plugin",
        "npu_device_plugin",
        {
            "cdi": "cdi cdi_keeper",
            "allocation.repartition": "cutting offers_held golden",
            "allocation.disabled": "disabled unknown settings_problems settings_sources offers golden",
            "allocation.grants": "grants cdi servicer",
            "allocation.inventory": "inventory offers offers_held disabled cutting",
            "allocation.resource_state": "offers offers_held disabled",
            "allocation.preference": "preference servicer",
        },
    ),
    *_targets(
        "feature_discovery",
        "npu_feature_discovery",
        {
            "labels.known_facts": "decision labels_of_hosts golden",
            "labels.feature_text": "feature_text feature_file",
            "labels.carry_over": "heritage",
            "labels.label_value": "label_value labels",
            "labels.table": "labels labels_of_hosts heritage docs",
            "labels.nfd_rules": "nfd_rules golden settings",
        },
    ),
    *_targets(
        "metrics_exporter",
        "npu_metrics_exporter",
        {
            "metrics.pod_names": "pod_names",
            "metrics.podmap": "podmap",
            "metrics.policy": "policy series settings own_metrics",
            "web.rate": "rate",
            "metrics.series": "series golden",
            "metrics.snapshot": "snapshot series collector",
            "metrics.values": "series golden",
        },
    ),
)
"""The pure modules."""

_OF_EDGES = 85.0
"""Less than of pure modules: a part of what they do is to outlive what cannot be brought about here."""

EDGES: tuple[Target, ...] = (
    *_targets("core/config", "npu_core.config", {"reload": "reload", "watch": "reload"}, _OF_EDGES),
    *_targets(
        "core/service",
        "npu_core.service",
        {"device_threads": "device_threads", "file_looks": "file_looks"},
        _OF_EDGES,
    ),
    *_targets(
        "core/service",
        "npu_core.service.http",
        {
            "connection": "http_server http_clients metrics_exporter/server metrics_exporter/tls",
            "room": "room http_clients",
            "server": "http_server http_clients metrics_exporter/server metrics_exporter/tls",
        },
        _OF_EDGES,
    ),
    *_targets(
        "device_plugin",
        "npu_device_plugin",
        {
            "kubelet.allocation_tracker": "allocation_tracker",
            "scanner": "scanner",
            "kubelet.servicer": "servicer strangers",
            "kubelet.supervisor": "supervisor strangers back_off",
        },
        _OF_EDGES,
    ),
    *_targets("metrics_exporter", "npu_metrics_exporter", {"collector": "collector"}, _OF_EDGES),
    *_targets(
        "feature_discovery",
        "npu_feature_discovery",
        {"host_scan": "looking loop", "loop": "loop", "publisher": "publisher loop"},
        _OF_EDGES,
    ),
    *_targets(
        "feature_discovery",
        "npu_feature_discovery.sinks",
        {
            "api_sink": "api_sinks api_sinks_failures",
            "child": "api_sinks_child api_sinks_failures",
            "feature_file": "feature_file feature_file_events golden",
        },
        _OF_EDGES,
    ),
    *_targets(
        "feature_discovery",
        "npu_feature_discovery.publish",
        {
            "answer": "api_sinks_failures api_sinks golden",
            "node_feature": "api_sinks api_sinks_failures golden",
            "node_labels": "api_sinks api_sinks_failures golden",
        },
        _OF_EDGES,
    ),
)
"""Modules that speak to the world: files, sockets, threads, clocks. Their tests are in one process with stand-ins."""

TARGETS = (*PURE, *EDGES)
_GROUPS = {"pure": PURE, "edges": EDGES}


def chosen(names: list[str]) -> tuple[Target, ...]:
    """The targets that end with one of these names, such as ``cores`` or ``parse.text``, or are in such a group.

    The groups are ``pure`` and ``edges``. Without a name all of them are chosen.

    Raises:
        LookupError: if one of them means no target.
    """
    for name in names:
        if not any(_means(name, target) for target in TARGETS):
            raise LookupError(f"{name}: there is no such module among {', '.join(each.module for each in TARGETS)}")
    return tuple(target for target in TARGETS if not names or any(_means(name, target) for name in names))


def suite_of(root: Path, target: Target) -> Suite:
    """A target's text and tests, below a directory."""
    path = root / target.path
    return Suite(root, Source(target.module, path, path.read_text(encoding="utf-8")), target.tests)


def _means(name: str, target: Target) -> bool:
    return (
        target in _GROUPS.get(name, ())
        or f".{target.module}.".endswith(f".{name}.")
        or target.module.startswith(f"{name}.")
    )
