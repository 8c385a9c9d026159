"""What the operator may say, and what is said back where it is wrong."""

import math
from datetime import timedelta
from pathlib import Path

import pytest

from npu_core.errors import SettingsError
from npu_core.service.settings import Address
from npu_feature_discovery.labels import Extra, Mixed
from npu_feature_discovery.nfd_rules import NfdVersion
from npu_feature_discovery.settings import Settings, SinkKind, load


def told(options: dict[str, str], **environment: str) -> list[str]:
    """What is wrong with these settings, a line each."""
    with pytest.raises(SettingsError) as raised:
        load(options, environment)
    return str(raised.value).splitlines()


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


def test_everything_wrong_is_told_at_once() -> None:
    assert told(
        {"sink": "file", "interval": "soon", "extra-labels": "firmware,colour,size"}, NPU_ONESHOT="yes", NPU_EXPIRY="1h"
    ) == [
        "command line: --sink is 'file': expected one of feature-file, node-feature, node-labels",
        "command line: --interval is 'soon': expected a number of seconds from 0.1 to 86400, or infinite",
        "environment: NPU_ONESHOT is 'yes': expected true or false",
        "command line: --extra-labels is 'colour': expected one of firmware, product-count, pe-count",
        "command line: --extra-labels is 'size': expected one of firmware, product-count, pe-count",
        "environment: NPU_EXPIRY is '1h': expected a number of seconds from 1 to 3.1536e+07, or off",
    ]


@pytest.mark.parametrize("path", ["features.d/x", "/features.d/", ""])
def test_the_output_file_is_an_absolute_path_of_a_file(path: str) -> None:
    (line,) = told({"output-file": path})
    assert line.startswith(f"command line: --output-file is {path!r}: expected ")


def test_the_interval_of_not_a_number_is_none() -> None:
    assert len(told({"interval": "nan"})) == 1


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_expiry_needs_a_worker_that_knows_it() -> None:
    (line,) = told({"expiry": "600"})
    assert "--expiry is '600': expected off unless --nfd-version is v0.14 or newer" in line
    assert load({"expiry": "600", "nfd-version": "v0.14"}, {}).expiry == timedelta(minutes=10)


def test_expiry_leaves_room_for_three_intervals_and_the_workers_own() -> None:
    assert load({"expiry": "240", "nfd-version": "v0.14"}, {}).expiry == timedelta(seconds=240)
    (line,) = told({"expiry": "239", "nfd-version": "v0.14"})
    assert "expected 240 seconds or more" in line
    (line,) = told({"expiry": "600", "nfd-version": "v0.14", "interval": "infinite"})
    assert "expected off with an infinite interval" in line


def test_only_a_file_expires() -> None:
    (line,) = told({"expiry": "600", "nfd-version": "v0.15", "sink": "node-labels"}, NODE_NAME="here")
    assert "expected off with the sink node-labels" in line


# -- what does not go together ----------------------------------------------------------------------------------------


def test_removing_and_publishing_are_two_things() -> None:
    assert len(told({"remove": "true", "oneshot": "true"})) == 1
    assert len(told({"remove": "true"}, NPU_PRINT="true")) == 1
    assert len(told({"remove": "true", "output-file": "-"})) == 1


@pytest.mark.parametrize("sink", ["node-feature", "node-labels"])
def test_the_api_servers_sinks_need_the_nodes_name(sink: str) -> None:
    assert told({"sink": sink, "namespace": "nfd"}) == [
        f"environment: NODE_NAME is missing: expected the name of this node, because the sink is {sink}"
    ]
    assert load({"sink": sink, "namespace": "nfd"}, {"NODE_NAME": "here"}).node_name == "here"


def test_the_namespace_is_the_service_accounts_unless_another_is_given(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("kube-system\n")
    options = {"sink": "node-feature", "service-account-dir": str(tmp_path)}
    assert load(options, {"NODE_NAME": "here"}).namespace == "kube-system"
    assert load(options, {"NODE_NAME": "here", "NPU_NAMESPACE": "nfd"}).namespace == "nfd"
    assert load({**options, "sink": "node-labels"}, {"NODE_NAME": "here"}).namespace is None


def test_a_node_feature_without_a_namespace_is_told_where_it_was_looked_for(tmp_path: Path) -> None:
    (line,) = told({"sink": "node-feature", "service-account-dir": str(tmp_path)}, NODE_NAME="here")
    assert line.startswith("environment: NPU_NAMESPACE is missing: expected the namespace of the NodeFeature")
    assert f"{tmp_path}/namespace" in line


def test_printing_needs_no_cluster() -> None:
    assert load({"sink": "node-feature", "print": "true"}, {}).print
