"""What the operator wants: from a command line and environment, or from a configuration file, never from both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.partition import FUSION, Partitioning
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.settings import (
    COMMAND_LINE,
    ENVIRONMENT,
    Address,
    Given,
    Reader,
    absolute_path,
    address,
    gather,
    one_of,
    seconds,
)
from npu_device_plugin.disabled import DisabledDevice
from npu_device_plugin.injection import DeviceInjection
from npu_device_plugin.resource_name import ResourceNames
from npu_device_plugin.setting_values import disabled_devices, event_loop, file_name, partitioning, resource_names

MAX_SOCKET_PATH = 107
"""Bytes: what the address of a Unix socket can hold."""

SCRATCH_NAME_LENGTH = 12
"""Bytes of the longest name that a socket has before it gets its own; see supervisor.py."""

DEFAULT_ADDRESS = Address("127.0.0.1", 6255)

UVLOOP = "uvloop"

_INTERVAL = seconds(0.1, 86_400)
_NODE_NAME = "NODE_NAME"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    The first six are the specification's options; they and the next four may also stand in the configuration file.
    """

    default_pe: Partitioning = FUSION
    """``--default-pe``, ``defaultPe``: how many PEs make a unit. Fusion, so that a pod gets a whole card."""

    interval: float = 10.0
    """``--interval``, ``interval``: seconds between two enumerations of the cards. Life and presence of known cards
    are looked at every second, whatever this says."""

    disabled_devices: tuple[DisabledDevice, ...] = ()
    """``--disabled-devices``, ``disabledDevices``: never offered on the nodes they name."""

    plugin_dir: str = "/var/lib/kubelet/device-plugins"
    """``--plugin-dir``, ``pluginDir``: where kubelet.sock is and our socket goes. Needs a restart."""

    socket_name: str = "furiosa-npu"
    """``--socket-name``, ``socketName``: our socket's file name in there. Needs a restart."""

    resource_names: ResourceNames = field(default_factory=ResourceNames)
    """``--resource-name``, ``resourceName``: one name, or in the file a map of family to name. Needs a restart."""

    device_injection: DeviceInjection = DeviceInjection.FILES
    """``--device-injection``, ``deviceInjection``: how a container gets its devices: ``files``, named one by one;
    ``cdi``, by a name that the runtime looks up; ``both``, for runtimes that may not know CDI and drop the name in
    silence. Needs a restart."""

    cdi_dir: str = "/var/run/cdi"
    """``--cdi-dir``, ``cdiDir``: where the runtime looks CDI names up. Needs a restart."""

    listen_address: Address | None = DEFAULT_ADDRESS
    """``--listen-address``, ``listenAddress``: of /healthz, /readyz and /metrics; ``off`` for none. On the loopback by
    default: nothing of it is secret, but nobody should have to think about that. Needs a restart."""

    pod_resources_socket: str = "/var/lib/kubelet/pod-resources/kubelet.sock"
    """``--pod-resources-socket``, ``podResourcesSocket``: where the kubelet tells which units containers hold. It
    follows the kubelet's root directory, unlike the plugin directory. Needs a restart."""

    sysfs: str = "/sys"
    """``--sysfs``: where the host's /sys is."""

    devfs: str = "/dev"
    """``--devfs``: where the host's /dev is."""

    node_name: str | None = None
    """``NODE_NAME``: the node this runs on, for ``disabledDevices``."""

    log_level: LogLevel = LogLevel.INFO
    """``--log-level``: the least important lines that are written."""

    log_format: LogFormat = LogFormat.TEXT
    """``--log-format``: text for people, json for collectors."""

    event_loop: str = "asyncio"
    """``--event-loop``: asyncio, or uvloop. For the few calls of a kubelet they are equally fast; uvloop and the
    OpenSSL that it needs take 7 MB more (docs/adr/0019)."""

    config_file: str | None = None
    """``--config-file``: the file that all that can stand in one came from."""

    @property
    def disabled_here(self) -> tuple[DisabledDevice, ...]:
        """The disabled devices that concern this node."""
        return tuple(device for device in self.disabled_devices if device.concerns(self.node_name))


LIVE = ("default_pe", "interval", "disabled_devices")
"""Fields that a change of the configuration file changes at once. The others need a restart."""

SURROUNDINGS = ("listen-address", "sysfs", "devfs", "log-level", "log-format", "event-loop")
"""Options that an environment may give also with a configuration file: they belong to the machine and to how the
service is deployed there, not to the wish. The file's own ``listenAddress`` goes before."""


def load(options: Mapping[str, str], environment: Mapping[str, str], read: ReadFile = read_once) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.
        read: reads the configuration file.

    Raises:
        SettingsError: with everything that is wrong.
    """
    given = gather(OPTIONS, options, environment)
    around = [item for item in given if item.key in SURROUNDINGS]
    wish = [item for item in given if item.key not in SURROUNDINGS]
    config = next((item for item in wish if item.key == "config-file"), None)
    if config is None:
        return _read(wish, around, environment, _OPTION_KEYS, None)
    return _load_file(config, wish, around, environment, read)


def wants_uvloop(options: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Whether uvloop is asked for; cheap, and before anything is loaded that depends on it."""
    return any(given.text.strip().lower() == UVLOOP for given in gather(["event-loop"], options, environment))


