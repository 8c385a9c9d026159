"""What the operator wants: from a command line and environment, or from a configuration file, never from both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.partition import FUSION, Partitioning
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.options import (
    NODE_NAME,
    ServiceSettings,
    Source,
    by_name,
    given_of,
    in_file,
    option,
    options_of,
    take,
)
from npu_core.service.settings import (
    COMMAND_LINE,
    ENVIRONMENT,
    Address,
    Given,
    Reader,
    absolute_path,
    address,
    event_loop,
    one_of,
    seconds,
)
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_device_plugin.allocation.resource_name import ResourceNames
from npu_device_plugin.setting_values import disabled_devices, file_name, partitioning, resource_names

MAX_SOCKET_PATH = 107
"""Bytes: what the address of a Unix socket can hold."""

SCRATCH_NAME_LENGTH = 12
"""Bytes of the longest name that a socket has before it gets its own; see supervisor.py."""

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Settings(ServiceSettings):
    """Everything that can be set. The first six are the specification's options."""

    default_pe: Partitioning = option(
        FUSION, partitioning, "TYPE", "PEs per unit: Fusion (all of a card), Single, 2 or 4.", live=True
    )

    interval: float = option(
        10.0,
        seconds(0.1, _DAY),
        "SECONDS",
        "Seconds between two enumerations of the cards. The plugin asks known cards for their health every second.",
        live=True,
    )

    disabled_devices: tuple[DisabledDevice, ...] = option(
        (), disabled_devices, "NAME,...", "Cards, units, UUIDs or PCI addresses that are not offered.", live=True
    )

    plugin_dir: str = option(
        "/var/lib/kubelet/device-plugins",
        absolute_path,
        "DIR",
        "The kubelet's device plugin directory, with kubelet.sock. The plugin's socket goes there.",
        in_file=True,
    )

    socket_name: str = option(
        "furiosa-npu", file_name, "NAME", "The file name of the plugin's socket in that directory.", in_file=True
    )

    resource_names: ResourceNames = option(
        ResourceNames(),
        resource_names,
        "NAME",
        "The resource's name in Kubernetes. In the file, a map from family to name is possible.",
        in_file=True,
        shown=ResourceNames().base,
        name="resource-name",
    )

    device_injection: DeviceInjection = option(
        DeviceInjection.FILES,
        one_of(DeviceInjection),
        "HOW",
        "How a container gets devices: files (one by one), cdi (by a name that the runtime looks up), or both.",
        in_file=True,
    )

    cdi_dir: str = option(
        "/var/run/cdi",
        absolute_path,
        "DIR",
        "The directory in which container runtimes look CDI names up.",
        in_file=True,
    )

    listen_address: Address | None = option(
        Address("127.0.0.1", 6255),
        address,
        "ADDRESS",
        "The address of /healthz, /readyz and /metrics, or off.",
        in_file=True,
    )

    pod_resources_socket: str = option(
        "/var/lib/kubelet/pod-resources/kubelet.sock",
        absolute_path,
        "PATH",
        "The kubelet's socket that tells which units containers hold. It follows the kubelet's root directory.",
        in_file=True,
    )

    config_file: str | None = option(
        None, absolute_path, "FILE", "A YAML file with all of the options above. No other option may stand beside it."
    )

    event_loop: str = option(
        "asyncio", event_loop, "LOOP", "asyncio or uvloop. uvloop takes 2 MB more and is not faster here."
    )

    @property
    def disabled_here(self) -> tuple[DisabledDevice, ...]:
        """The disabled devices that concern this node."""
        return tuple(device for device in self.disabled_devices if device.concerns(self.node_name))


OPTIONS = options_of(Settings)
"""Every option of the program."""

DEPLOYMENT_OPTIONS = {row.name for row in OPTIONS if not row.in_file} - {"config-file"} | {"listen-address"}
"""Options that the environment may give also beside a configuration file: they belong to the machine and to how the
service is deployed there. The file's own ``listenAddress`` goes first."""


def load(options: Mapping[str, str], environment: Mapping[str, str], read: ReadFile = read_once) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.
        read: reads the configuration file.

    Raises:
        SettingsError: with everything that is wrong.
    """
    given = given_of(OPTIONS, options, environment)
    config = next((item for item in given if item.key == "config-file"), None)
    if config is None:
        return _read(environment, Source(Reader(given), by_name), Source(Reader(()), in_file))
    beside = [item for item in given if item.key in DEPLOYMENT_OPTIONS and item.source != COMMAND_LINE]
    problems = [
        item.problem(f"no other option beside {config.name}", ProblemCode.CONFLICT)
        for item in given
        if item is not config and item not in beside
    ]
    try:
        file = Reader(_read_file(absolute_path(config), read))
        settings = _read(environment, Source(Reader((*beside, config)), by_name), Source(file, in_file))
    except FormatError as error:
        problems.append(config.problem(error.expected))
    except SettingsError as error:
        problems.extend(error.problems)
    else:
        if not problems:
            return settings
    raise SettingsError(problems)


def _read_file(path: str, read: ReadFile) -> tuple[Given, ...]:
    from npu_core.config.file import read_config  # noqa: PLC0415  # YAML is not loaded where there is no file

    return read_config(path, read=read)


def _read(environment: Mapping[str, str], given: Source, file: Source) -> Settings:
    settings = take(Settings, environment, given, file)
    wished = file if settings.config_file else given
    wished.reader.problems.extend(_socket_path_problems(settings, wished))
    problems = [*file.reader.finish(), *given.reader.finish(), *_node_name_problems(settings, wished)]
    if problems:
        raise SettingsError(problems)
    return settings


def _key(field: str, source: Source) -> str:
    """What an option is called there."""
    return next(source.key(row) or row.name for row in OPTIONS if row.field == field)


def _socket_path_problems(settings: Settings, source: Source) -> Iterable[Problem]:
    asked = source.reader.given(_key("pod_resources_socket", source))
    asked_length = len(settings.pod_resources_socket.encode())
    if asked and asked_length > MAX_SOCKET_PATH:
        expected = f"a socket path of at most {MAX_SOCKET_PATH} bytes, not {asked_length}"
        yield asked.problem(expected)
    name_length = max(len(settings.socket_name.encode()), SCRATCH_NAME_LENGTH)
    length = len(settings.plugin_dir.encode()) + 1 + name_length
    if length > MAX_SOCKET_PATH:
        keys = [_key(field, source) for field in ("plugin_dir", "socket_name")]
        longest = max(filter(None, map(source.reader.given, keys)), key=lambda given: len(given.text))
        expected = f"a socket path ({'/'.join(keys)}) of at most {MAX_SOCKET_PATH} bytes, not {length}"
        yield longest.problem(expected)


def _node_name_problems(settings: Settings, source: Source) -> Iterable[Problem]:
    if settings.node_name is None and any(device.node for device in settings.disabled_devices):
        expected = f"the name of this node, because {_key('disabled_devices', source)} names nodes"
        yield Problem(NODE_NAME, None, expected, ENVIRONMENT, code=ProblemCode.MISSING)
