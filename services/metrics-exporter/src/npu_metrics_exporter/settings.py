"""What the operator wants: from a file, over that from the environment, over that from the command line."""

from collections.abc import Mapping
from dataclasses import dataclass

from npu_core.errors import FormatError, Problem, SettingsError
from npu_core.limits import LIMITS, Limits, Measure, Span
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.options import (
    ServiceSettings,
    Source,
    by_name,
    given_of,
    in_file,
    option,
    options_of,
    take,
)
from npu_core.service.settings import Address, Given, Reader, absolute_path, event_loop, one_of, seconds
from npu_metrics_exporter.metrics.pattern import compiled
from npu_metrics_exporter.metrics.policy import ExportPolicy, PodLabels, SensorLabels, Units
from npu_metrics_exporter.setting_values import (
    droppable_label,
    expression,
    label_name,
    limits,
    list_of,
    listen_addresses,
    static_labels,
    whole_number,
)

_DAY = 86_400
_MAX_SOCKET_PATH = 107


def _socket_path(given: Given) -> str:
    path = absolute_path(given)
    length = len(path.encode())
    if length > _MAX_SOCKET_PATH:
        raise FormatError(path, f"a socket path of at most {_MAX_SOCKET_PATH} bytes, not {length}")
    return path


@dataclass(frozen=True, slots=True)
class Settings(ServiceSettings):
    """Everything that can be set."""

    listen_address: tuple[Address, ...] = option(
        (Address("", 6254),),
        listen_addresses,
        "ADDRESS",
        "The address that answers scrapes. May be given again.",
        in_file=True,
        is_repeatable=True,
    )

    interval: float = option(10.0, seconds(0.1, _DAY), "SECONDS", "Seconds between two collections.", live=True)

    grace: float = option(
        300.0, seconds(0, _DAY), "SECONDS", "Seconds for which a card that is gone is exported as not alive.", live=True
    )

    units: Units = option(
        Units.BOTH,
        one_of(Units),
        "WHICH",
        "The names of metrics: spec (the specification's), base (Prometheus' base units), or both.",
        live=True,
    )

    sensor_labels: SensorLabels = option(
        SensorLabels.RAW,
        one_of(SensorLabels),
        "HOW",
        "The names of sensors: raw (as the driver calls them) or lower (in lower case).",
        live=True,
    )

    include: tuple[str, ...] = option(
        (), list_of(expression), "REGEX,...", "The metric families to export, and no others.", live=True, shown="all"
    )

    exclude: tuple[str, ...] = option((), list_of(expression), "REGEX,...", "Metric families not to export.", live=True)

    include_sensors: tuple[str, ...] = option(
        (), list_of(expression), "REGEX,...", "The sensors to export, by label, and no others.", live=True, shown="all"
    )

    exclude_sensors: tuple[str, ...] = option(
        (), list_of(expression), "REGEX,...", "Sensors not to export, by label.", live=True
    )

    static_labels: tuple[tuple[str, str], ...] = option(
        (), static_labels, "NAME=VALUE,...", "Labels that every series gets.", live=True
    )

    keep_labels: tuple[str, ...] = option(
        (), list_of(label_name), "NAME,...", "The labels to keep, and no others.", live=True, shown="all"
    )

    drop_labels: tuple[str, ...] = option((), list_of(droppable_label), "NAME,...", "Labels to leave out.", live=True)

    max_series: int = option(
        10_000,
        whole_number(1, 1_000_000),
        "NUMBER",
        "The most series of cards. More are dropped and counted.",
        live=True,
    )

    pod_labels: PodLabels = option(
        PodLabels.JOIN,
        one_of(PodLabels),
        "HOW",
        "How a card is connected with the pod that holds it: join, inline or off.",
        live=True,
    )

    pod_interval: float = option(
        10.0,
        seconds(0.1, _DAY),
        "SECONDS",
        "Seconds between two questions to the kubelet about who holds what.",
        live=True,
    )

    pod_ttl: float = option(
        60.0, seconds(0.1, _DAY), "SECONDS", "Seconds for which the kubelet's last answer stands.", live=True
    )

    max_in_flight: int = option(
        16,
        whole_number(1, 10_000),
        "NUMBER",
        "The most scrapes that are answered at once. The slowest one makes room for the next.",
        in_file=True,
    )

    web_config_file: str | None = option(
        None,
        absolute_path,
        "FILE",
        "A file with TLS and passwords, as Prometheus' exporter toolkit has them. Changes in the file are followed.",
        in_file=True,
    )

    pod_resources_socket: str = option(
        "/var/lib/kubelet/pod-resources/kubelet.sock",
        _socket_path,
        "PATH",
        "The kubelet's socket that tells which pods hold which cards.",
        in_file=True,
    )

    plugin_dir: str = option(
        "/var/lib/kubelet/device-plugins",
        absolute_path,
        "DIR",
        "The kubelet's device plugin directory, with its checkpoint.",
        in_file=True,
    )

    pod_logs_dir: str = option(
        "/var/log/pods", absolute_path, "DIR", "The kubelet's log directory, whose entries name pods.", in_file=True
    )

    limits: tuple[tuple[Measure, Span], ...] = option(
        (),
        limits,
        "MEASURE=LEAST..MOST,...",
        "The possible range of a measure. A reading outside of the range is a read error.",
        in_file=True,
        shown="as documented",
    )

    config_file: str | None = option(
        None, absolute_path, "FILE", "A YAML file for what is given neither here nor in the environment."
    )

    event_loop: str = option("uvloop", event_loop, "LOOP", "uvloop, or asyncio where uvloop cannot be had.")

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


OPTIONS = options_of(Settings)
"""Every option of the program."""


def load(options: Mapping[str, str], environment: Mapping[str, str], read: ReadFile = read_once) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.
        read: reads the configuration file.

    Raises:
        SettingsError: with everything that is wrong, what is overruled included.
    """
    given = Reader(given_of(OPTIONS, options, environment))
    problems: list[Problem] = []
    file: tuple[Given, ...] = ()
    if config := given.given("config-file"):
        try:
            file = _read_file(absolute_path(config), read)
        except SettingsError as error:
            problems.extend(error.problems)
        except FormatError:
            pass  # The path is taken with the other options, and then told.
    in_it = Reader(file)
    settings = take(Settings, environment, Source(in_it, in_file), Source(given, by_name))
    problems = [*problems, *in_it.finish(), *given.finish()]
    if problems:
        raise SettingsError(problems)
    return settings


def _read_file(path: str, read: ReadFile) -> tuple[Given, ...]:
    from npu_core.config.file import read_config  # noqa: PLC0415  # YAML is not loaded where there is no file

    return read_config(path, read=read)
