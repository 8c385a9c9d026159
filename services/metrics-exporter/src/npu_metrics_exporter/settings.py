"""What the operator wants: from a file, over that from the environment, over that from the command line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from npu_core.errors import FormatError, Problem, SettingsError
from npu_core.limits import LIMITS, Limits, Measure, Span
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.settings import Address, Given, Reader, absolute_path, gather, one_of, seconds
from npu_metrics_exporter.pattern import compiled
from npu_metrics_exporter.policy import ExportPolicy, PodLabels, SensorLabels, Units
from npu_metrics_exporter.setting_values import (
    droppable_label,
    event_loop,
    expression,
    label_name,
    limits,
    list_of,
    listen_addresses,
    static_labels,
    whole_number,
)

T = TypeVar("T")
DEFAULT_ADDRESS = Address("", 6254)
_NODE_NAME = "NODE_NAME"
_DAY = 86_400
_MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Each has an option; all down to ``limits`` may also stand in the file."""

    listen_address: tuple[Address, ...] = (DEFAULT_ADDRESS,)
    """``--listen-address``, ``listenAddress``: where scrapes are answered. Needs a restart."""

    interval: float = 10.0
    """``--interval``, ``interval``: seconds between two collections."""

    grace: float = 300.0
    """``--grace``, ``grace``: seconds for which a card that is gone is still told of, as not alive."""

    units: Units = Units.BOTH
    """``--units``, ``units``: the specification's names, those with base units, or both."""

    sensor_labels: SensorLabels = SensorLabels.RAW
    """``--sensor-labels``, ``sensorLabels``: sensors as the driver calls them, or in lower case."""

    include: tuple[str, ...] = ()
    """``--include``, ``include``: regular expressions of the families to export; none means all."""

    exclude: tuple[str, ...] = ()
    """``--exclude``, ``exclude``: families not to export."""

    include_sensors: tuple[str, ...] = ()
    """``--include-sensors``, ``includeSensors``: the same for the labels of sensors."""

    exclude_sensors: tuple[str, ...] = ()
    """``--exclude-sensors``, ``excludeSensors``: the same for the labels of sensors."""

    static_labels: tuple[tuple[str, str], ...] = ()
    """``--static-labels``, ``staticLabels``: put on every series."""

    keep_labels: tuple[str, ...] = ()
    """``--keep-labels``, ``keepLabels``: keep these labels only; none means all."""

    drop_labels: tuple[str, ...] = ()
    """``--drop-labels``, ``dropLabels``: leave these labels out."""

    max_series: int = 10_000
    """``--max-series``, ``maxSeries``: the most series of cards; what is more is dropped and counted."""

    pod_labels: PodLabels = PodLabels.JOIN
    """``--pod-labels``, ``podLabels``: how a card is connected with its holder."""

    pod_interval: float = 10.0
    """``--pod-interval``, ``podInterval``: seconds between two questions to the kubelet about who holds what."""

    pod_ttl: float = 60.0
    """``--pod-ttl``, ``podTtl``: seconds for which an answer stands if no later question is answered."""

    max_in_flight: int = 16
    """``--max-in-flight``, ``maxInFlight``: answers taken at once; the slowest makes room. Needs a
    restart."""

    web_config_file: str | None = None
    """``--web-config-file``, ``webConfigFile``: TLS and passwords, as Prometheus' exporter toolkit has them. What
    it says is followed; another path needs a restart."""

    pod_resources_socket: str = "/var/lib/kubelet/pod-resources/kubelet.sock"
    """``--pod-resources-socket``, ``podResourcesSocket``: where the kubelet is asked. Needs a restart."""

    plugin_dir: str = "/var/lib/kubelet/device-plugins"
    """``--plugin-dir``, ``pluginDir``: the kubelet's device-plugin directory, with its checkpoint. Needs a restart."""

    pod_logs_dir: str = "/var/log/pods"
    """``--pod-logs-dir``, ``podLogsDir``: the kubelet's log directory, whose entries name pods. Needs a restart."""

    limits: tuple[tuple[Measure, Span], ...] = ()
    """``--limits``, ``limits``: the ranges that differ from :data:`npu_core.limits.LIMITS`. A reading outside its
    range is a read error. A change needs a restart."""

    sysfs: str = "/sys"
    """``--sysfs``: where the host's /sys is."""

    devfs: str = "/dev"
    """``--devfs``: where the host's /dev is."""

    log_level: LogLevel = LogLevel.INFO
    """``--log-level``: the least important lines that are written."""

    log_format: LogFormat = LogFormat.TEXT
    """``--log-format``: text for people, json for collectors."""

    event_loop: str = "uvloop"
    """``--event-loop``: uvloop, or asyncio where it cannot be had."""

    node_name: str | None = None
    """``NODE_NAME``: the node this runs on."""

    config_file: str | None = None
    """``--config-file``: the file."""

    @property
    def max_age(self) -> float:
        """Seconds after which a value is too old to be told."""
        return 3 * self.interval

    @property
    def all_limits(self) -> Limits:
        """The range of each measure. A reading outside its range is a read error."""
        return {**LIMITS, **dict(self.limits)}

    @property
    def policy(self) -> ExportPolicy:
        """What is exported, and in which words."""
        return ExportPolicy(
            units=self.units,
            sensor_labels=self.sensor_labels,
            pod_labels=self.pod_labels,
            include=tuple(map(compiled, self.include)),
            exclude=tuple(map(compiled, self.exclude)),
            include_sensors=tuple(map(compiled, self.include_sensors)),
            exclude_sensors=tuple(map(compiled, self.exclude_sensors)),
            static_labels=self.static_labels,
            keep=frozenset(self.keep_labels) or None,
            drop=frozenset(self.drop_labels),
            max_series=self.max_series,
            node=self.node_name or "",
        )


