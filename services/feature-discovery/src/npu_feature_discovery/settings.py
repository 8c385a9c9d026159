"""What the operator wants: from the command line and the environment."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.service.given_files import read_once
from npu_core.service.options import NODE_NAME, ServiceSettings, Source, by_name, given_of, option, options_of, take
from npu_core.service.settings import (
    ENVIRONMENT,
    Address,
    Given,
    Reader,
    absolute_path,
    address,
    environment_name,
    one_of,
    seconds,
    text_of,
)
from npu_feature_discovery.labels.nfd_rules import COMMENTS, OLDEST, NfdVersion
from npu_feature_discovery.labels.table import Extra, Mixed

T = TypeVar("T")
U = TypeVar("U")

STANDARD_OUTPUT = "-"
DEFAULT_FILE = "/etc/kubernetes/node-feature-discovery/features.d/furiosa-npu-feature-discovery"

_DAY = 86_400
_EXPIRY_INTERVALS = 3
_EXPIRY_MARGIN = 60.0
"""Seconds: how long an nfd-worker may take to look again."""


class SinkKind(StrEnum):
    """Where labels are published."""

    FEATURE_FILE = "feature-file"
    NODE_FEATURE = "node-feature"
    NODE_LABELS = "node-labels"


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


@dataclass(frozen=True, slots=True)
class Settings(ServiceSettings):
    """Everything that can be set."""

    sink: SinkKind = option(
        SinkKind.FEATURE_FILE,
        one_of(SinkKind),
        "SINK",
        "Where labels go: feature-file (for the node's nfd-worker), node-feature (an object for nfd-master) or "
        "node-labels (the node itself, without NFD).",
    )
    interval: float = option(
        60.0,
        _or("infinite", math.inf, seconds(0.1, _DAY)),
        "SECONDS",
        "Seconds between two full reads of the cards, or infinite. Which cards there are is looked up every second.",
    )
    oneshot: bool = option(False, boolean, "", "Publish once and end.")
    print: bool = option(False, boolean, "", "Print the labels instead of publishing them, and end.")
    remove: bool = option(False, boolean, "", "Remove what was published, and end.")
    output_file: str = option(DEFAULT_FILE, _output_file, "PATH", "The feature file, or - for standard output.")
    mixed: Mixed = option(
        Mixed.JOIN,
        one_of(Mixed),
        "HOW",
        "The value of a label where cards differ: join (all values) or omit (no label).",
    )
    extra_labels: frozenset[Extra] = option(
        frozenset(), extra_labels, "GROUP,...", "More groups of labels: firmware, product-count, pe-count."
    )
    expiry: timedelta | None = option(
        None,
        _or("off", None, _span(1, 365 * _DAY)),
        "SECONDS",
        "Seconds after which NFD drops labels that nobody renews, or off. nfd-worker knows it since v0.14.",
        shown="off",
    )
    nfd_version: NfdVersion = option(
        OLDEST, nfd_version, "VERSION", "The oldest nfd-worker that has to understand the feature file."
    )
    cleanup_on_exit: bool = option(
        False,
        boolean,
        "",
        "Remove the labels when the service ends. Then every update of the service removes them too.",
    )
    start_jitter: float = option(
        30.0,
        seconds(0, 3600),
        "SECONDS",
        "Seconds within which the first request to the API server is sent, by chance, so that nodes take turns.",
    )
    namespace: str | None = option(
        None, text_of, "NAME", "The namespace of the NodeFeature.", shown="the service account's"
    )
    kubeconfig: str | None = option(None, absolute_path, "FILE", "How to reach the API server from outside of a pod.")
    service_account_dir: str = option(
        "/var/run/secrets/kubernetes.io/serviceaccount", absolute_path, "DIR", "How to reach the API server from a pod."
    )
    api_timeout: float = option(
        10.0, seconds(0.1, 600), "SECONDS", "Seconds that one publication through the API server may take."
    )
    listen_address: Address | None = option(
        None, address, "ADDRESS", "The address of /healthz, /readyz and /metrics, or off.", shown="off"
    )

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
        default = ServiceSettings()
        return self.devfs != default.devfs or self.sysfs == default.sysfs

    @property
    def writes_file(self) -> bool:
        """Whether labels go into a file, or to standard output in its place."""
        return self.sink is SinkKind.FEATURE_FILE


OPTIONS = options_of(Settings)
"""Every option of the program."""


def load(options: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """The settings of a process.

    Args:
        options: command line options that were given, without dashes: ``{"interval": "10"}``.
        environment: the process's environment; ``NPU_INTERVAL`` stands for ``--interval``.

    Raises:
        SettingsError: with everything that is wrong.
    """
    reader = Reader(given_of(OPTIONS, options, environment))
    settings = take(Settings, environment, Source(reader, by_name))
    reader.problems.extend(_contradictions(settings, reader))
    if not settings.print:
        settings, missing = _for_api(settings)
        reader.problems.extend(missing)
    if problems := reader.finish():
        raise SettingsError(problems)
    return settings


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
        problems.append(Problem(NODE_NAME, None, expected, ENVIRONMENT, code=ProblemCode.MISSING))
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
