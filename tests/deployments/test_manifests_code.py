"""The manifests beside the programs they start: options, paths, ports, rights in the cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import npu_device_plugin.settings as plugin_settings
import npu_feature_discovery.settings as discovery_settings
import npu_metrics_exporter.settings as exporter_settings
from npu_core.errors import SettingsError
from npu_core.service.options import names_of
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_feature_discovery.app import longest_end
from npu_feature_discovery.settings import SinkKind
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import ApiAccess, Target
from npu_metrics_exporter.metrics.policy import PodLabels
from testkit.deployments.manifests import GOLDEN, MANIFESTS, Deployed, deployed, the
from testkit.deployments.monitoring import Json, documents
from testkit.standins.apiserver import Authority, StandInApiServer

PLUGIN = "furiosa-device-plugin"
DISCOVERY = "furiosa-npu-feature-discovery"
EXPORTER = "furiosa-npu-metrics-exporter"
each_daemon_set = pytest.mark.parametrize("daemons", deployed(), ids=str)


def _plugin(daemons: Deployed, home: Path) -> plugin_settings.Settings:
    """With the ConfigMap's file, wherever that is here."""
    (option,) = daemons.options
    path = Path(daemons.options[option])
    assert daemons.mounts[str(path.parent)]["volume"]["configMap"]["name"] == "npu-device-plugin"
    here = home / path.name
    here.write_text(daemons.config, encoding="utf-8")
    return plugin_settings.load({option: str(here)}, daemons.environment)


def _discovery(daemons: Deployed, home: Path) -> discovery_settings.Settings:
    """With a service account's directory, wherever that is here."""
    (home / "namespace").write_text("kube-system", encoding="ascii")
    return discovery_settings.load(daemons.options | {"service-account-dir": str(home)}, daemons.environment)


def _exporter(daemons: Deployed, _: Path) -> exporter_settings.Settings:
    return exporter_settings.load(daemons.options, daemons.environment)


Settings = plugin_settings.Settings | discovery_settings.Settings | exporter_settings.Settings
LOADERS: dict[str, Callable[[Deployed, Path], Settings]] = {
    PLUGIN: _plugin,
    DISCOVERY: _discovery,
    EXPORTER: _exporter,
}


@each_daemon_set
def test_a_service_takes_what_its_manifest_gives_it(daemons: Deployed, tmp_path: Path) -> None:
    settings = LOADERS[daemons.name](daemons, tmp_path)
    assert settings.node_name == "node-1"
    assert settings.sysfs == "/host/sys"


@each_daemon_set
def test_a_service_knows_every_variable_that_is_set(daemons: Deployed) -> None:
    """One with a typing error would be without effect, and nobody would say so."""
    options = {
        PLUGIN: names_of(plugin_settings.OPTIONS),
        DISCOVERY: names_of(discovery_settings.OPTIONS),
        EXPORTER: names_of(exporter_settings.OPTIONS),
    }
    known = {f"NPU_{option.upper().replace('-', '_')}" for option in options[daemons.name]}
    assert daemons.environment.keys() - known == {"NODE_NAME"}


def test_an_option_that_a_service_does_not_have_would_be_noticed(tmp_path: Path) -> None:
    daemons = the("device-plugin", PLUGIN)
    daemons.beside[0]["data"]["config.yaml"] += "intervals: 3\n"
    with pytest.raises(SettingsError, match="intervals"):
        _plugin(daemons, tmp_path)


@pytest.mark.parametrize("key", ["default_pe", "interval", "disabled_devices", "resource_names", "device_injection"])
def test_the_config_map_says_what_is_the_default_anyhow(key: str, tmp_path: Path) -> None:
    settings = _plugin(the("device-plugin", PLUGIN), tmp_path)
    assert getattr(settings, key) == getattr(plugin_settings.Settings(), key)


def test_an_overlay_changes_the_setting_it_is_for(tmp_path: Path) -> None:
    assert _plugin(the("cdi", PLUGIN), tmp_path).device_injection is DeviceInjection.CDI
    assert _discovery(the("npu-feature-discovery", DISCOVERY), tmp_path).sink is SinkKind.FEATURE_FILE
    assert _discovery(the("node-labels", DISCOVERY), tmp_path).sink is SinkKind.NODE_LABELS
    feature = _discovery(the("node-feature", DISCOVERY), tmp_path)
    assert (feature.sink, feature.namespace) == (SinkKind.NODE_FEATURE, "kube-system")
    assert _exporter(the("exporter-unprivileged", EXPORTER), tmp_path).pod_labels is PodLabels.OFF


# -- paths ----------------------------------------------------------------------------------------------------------


def _used(settings: Settings) -> Iterator[str]:
    """The directories of the host that a service uses by the same name, with these settings."""
    match settings:
        case plugin_settings.Settings():
            yield settings.plugin_dir
            yield str(Path(settings.pod_resources_socket).parent)
            if settings.device_injection is not DeviceInjection.FILES:
                yield settings.cdi_dir
        case discovery_settings.Settings():
            if settings.writes_file:
                yield str(Path(settings.output_file).parent)
        case exporter_settings.Settings():
            if settings.pod_labels is not PodLabels.OFF:
                yield str(Path(settings.pod_resources_socket).parent)
                yield settings.plugin_dir
                yield settings.pod_logs_dir