LIVE = frozenset(
    (
        "interval",
        "grace",
        "units",
        "sensor_labels",
        "include",
        "exclude",
        "include_sensors",
        "exclude_sensors",
        "static_labels",
        "keep_labels",
        "drop_labels",
        "max_series",
        "pod_labels",
        "pod_interval",
        "pod_ttl",
    )
)
"""Fields that a change of the configuration file changes at once. The others need a restart."""

WISHES = (
    "listen-address",
    "interval",
    "grace",
    "units",
    "sensor-labels",
    "include",
    "exclude",
    "include-sensors",
    "exclude-sensors",
    "static-labels",
    "keep-labels",
    "drop-labels",
    "max-series",
    "pod-labels",
    "pod-interval",
    "pod-ttl",
    "max-in-flight",
    "web-config-file",
    "pod-resources-socket",
    "plugin-dir",
    "pod-logs-dir",
    "limits",
)
"""Options that may also stand in the file; see :func:`file_key`."""

SURROUNDINGS = ("config-file", "sysfs", "devfs", "log-level", "log-format", "event-loop")
"""Options that may not: they belong to the machine."""

OPTIONS = (*WISHES, *SURROUNDINGS)
"""Every option of the program, without dashes."""


def file_key(option: str) -> str:
    """What an option is called in the file: ``listen-address`` -> ``listenAddress``."""
    first, *others = option.split("-")
    return first + "".join(word.capitalize() for word in others)


def load(options: Mapping[str, str], environment: Mapping[str, str], read: ReadFile = read_once) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.
        read: reads the configuration file.

    Raises:
        SettingsError: with everything that is wrong, what is overruled included.
    """
    given = Reader(gather(OPTIONS, options, environment))
    problems: list[Problem] = []
    path = given.take("config-file", _path, None)
    in_file: tuple[Given, ...] = ()
    if path is not None:
        try:
            in_file = _read_file(path, read)
        except SettingsError as error:
            problems.extend(error.problems)
    return _read(_Sources(Reader(in_file), given), path, environment.get(_NODE_NAME) or None, problems)


def _read_file(path: str, read: ReadFile) -> tuple[Given, ...]:
    from npu_core.config.file import read_config  # noqa: PLC0415  # YAML is not loaded where there is no file

    return read_config(path, read=read)


@dataclass(frozen=True, slots=True)
class _Sources:
    file: Reader
    given: Reader

    def take(self, option: str, parse: Callable[[Given], T], default: T) -> T:
        """The option's value, or the file's, or the default. Both are looked at, so that a wrong one is told."""
        return self.given.take(option, parse, self.file.take(file_key(option), parse, default))


def _read(sources: _Sources, path: str | None, node_name: str | None, problems: list[Problem]) -> Settings:
    default, around = Settings(), sources.given
    settings = Settings(
        listen_address=sources.take("listen-address", listen_addresses, default.listen_address),
        interval=sources.take("interval", seconds(0.1, _DAY), default.interval),
        grace=sources.take("grace", seconds(0, _DAY), default.grace),
        units=sources.take("units", one_of(Units), default.units),
        sensor_labels=sources.take("sensor-labels", one_of(SensorLabels), default.sensor_labels),
        include=sources.take("include", list_of(expression), default.include),
        exclude=sources.take("exclude", list_of(expression), default.exclude),
        include_sensors=sources.take("include-sensors", list_of(expression), default.include_sensors),
        exclude_sensors=sources.take("exclude-sensors", list_of(expression), default.exclude_sensors),
        static_labels=sources.take("static-labels", static_labels, default.static_labels),
        keep_labels=sources.take("keep-labels", list_of(label_name), default.keep_labels),
        drop_labels=sources.take("drop-labels", list_of(droppable_label), default.drop_labels),
        max_series=sources.take("max-series", whole_number(1, 1_000_000), default.max_series),
        pod_labels=sources.take("pod-labels", one_of(PodLabels), default.pod_labels),
        pod_interval=sources.take("pod-interval", seconds(0.1, _DAY), default.pod_interval),
        pod_ttl=sources.take("pod-ttl", seconds(0.1, _DAY), default.pod_ttl),
        max_in_flight=sources.take("max-in-flight", whole_number(1, 10_000), default.max_in_flight),
        web_config_file=sources.take("web-config-file", _path, default.web_config_file),
        pod_resources_socket=sources.take("pod-resources-socket", _socket_path, default.pod_resources_socket),
        plugin_dir=sources.take("plugin-dir", absolute_path, default.plugin_dir),
        pod_logs_dir=sources.take("pod-logs-dir", absolute_path, default.pod_logs_dir),
        limits=sources.take("limits", limits, default.limits),
        sysfs=around.take("sysfs", absolute_path, default.sysfs),
        devfs=around.take("devfs", absolute_path, default.devfs),
        log_level=around.take("log-level", one_of(LogLevel), default.log_level),
        log_format=around.take("log-format", one_of(LogFormat), default.log_format),
        event_loop=around.take("event-loop", event_loop, default.event_loop),
        node_name=node_name,
        config_file=path,
    )
    problems = [*problems, *sources.file.finish(), *sources.given.finish()]
    if problems:
        raise SettingsError(problems)
    return settings


def _path(given: Given) -> str | None:
    return absolute_path(given)


def _socket_path(given: Given) -> str:
    path = absolute_path(given)
    length = len(path.encode())
    if length > _MAX_SOCKET_PATH:
        raise FormatError(path, f"a socket path of at most {_MAX_SOCKET_PATH} bytes, not {length}")
    return path
