"""What the operator wants: from the command line and the environment."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.service.given_files import read_once
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.settings import (
    ENVIRONMENT,
    Address,
    Given,
    Reader,
    absolute_path,
    address,
    environment_name,
    gather,
    one_of,
    seconds,
    text_of,
)
from npu_feature_discovery.labels import Extra, Mixed
from npu_feature_discovery.nfd_rules import COMMENTS, OLDEST, NfdVersion

T = TypeVar("T")
U = TypeVar("U")

STANDARD_OUTPUT = "-"
DEFAULT_FILE = "/etc/kubernetes/node-feature-discovery/features.d/furiosa-npu-feature-discovery"

_NODE_NAME = "NODE_NAME"
_DAY = 86_400
_EXPIRY_INTERVALS = 3
_EXPIRY_MARGIN = 60.0
"""Seconds: how long an nfd-worker may take to look again."""


class SinkKind(StrEnum):
    """Where labels are published."""

    FEATURE_FILE = "feature-file"
    NODE_FEATURE = "node-feature"
    NODE_LABELS = "node-labels"


_SYSFS, _DEVFS = "/sys", "/dev"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    sink: SinkKind = SinkKind.FEATURE_FILE
    """``--sink``: a file for the node's nfd-worker, a NodeFeature object for nfd-master, or, without NFD, the labels of
    the node itself. A file needs no right in the cluster, so it is the default."""

    interval: float = 60.0
    """``--interval``: seconds between two looks at what the cards are; infinite for ``infinite``. Which cards there are
    is glanced at every second, whatever this says."""

    oneshot: bool = False
    """``--oneshot``: publish once and end."""

    print: bool = False
    """``--print``: print the labels instead of publishing them, and end."""

    remove: bool = False
    """``--remove``: take away what was published, and end."""

    output_file: str = DEFAULT_FILE
    """``--output-file``: the feature file, or :data:`STANDARD_OUTPUT`."""

    mixed: Mixed = Mixed.JOIN
    """``--mixed``: what a label says whose cards do not agree."""

    extra_labels: frozenset[Extra] = frozenset()
    """``--extra-labels``: beyond those of the specification."""

    expiry: timedelta | None = None
    """``--expiry``: how long NFD keeps the labels without this service; None for ever, so that they survive its
    restarts. A comment of the file says it, which workers before v0.14 do not know."""

    nfd_version: NfdVersion = OLDEST
    """``--nfd-version``: the oldest nfd-worker that has to understand the file."""

    cleanup_on_exit: bool = False
    """``--cleanup-on-exit``: take away what was published when the service ends. Then every update of the service costs
    the node its labels for a while."""

    start_jitter: float = 30.0
    """``--start-jitter``: seconds within which the first publication through the API server begins, by chance, so that
    many nodes that start together do not ask it together."""

    namespace: str | None = None
    """``--namespace``: of the NodeFeature; by default the service account's."""

    kubeconfig: str | None = None
    """``--kubeconfig``: how to reach the API server from outside of a pod."""

    service_account_dir: str = "/var/run/secrets/kubernetes.io/serviceaccount"
    """``--service-account-dir``: how to reach it from a pod."""

    api_timeout: float = 10.0
    """``--api-timeout``: seconds that one publication through the API server may take."""

    listen_address: Address | None = None
    """``--listen-address``: of /healthz, /readyz and /metrics. Off by default: it costs 3 MB, and only probes and
    scrapes need it."""

    sysfs: str = _SYSFS
    """``--sysfs``: where the host's /sys is."""

    devfs: str = _DEVFS
    """``--devfs``: where the host's /dev is."""

    node_name: str | None = None
    """``NODE_NAME``: the node this runs on, for the sinks behind the API server."""

    log_level: LogLevel = LogLevel.INFO
    """``--log-level``: the least important lines that are written."""

    log_format: LogFormat = LogFormat.TEXT
    """``--log-format``: text for people, json for collectors."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether there is one thing to do and no daemon to become."""
        return self.oneshot or self.print or self.remove

    @property
    def uses_nfd(self) -> bool:
        """Whether Node Feature Discovery stands between us and the node."""
        return self.sink is not SinkKind.NODE_LABELS

    @property
    def sees_device_files(self) -> bool:
        """Whether :attr:`devfs` is the /dev of the host whose /sys is read.

        A container that was given the host's /sys and not the host's /dev, as by the manifests of release 0.1, has a
        /dev of its own, which says nothing of the host's cards.
        """
        return self.devfs != _DEVFS or self.sysfs == _SYSFS

    @property
    def writes_file(self) -> bool:
        """Whether labels go into a file, or to standard output in its place."""
        return self.sink is SinkKind.FEATURE_FILE


