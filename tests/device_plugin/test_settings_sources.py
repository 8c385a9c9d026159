"""Where settings come from: flags, environment, defaults, or a file that excludes all of those."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.errors import ProblemCode
from npu_core.partition import FUSION, SINGLE, Partitioning
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.options import names_of
from npu_core.service.settings import Address
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_device_plugin.allocation.resource_name import ResourceNames
from npu_device_plugin.settings import DEPLOYMENT_OPTIONS, OPTIONS, Settings, load
from tests.device_plugin.configs import CONFIGMAP_SAMPLE, SAMPLE, problems, write


@dataclass(frozen=True, slots=True)
class Option:
    """One option, and a value of it as it is given and as it is understood."""

    name: str
    variable: str
    field: str
    text: str
    value: object
    default: object
    other_text: str


ALL = (
    Option("default-pe", "NPU_DEFAULT_PE", "default_pe", "Single", SINGLE, FUSION, "2"),
    Option("interval", "NPU_INTERVAL", "interval", "2.5", 2.5, 10.0, "7"),
    Option(
        "disabled-devices",
        "NPU_DISABLED_DEVICES",
        "disabled_devices",
        "npu1, npu2pe0,,",
        (DisabledDevice("npu1"), DisabledDevice("npu2pe0")),
        (),
        "npu9",
    ),
    Option("plugin-dir", "NPU_PLUGIN_DIR", "plugin_dir", "/p/", "/p", "/var/lib/kubelet/device-plugins", "/q"),
    Option("socket-name", "NPU_SOCKET_NAME", "socket_name", "npu.sock", "npu.sock", "furiosa-npu", "other"),
    Option(
        "resource-name",
        "NPU_RESOURCE_NAME",
        "resource_names",
        "furiosa.ai/npu",
        ResourceNames("furiosa.ai/npu"),
        ResourceNames("beta.furiosa.ai/npu"),
        "other.ai/npu",
    ),
    Option(
        "device-injection",
        "NPU_DEVICE_INJECTION",
        "device_injection",
        "CDI",
        DeviceInjection.CDI,
        DeviceInjection.FILES,
        "both",
    ),
    Option("cdi-dir", "NPU_CDI_DIR", "cdi_dir", "/etc/cdi/", "/etc/cdi", "/var/run/cdi", "/elsewhere"),
    Option(
        "listen-address",
        "NPU_LISTEN_ADDRESS",
        "listen_address",
        "[::1]:99",
        Address("::1", 99),
        Address("127.0.0.1", 6255),
        "off",
    ),
    Option(
        "pod-resources-socket",
        "NPU_POD_RESOURCES_SOCKET",
        "pod_resources_socket",
        "/pr/kubelet.sock",
        "/pr/kubelet.sock",
        "/var/lib/kubelet/pod-resources/kubelet.sock",
        "/elsewhere",
    ),
    Option("sysfs", "NPU_SYSFS", "sysfs", "/host/sys", "/host/sys", "/sys", "/elsewhere"),
    Option("devfs", "NPU_DEVFS", "devfs", "/host/dev", "/host/dev", "/dev", "/elsewhere"),
    Option("log-level", "NPU_LOG_LEVEL", "log_level", "DEBUG", LogLevel.DEBUG, LogLevel.INFO, "error"),
    Option("log-format", "NPU_LOG_FORMAT", "log_format", "Json", LogFormat.JSON, LogFormat.TEXT, "text"),
    Option("event-loop", "NPU_EVENT_LOOP", "event_loop", "Uvloop", "uvloop", "asyncio", "asyncio"),
)
BY_NAME = {option.name: option for option in ALL}
AROUND = tuple(option for option in ALL if option.name in DEPLOYMENT_OPTIONS)
each_option = pytest.mark.parametrize("option", ALL, ids=lambda option: option.name)


def test_without_anything_given_the_settings_are_the_specifications_defaults() -> None:
    assert load({}, {}) == Settings(
        default_pe=FUSION,
        interval=10.0,
        disabled_devices=(),
        plugin_dir="/var/lib/kubelet/device-plugins",
        socket_name="furiosa-npu",
        resource_names=ResourceNames("beta.furiosa.ai/npu"),
        sysfs="/sys",
        devfs="/dev",
        node_name=None,
        log_level=LogLevel.INFO,
        log_format=LogFormat.TEXT,
        event_loop="asyncio",
        config_file=None,
    )


def test_these_are_all_the_options_there_are() -> None:
    assert sorted(names_of(OPTIONS)) == sorted([*BY_NAME, "config-file"])


@each_option
def test_an_option_is_given_by_flag_or_by_environment_and_the_flag_comes_first(option: Option) -> None:
    given, variable = {option.name: option.text}, {option.variable: option.text}
    assert getattr(load(given, {}), option.field) == getattr(load({}, variable), option.field) == option.value
    # What a flag hides need not even be right.
    for hidden in (option.other_text, "\0"):
        assert getattr(load(given, {option.variable: hidden}), option.field) == option.value


@each_option
def test_an_option_that_is_not_given_has_its_default(option: Option) -> None:
    others = {other.name: other.text for other in ALL if other is not option}
    assert getattr(load(others, {}), option.field) == option.default


def test_the_nodes_name_comes_from_its_own_variable() -> None:
    assert load({}, {"NODE_NAME": "warboy-node01"}).node_name == "warboy-node01"


@pytest.mark.parametrize(("word", "policy"), [("fusion", FUSION), ("SINGLE", SINGLE), ("2", Partitioning(2))])
def test_the_pe_type_is_a_word_in_any_case_or_a_count(word: str, policy: Partitioning) -> None:
    assert load({"default-pe": word}, {}).default_pe == policy


@pytest.mark.parametrize("empty", ["", " ", ",", " , ,"])
def test_a_list_of_no_disabled_devices_disables_none(empty: str) -> None:
    assert load({"disabled-devices": empty}, {}).disabled_devices == ()


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_specifications_sample_is_read_as_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE)
    assert load({"config-file": path}, {"NODE_NAME": "warboy-node01"}) == Settings(
        interval=10.0,
        default_pe=FUSION,
        disabled_devices=(DisabledDevice("npu1", "warboy-node01"),),
        plugin_dir="/var/lib/kubelet/device-plugins",
        socket_name="furiosa-npu",
        resource_names=ResourceNames("beta.furiosa.ai/npu"),
        node_name="warboy-node01",
        config_file=path,
    )


def test_the_specifications_config_map_is_read_as_it_stands(tmp_path: Path) -> None:
    settings = load({"config-file": write(tmp_path, CONFIGMAP_SAMPLE)}, {"NODE_NAME": "npu-001"})
    assert (settings.interval, settings.disabled_devices) == (15.0, (DisabledDevice("npu2", "npu-001"),))


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("interval: 2.5", "interval", 2.5),
        ("defaultPe: single", "default_pe", SINGLE),
        ("defaultPe: 4", "default_pe", Partitioning(4)),
        ('defaultPe: "2"', "default_pe", Partitioning(2)),
        ("disabledDevices: [{devName: npu1}]", "disabled_devices", (DisabledDevice("npu1"),)),
        ("disabledDevices: []", "disabled_devices", ()),
        ("disabledDevices:", "disabled_devices", ()),
        ("pluginDir: /p/", "plugin_dir", "/p"),
        ("socketName: npu.sock", "socket_name", "npu.sock"),
        ("resourceName: furiosa.ai/npu", "resource_names", ResourceNames("furiosa.ai/npu")),
        (
            "resourceName: {warboy: a.ai/w, renegade: a.ai/r}",
            "resource_names",
            ResourceNames(of_family=((Arch.WARBOY, "a.ai/w"), (Arch.RENEGADE, "a.ai/r"))),
        ),
        (
            "resourceName: {renegade: a.ai/r}",
            "resource_names",
            ResourceNames(of_family=((Arch.RENEGADE, "a.ai/r"),)),
        ),
    ],
)
def test_a_key_is_given_by_file(tmp_path: Path, line: str, field: str, value: object) -> None:
    path = write(tmp_path, line)
    settings = load({"config-file": path}, {})
    default = Settings(config_file=path)
    assert {name: getattr(settings, name) for name in Settings.__slots__ if name != field} == {
        name: getattr(default, name) for name in Settings.__slots__ if name != field
    }
    assert getattr(settings, field) == value


@pytest.mark.parametrize("content", ["{}", "{}\n", "# nothing\n{}\n", "---\n{}\n"])
def test_a_file_that_sets_nothing_leaves_the_defaults(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, content)
    assert load({"config-file": path}, {}) == Settings(config_file=path)


def test_a_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "interval: 3")
    settings = load({}, {"NPU_CONFIG_FILE": path})
    assert (settings.interval, settings.config_file) == (3.0, path)


@each_option
def test_a_file_excludes_every_other_flag_and_the_variables_of_what_it_can_hold(tmp_path: Path, option: Option) -> None:
    file = {"config-file": write(tmp_path, SAMPLE)}
    [problem] = problems(file | {option.name: option.text}, {"NODE_NAME": "x"})
    assert (problem.source, problem.key, problem.code) == ("command line", f"--{option.name}", ProblemCode.CONFLICT)
    if option.name not in DEPLOYMENT_OPTIONS:
        [problem] = problems(file, {"NODE_NAME": "x", option.variable: option.text})
        assert (problem.source, problem.key, problem.code) == ("environment", option.variable, ProblemCode.CONFLICT)


@pytest.mark.parametrize("option", AROUND, ids=lambda option: option.name)
def test_a_file_leaves_the_surroundings_to_the_environment(tmp_path: Path, option: Option) -> None:
    settings = load({"config-file": write(tmp_path, "{}")}, {option.variable: option.text})
    assert getattr(settings, option.field) == option.value


def test_the_files_own_address_goes_before_the_environments(tmp_path: Path) -> None:
    environment = {"NPU_LISTEN_ADDRESS": ":6255"}
    assert load({"config-file": write(tmp_path, "listenAddress: off")}, environment).listen_address is None
    assert load({"config-file": write(tmp_path, "interval: 5")}, environment).listen_address == Address("", 6255)


def test_every_option_beside_a_file_is_named_with_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "interval: soon\n")
    environment = {"NPU_DEFAULT_PE": "Single", "NPU_SYSFS": "/host/sys"}
    found = problems({"config-file": path, "interval": "5", "log-level": "debug"}, environment)
    assert [(problem.source, problem.key) for problem in found] == [
        ("environment", "NPU_DEFAULT_PE"),
        ("command line", "--interval"),
        ("command line", "--log-level"),
        (path, "interval"),
    ]


def test_a_file_named_by_the_environment_excludes_options_in_its_own_name(tmp_path: Path) -> None:
    [problem] = problems({"interval": "5"}, {"NPU_CONFIG_FILE": write(tmp_path, "{}")})
    assert (problem.key, problem.code) == ("--interval", ProblemCode.CONFLICT)
    assert "NPU_CONFIG_FILE" in problem.expected


# -- the node ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "here"),
    [
        ("warboy-node01", (DisabledDevice("npu1", "warboy-node01"), DisabledDevice("npu3"))),
        ("elsewhere", (DisabledDevice("npu3"),)),
    ],
)
def test_disabled_devices_of_other_nodes_do_not_concern_this_one(
    tmp_path: Path, node: str, here: tuple[DisabledDevice, ...]
) -> None:
    path = write(tmp_path, "disabledDevices: [{devName: npu1, nodeName: warboy-node01}, {devName: npu3}]")
    assert load({"config-file": path}, {"NODE_NAME": node}).disabled_here == here


@pytest.mark.parametrize("address", ["0000:17:00.0", "0000:6d:00.0", "0000:00:00.0"])
def test_a_pci_address_needs_no_quotes_in_a_file(tmp_path: Path, address: str) -> None:
    """To YAML 1.1 some addresses are numbers to the base of 60, and others are texts."""
    path = write(tmp_path, f"disabledDevices: [{{devName: {address}, nodeName: 12345}}]")
    settings = load({"config-file": path}, {"NODE_NAME": "12345"})
    assert settings.disabled_here == (DisabledDevice(address, "12345"),)


def test_a_node_is_named_without_regard_to_case(tmp_path: Path) -> None:
    path = write(tmp_path, "disabledDevices: [{devName: npu1, nodeName: NPU-001.Example}]")
    assert load({"config-file": path}, {"NODE_NAME": "npu-001.example"}).disabled_here


@pytest.mark.parametrize("text", ["off", '"off"', "Off"])
def test_an_endpoint_is_switched_off_in_a_file_with_or_without_quotes(tmp_path: Path, text: str) -> None:
    assert load({"config-file": write(tmp_path, f"listenAddress: {text}\n")}, {}).listen_address is None