@each_daemon_set
def test_the_directories_that_a_service_uses_are_mounted_and_no_others(daemons: Deployed, tmp_path: Path) -> None:
    settings = LOADERS[daemons.name](daemons, tmp_path)
    host = {
        path: mount["volume"]["hostPath"]["path"]
        for path, mount in daemons.mounts.items()
        if "hostPath" in mount["volume"]
    }
    as_they_are = {path: where for path, where in host.items() if not path.startswith("/host/")}
    assert as_they_are == {path: path for path in _used(settings)}
    below = {path: where for path, where in host.items() if path.startswith("/host/")}
    assert below == {f"/host{where}": where for where in below.values()}
    assert {"/sys/class", "/sys/devices"} <= set(below.values())
    assert (settings.devfs == "/host/dev") == ("/dev" in below.values())


@pytest.mark.parametrize("daemons", [each for each in deployed() if each.name != EXPORTER], ids=str)
def test_whoever_decides_which_cards_can_be_used_sees_device_files_and_virtual_functions(daemons: Deployed) -> None:
    assert {"/host/dev", "/host/sys/bus"} <= daemons.mounts.keys()


# -- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemons", [each for each in deployed() if each.name == DISCOVERY], ids=str)
def test_the_grace_period_is_longer_than_taking_the_labels_away_may_last(daemons: Deployed, tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("kube-system", encoding="ascii")
    options = daemons.options | {"service-account-dir": str(tmp_path)}
    settings = discovery_settings.load(options, daemons.environment | {"NPU_CLEANUP_ON_EXIT": "true"})
    assert settings.cleanup_on_exit
    assert daemons.pod["terminationGracePeriodSeconds"] > longest_end(settings)


# -- ports ----------------------------------------------------------------------------------------------------------


@each_daemon_set
def test_the_port_that_is_probed_is_the_one_that_the_service_listens_on_for_all(
    daemons: Deployed, tmp_path: Path
) -> None:
    address = LOADERS[daemons.name](daemons, tmp_path).listen_address
    (address,) = address if isinstance(address, tuple) else (address,)
    assert address is not None
    assert address.host == "", "the kubelet does not come by the loopback"
    assert daemons.container["ports"] == [{"name": "http-metrics", "containerPort": address.port}]
    for probe in ("livenessProbe", "readinessProbe"):
        assert daemons.container[probe]["httpGet"]["port"] == "http-metrics"


def test_ports_differ() -> None:
    ports = [each.container["ports"][0]["containerPort"] for each in deployed() if each.file in MANIFESTS]
    assert ports == [6255, 6256, 6254]


# -- rights in the cluster ------------------------------------------------------------------------------------------


def _rights(overlay: str) -> set[tuple[str, str]]:
    """The (verb, resource) that an overlay's role allows."""
    (role,) = (each for each in documents(GOLDEN / f"{overlay}.yaml") if each["kind"] in {"Role", "ClusterRole"})
    return {right for rule in role["rules"] for right in _of_rule(rule)}


def _of_rule(rule: Json) -> Iterator[tuple[str, str]]:
    assert rule.keys() == {"apiGroups", "resources", "verbs"}
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            yield from ((verb, f"{resource}.{group}" if group else resource) for verb in rule["verbs"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInApiServer]:
    (tmp_path / "authority").mkdir()
    with StandInApiServer(Authority(tmp_path / "authority")) as server:
        server.add_node("node-1")
        server.store.namespaces.add("kube-system")
        server.write_service_account(tmp_path / "account")
        for name, value in server.environment.items() | {("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")}:
            monkeypatch.setenv(name, value)
        yield server


def _life(tmp_path: Path, overlay: str) -> None:
    """Everything that a discovery ever does to its labels."""
    namespace = "kube-system" if overlay == "node-feature" else None
    access = ApiAccess(None, str(tmp_path / "account"), 10.0)
    sink = ApiSink(access, Target(overlay, "node-1", namespace))
    assert sink.publish({"beta.furiosa.ai/npu.count": "1"}) is Outcome.CREATED
    assert sink.publish({"beta.furiosa.ai/npu.count": "2"}) is Outcome.UPDATED
    assert sink.remove() is Outcome.REMOVED


@pytest.mark.parametrize("overlay", ["node-labels", "node-feature"])
def test_a_role_allows_all_that_a_discovery_does(overlay: str, server: StandInApiServer, tmp_path: Path) -> None:
    server.allowed = _rights(overlay)
    _life(tmp_path, overlay)


@pytest.mark.parametrize(
    ("overlay", "right"),
    [(overlay, right) for overlay in ("node-labels", "node-feature") for right in sorted(_rights(overlay))],
)
def test_a_role_allows_nothing_that_a_discovery_never_does(
    overlay: str, right: tuple[str, str], server: StandInApiServer, tmp_path: Path
) -> None:
    server.allowed = _rights(overlay) - {right}
    with pytest.raises(SinkError) as caught:
        _life(tmp_path, overlay)
    assert caught.value.reason is FailureReason.FORBIDDEN