OPTIONS = (
    "sink",
    "interval",
    "oneshot",
    "print",
    "remove",
    "output-file",
    "mixed",
    "extra-labels",
    "expiry",
    "nfd-version",
    "cleanup-on-exit",
    "start-jitter",
    "namespace",
    "kubeconfig",
    "service-account-dir",
    "api-timeout",
    "listen-address",
    "sysfs",
    "devfs",
    "log-level",
    "log-format",
)
"""Every option of the program, without dashes."""

FLAGS = ("oneshot", "print", "remove", "cleanup-on-exit")
"""Options without a value; their environment variables say ``true`` or ``false``."""


def load(options: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.

    Raises:
        SettingsError: with everything that is wrong.
    """
    reader = Reader(gather(OPTIONS, options, environment))
    settings = replace(_read(reader), node_name=environment.get(_NODE_NAME) or None)
    reader.problems.extend(_contradictions(settings, reader))
    if not settings.print:
        settings, missing = _for_api(settings)
        reader.problems.extend(missing)
    if problems := reader.finish():
        raise SettingsError(problems)
    return settings


def _read(reader: Reader) -> Settings:
    default = Settings()
    return Settings(
        sink=reader.take("sink", one_of(SinkKind), default.sink),
        interval=reader.take("interval", _or("infinite", math.inf, seconds(0.1, _DAY)), default.interval),
        oneshot=reader.take("oneshot", boolean, default.oneshot),
        print=reader.take("print", boolean, default.print),
        remove=reader.take("remove", boolean, default.remove),
        output_file=reader.take("output-file", _output_file, default.output_file),
        mixed=reader.take("mixed", one_of(Mixed), default.mixed),
        extra_labels=reader.take("extra-labels", extra_labels, default.extra_labels),
        expiry=reader.take("expiry", _or("off", None, _span(1, 365 * _DAY)), default.expiry),
        nfd_version=reader.take("nfd-version", nfd_version, default.nfd_version),
        cleanup_on_exit=reader.take("cleanup-on-exit", boolean, default.cleanup_on_exit),
        start_jitter=reader.take("start-jitter", seconds(0, 3600), default.start_jitter),
        namespace=reader.take("namespace", text_of, default.namespace),
        kubeconfig=reader.take("kubeconfig", absolute_path, default.kubeconfig),
        service_account_dir=reader.take("service-account-dir", absolute_path, default.service_account_dir),
        api_timeout=reader.take("api-timeout", seconds(0.1, 600), default.api_timeout),
        listen_address=reader.take("listen-address", address, default.listen_address),
        sysfs=reader.take("sysfs", absolute_path, default.sysfs),
        devfs=reader.take("devfs", absolute_path, default.devfs),
        log_level=reader.take("log-level", one_of(LogLevel), default.log_level),
        log_format=reader.take("log-format", one_of(LogFormat), default.log_format),
    )


# -- one value --------------------------------------------------------------------------------------------------------


def boolean(given: Given) -> bool:
    """``true`` or ``false``, in any case.

    Raises:
        FormatError: on anything else.
    """
    words = {"true": True, "false": False}
    try:
        return words[text_of(given).lower()]
    except KeyError:
        raise FormatError(given.text, "true or false") from None


def extra_labels(given: Given) -> frozenset[Extra]:
    """Groups of labels, with commas between them.

    Raises:
        SettingsError: with every entry that is none.
    """
    entries = [replace(given, text=text.strip()) for text in text_of(given).split(",") if text.strip()]
    groups: set[Extra] = set()
    problems: list[Problem] = []
    for entry in entries:
        try:
            groups.add(one_of(Extra)(entry))
        except FormatError as error:
            problems.append(entry.problem(error.expected))
    if problems:
        raise SettingsError(problems)
    return frozenset(groups)


def nfd_version(given: Given) -> NfdVersion:
    """A version of Node Feature Discovery, ``v0.11``.

    Raises:
        FormatError: on anything else.
    """
    return NfdVersion.parse(text_of(given))


def _output_file(given: Given) -> str:
    if given.text.strip() == STANDARD_OUTPUT:
        return STANDARD_OUTPUT
    if given.text.endswith("/"):
        raise FormatError(given.text, "the path of a file")
    return absolute_path(given)


def _span(least: float, most: float) -> Callable[[Given], timedelta]:
    parse = seconds(least, most)
    return lambda given: timedelta(seconds=parse(given))


def _or(word: str, value: U, parse: Callable[[Given], T]) -> Callable[[Given], T | U]:
    """A parser for ``word``, or else what ``parse`` takes."""

    def either(given: Given) -> T | U:
        if given.text.strip().lower() == word:
            return value
        try:
            return parse(given)
        except FormatError as error:
            raise FormatError(given.text, f"{error.expected}, or {word}") from None

    return either


# -- what is wrong between several ------------------------------------------------------------------------------------


def _contradictions(settings: Settings, reader: Reader) -> Iterator[Problem]:
    if settings.remove and (settings.print or settings.oneshot):
        yield _problem(reader, "remove", "neither --oneshot nor --print beside it: nothing is published then")
    if settings.remove and settings.writes_file and settings.output_file == STANDARD_OUTPUT:
        yield _problem(reader, "output-file", "a file, of which there is something to remove")
    if settings.expiry is not None:
        yield from _expiry_problems(settings, settings.expiry, reader)


def _expiry_problems(settings: Settings, expiry: timedelta, reader: Reader) -> Iterator[Problem]:
    if not settings.writes_file:
        yield _problem(reader, "expiry", f"off with the sink {settings.sink}: only a feature file can expire")
        return
    if not settings.nfd_version.knows_comments:
        yield _problem(reader, "expiry", f"off unless --nfd-version is {COMMENTS} or newer: older ones do not know it")
    least = _EXPIRY_INTERVALS * settings.interval + _EXPIRY_MARGIN
    if expiry.total_seconds() < least and not settings.oneshot:
        expected = f"{least:g} seconds or more: three intervals and a minute, so that labels do not come and go"
        yield _problem(reader, "expiry", expected if math.isfinite(least) else "off with an infinite interval")


def _for_api(settings: Settings) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings with the namespace that the service account has, and what the sink cannot do without."""
    if settings.writes_file:
        return settings, ()
    problems: list[Problem] = []
    if settings.node_name is None:
        expected = f"the name of this node, because the sink is {settings.sink}"
        problems.append(Problem(_NODE_NAME, None, expected, ENVIRONMENT, code=ProblemCode.MISSING))
    if settings.sink is SinkKind.NODE_FEATURE and settings.namespace is None:
        path = f"{settings.service_account_dir}/namespace"
        try:
            settings = replace(settings, namespace=read_once(path).decode().strip())
        except (FormatError, UnicodeDecodeError) as error:
            reason = error.expected if isinstance(error, FormatError) else error
            expected = f"the namespace of the NodeFeature, because there is none to be read in {path} ({reason})"
            problems.append(
                Problem(environment_name("namespace"), None, expected, ENVIRONMENT, code=ProblemCode.MISSING)
            )
    return settings, tuple(problems)


def _problem(reader: Reader, key: str, expected: str) -> Problem:
    given = reader.given(key)
    if given is None:
        return Problem(f"--{key}", None, expected, ENVIRONMENT, code=ProblemCode.MISSING)
    return given.problem(expected, ProblemCode.CONFLICT)