def _load_file(
    config: Given, wish: Iterable[Given], around: Iterable[Given], environment: Mapping[str, str], read: ReadFile
) -> Settings:
    flags = [item for item in around if item.source == COMMAND_LINE]
    excluded = [item for item in wish if item is not config] + flags
    problems = [item.problem(f"no other option beside {config.name}", ProblemCode.CONFLICT) for item in excluded]
    try:
        path = absolute_path(config)
        settings = _read(_read_file(path, read), around, environment, _FILE_KEYS, path)
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


def _read(
    wish: Iterable[Given],
    around: Iterable[Given],
    environment: Mapping[str, str],
    keys: "_Keys",
    config_file: str | None,
) -> Settings:
    wished, surroundings = Reader(wish), Reader(around)
    default = Settings()
    around_address = surroundings.take("listen-address", address, default.listen_address)
    settings = Settings(
        default_pe=wished.take(keys.default_pe, partitioning, default.default_pe),
        interval=wished.take(keys.interval, _INTERVAL, default.interval),
        disabled_devices=wished.take(keys.disabled_devices, disabled_devices, ()),
        plugin_dir=wished.take(keys.plugin_dir, absolute_path, default.plugin_dir),
        socket_name=wished.take(keys.socket_name, file_name, default.socket_name),
        resource_names=wished.take(keys.resource_name, resource_names, default.resource_names),
        device_injection=wished.take(keys.device_injection, one_of(DeviceInjection), default.device_injection),
        cdi_dir=wished.take(keys.cdi_dir, absolute_path, default.cdi_dir),
        listen_address=wished.take(keys.listen_address, address, around_address),
        pod_resources_socket=wished.take(keys.pod_resources_socket, absolute_path, default.pod_resources_socket),
        sysfs=surroundings.take("sysfs", absolute_path, default.sysfs),
        devfs=surroundings.take("devfs", absolute_path, default.devfs),
        node_name=environment.get(_NODE_NAME) or None,
        log_level=surroundings.take("log-level", one_of(LogLevel), default.log_level),
        log_format=surroundings.take("log-format", one_of(LogFormat), default.log_format),
        event_loop=surroundings.take("event-loop", event_loop, default.event_loop),
        config_file=config_file,
    )
    wished.problems.extend(_socket_path_problems(settings, wished, keys))
    problems = [*wished.finish(), *surroundings.finish(), *_node_name_problems(settings, keys)]
    if problems:
        raise SettingsError(problems)
    return settings


def _socket_path_problems(settings: Settings, wished: Reader, keys: "_Keys") -> Iterable[Problem]:
    name_length = max(len(settings.socket_name.encode()), SCRATCH_NAME_LENGTH)
    asked = wished.given(keys.pod_resources_socket)
    asked_length = len(settings.pod_resources_socket.encode())
    if asked and asked_length > MAX_SOCKET_PATH:
        yield asked.problem(f"a socket path of at most {MAX_SOCKET_PATH} bytes, not {asked_length}")
    length = len(settings.plugin_dir.encode()) + 1 + name_length
    if length > MAX_SOCKET_PATH:
        given = [item for item in map(wished.given, (keys.plugin_dir, keys.socket_name)) if item]
        longest = max(given, key=lambda item: len(item.text))
        path = f"{keys.plugin_dir}/{keys.socket_name}"
        yield longest.problem(f"a socket path ({path}) of at most {MAX_SOCKET_PATH} bytes, not {length}")


def _node_name_problems(settings: Settings, keys: "_Keys") -> Iterable[Problem]:
    if settings.node_name is None and any(device.node for device in settings.disabled_devices):
        expected = f"the name of this node, because {keys.disabled_devices} names nodes"
        yield Problem(_NODE_NAME, None, expected, ENVIRONMENT, code=ProblemCode.MISSING)


# -- what the keys are called -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Keys:
    """What can be set by option and in the file, as one of the two calls it."""

    default_pe: str
    interval: str
    disabled_devices: str
    plugin_dir: str
    socket_name: str
    resource_name: str
    device_injection: str
    cdi_dir: str
    listen_address: str
    pod_resources_socket: str


_OPTION_KEYS = _Keys(
    "default-pe",
    "interval",
    "disabled-devices",
    "plugin-dir",
    "socket-name",
    "resource-name",
    "device-injection",
    "cdi-dir",
    "listen-address",
    "pod-resources-socket",
)
_FILE_KEYS = _Keys(
    "defaultPe",
    "interval",
    "disabledDevices",
    "pluginDir",
    "socketName",
    "resourceName",
    "deviceInjection",
    "cdiDir",
    "listenAddress",
    "podResourcesSocket",
)

OPTIONS = tuple(
    dict.fromkeys([*(getattr(_OPTION_KEYS, item.name) for item in fields(_Keys)), "config-file", *SURROUNDINGS])
)
"""Every option of the program, without dashes."""
