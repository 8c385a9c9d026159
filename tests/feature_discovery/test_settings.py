"""What the operator may say, and what is said back where it is wrong."""

import math
from datetime import timedelta
from pathlib import Path

import pytest

from npu_core.errors import ProblemCode, SettingsError
from npu_core.service.settings import Address
from npu_feature_discovery.labels.nfd_rules import NfdVersion
from npu_feature_discovery.labels.table import Extra, Mixed
from npu_feature_discovery.settings import Settings, SinkKind, load


def wrong(options: dict[str, str], **environment: str) -> list[tuple[str, ProblemCode, str | None]]:
    """What is wrong with these settings: key, kind and value. The words are in tests/golden."""
    with pytest.raises(SettingsError) as raised:
        load(options, environment)
    return [(problem.key, problem.code, problem.value) for problem in raised.value.problems]


def test_nothing_given_is_the_default() -> None:
    assert load({}, {}) == Settings()


@pytest.mark.parametrize(
    ("option", "text", "field", "value"),
    [
        ("sink", "Feature-File", "sink", SinkKind.FEATURE_FILE),
        ("interval", "0.5", "interval", 0.5),
        ("interval", "infinite", "interval", math.inf),
        ("oneshot", "true", "oneshot", True),
        ("oneshot", "FALSE", "oneshot", False),
        ("print", "true", "print", True),
        ("remove", "true", "remove", True),
        ("output-file", "/a/b", "output_file", "/a/b"),
        ("output-file", "-", "output_file", "-"),
        ("mixed", "omit", "mixed", Mixed.OMIT),
        ("extra-labels", "firmware, pe-count,", "extra_labels", frozenset({Extra.FIRMWARE, Extra.PE_COUNT})),
        ("expiry", "off", "expiry", None),
        ("nfd-version", "0.14.2", "nfd_version", NfdVersion(0, 14, 2)),
        ("cleanup-on-exit", "true", "cleanup_on_exit", True),
        ("start-jitter", "0", "start_jitter", 0.0),
        ("namespace", "nfd", "namespace", "nfd"),
        ("kubeconfig", "/etc/kube/config", "kubeconfig", "/etc/kube/config"),
        ("service-account-dir", "/a/", "service_account_dir", "/a"),
        ("api-timeout", "3", "api_timeout", 3.0),
        ("listen-address", ":6256", "listen_address", Address("", 6256)),
        ("listen-address", "off", "listen_address", None),
        ("sysfs", "/host/sys", "sysfs", "/host/sys"),
        ("devfs", "/host/dev", "devfs", "/host/dev"),
    ],
)
def test_an_option_and_its_variable_say_the_same(option: str, text: str, field: str, value: object) -> None:
    variable = "NPU_" + option.upper().replace("-", "_")
    assert getattr(load({option: text}, {}), field) == value
    assert getattr(load({}, {variable: text}), field) == value
    assert getattr(load({option: text}, {variable: "wrong, and not looked at"}), field) == value


@pytest.mark.parametrize(
    ("sysfs", "devfs", "sees"),
    [
        ("/sys", "/dev", True),
        ("/host/sys", "/host/dev", True),
        ("/sys", "/host/dev", True),
        ("/host/sys", "/dev", False),
    ],
)
def test_a_container_with_the_hosts_sys_and_a_dev_of_its_own_sees_no_device_files_of_the_host(
    sysfs: str, devfs: str, *, sees: bool
) -> None:
    assert load({"sysfs": sysfs, "devfs": devfs}, {}).sees_device_files is sees


API = {"NODE_NAME": "here"}


@pytest.mark.parametrize(
    ("options", "environment", "keys"),
    [
        (
            {"sink": "file", "interval": "soon", "extra-labels": "firmware,colour,size"},
            {"NPU_ONESHOT": "yes", "NPU_EXPIRY": "1h"},
            ["--sink", "--interval", "NPU_ONESHOT", "--extra-labels", "--extra-labels", "NPU_EXPIRY"],
        ),
        ({"interval": "nan"}, {}, ["--interval"]),
        ({"output-file": "features.d/x"}, {}, ["--output-file"]),
        ({"output-file": "/features.d/"}, {}, ["--output-file"]),
        ({"output-file": ""}, {}, ["--output-file"]),
        # What does not go together. Only workers from v0.14 on know expiry, and only a file expires.
        ({"expiry": "600"}, {}, ["--expiry"]),
        ({"expiry": "239", "nfd-version": "v0.14"}, {}, ["--expiry"]),
        ({"expiry": "600", "nfd-version": "v0.14", "interval": "infinite"}, {}, ["--expiry"]),
        ({"expiry": "600", "nfd-version": "v0.15", "sink": "node-labels"}, API, ["--expiry"]),
        ({"remove": "true", "oneshot": "true"}, {}, ["--remove"]),
        ({"remove": "true"}, {"NPU_PRINT": "true"}, ["--remove"]),
        ({"remove": "true", "output-file": "-"}, {}, ["--output-file"]),
    ],
)
def test_everything_wrong_is_told_at_once(
    options: dict[str, str], environment: dict[str, str], keys: list[str]
) -> None:
    assert [key for key, _, _ in wrong(options, **environment)] == keys


def test_a_problem_has_its_kind_and_the_part_of_the_value_that_is_wrong() -> None:
    assert wrong({"interval": "soon", "extra-labels": "firmware,colour"}) == [
        ("--interval", ProblemCode.VALUE, "soon"),
        ("--extra-labels", ProblemCode.VALUE, "colour"),
    ]
    assert wrong({"remove": "true", "oneshot": "true"}) == [("--remove", ProblemCode.CONFLICT, "true")]


def test_expiry_leaves_room_for_three_intervals_and_the_workers_own() -> None:
    assert load({"expiry": "240", "nfd-version": "v0.14"}, {}).expiry == timedelta(seconds=240)


@pytest.mark.parametrize("sink", ["node-feature", "node-labels"])
def test_the_api_servers_sinks_need_the_nodes_name(sink: str) -> None:
    assert wrong({"sink": sink, "namespace": "nfd"}) == [("NODE_NAME", ProblemCode.MISSING, None)]
    assert load({"sink": sink, "namespace": "nfd"}, API).node_name == "here"


def test_the_namespace_is_the_service_accounts_unless_another_is_given(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("kube-system\n")
    options = {"sink": "node-feature", "service-account-dir": str(tmp_path)}
    assert load(options, API).namespace == "kube-system"
    assert load(options, {"NODE_NAME": "here", "NPU_NAMESPACE": "nfd"}).namespace == "nfd"
    assert load({**options, "sink": "node-labels"}, API).namespace is None


def test_a_node_feature_without_a_namespace_is_wrong(tmp_path: Path) -> None:
    options = {"sink": "node-feature", "service-account-dir": str(tmp_path)}
    assert wrong(options, **API) == [("NPU_NAMESPACE", ProblemCode.MISSING, None)]


def test_printing_needs_no_cluster() -> None:
    assert load({"sink": "node-feature", "print": "true"}, {}).print
