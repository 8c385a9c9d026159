"""The service as a whole: what it is made of, and how it lives and ends."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

from npu_core.host import Host
from npu_core.service.lifetime import BLOCKED_SIGNALS, LOOK_AGAIN
from npu_core.service.logs import EventLog
from npu_feature_discovery.back_off import chance
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.events import Event
from npu_feature_discovery.host_scan import HostScanner
from npu_feature_discovery.labels.carry_over import with_carried_over
from npu_feature_discovery.labels.known_facts import KnownFacts
from npu_feature_discovery.labels.table import Facts, Labels, labels_of
from npu_feature_discovery.loop import Discovery, Pace
from npu_feature_discovery.publisher import Publisher
from npu_feature_discovery.service_status import LOOK_TIMEOUT
from npu_feature_discovery.settings import STANDARD_OUTPUT, Settings, SinkKind
from npu_feature_discovery.sinks import Outcome, Sink, SinkError
from npu_feature_discovery.sinks.feature_file import FeatureFileSink, StandardOutputSink

_log = EventLog(__name__)
_FINISH = 1.0
"""Seconds that the work has to finish by itself when the process is to end."""
_CUT_OFF = 0.3
"""Seconds that it has after what it waits for was cut off."""
_CLEAN_UP_FILE = 0.5
_CLEAN_UP_API = 10.0
"""Seconds that taking the labels away at the end may take. Only those who want that have to wait for it."""
_STANDARD_OUTPUT = 1
"""Its descriptor: where it is closed, Python has no object for it."""
_WORK_ENDED = signal.SIGUSR1
"""Wakes the thread that waits for signals."""


class Service:
    """One run of the program, whatever it was asked to do."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """A service that does nothing yet."""
        self._settings = settings
        self._clock = clock
        self._sink = sink_of(settings)
        self._telemetry = Counters()
        self._discovery = self._make_discovery()

    def run(self) -> int:
        """Do what the settings say until it is done, or until a signal; returns the exit status.

        SIGTERM, SIGINT and SIGHUP have to be held back already (:mod:`npu_core.service.lifetime`).
        """
        settings = self._settings
        if settings.remove:
            return self._attend(self._remove)
        if settings.ends_by_itself:
            return self._attend(lambda: 0 if self._discovery.once() else 1)
        if settings.listen_address is not None:
            from npu_feature_discovery import endpoint  # noqa: PLC0415  # not loaded where nobody asks

            endpoint.start(settings.listen_address, self._discovery.condition, self._telemetry)
        return self._attend(self._keep_publishing)

    def _make_discovery(self) -> Discovery:
        settings, clock = self._settings, self._clock
        by_api = not settings.writes_file and not settings.print
        jitter = settings.start_jitter * chance() if by_api and not settings.oneshot else 0.0
        publisher = Publisher(
            self._sink,
            self._telemetry,
            clock,
            not_before=clock() + jitter,
            supersede=self._remove_feature_file if by_api and settings.output_file != STANDARD_OUTPUT else None,
        )
        return Discovery(
            HostScanner(Host(settings.sysfs, settings.devfs), clock),
            publisher,
            partial(labels_for, settings),
            self._telemetry,
            Pace(settings.interval, LOOK_TIMEOUT + (settings.api_timeout if by_api else 0.0)),
            clock,
            KnownFacts(sees_device_files=settings.sees_device_files),
            [os.path.dirname(settings.output_file)] if settings.writes_file else [],  # noqa: PTH120  # no pathlib
        )

    def _keep_publishing(self) -> int:
        self._discovery.run()
        return 0

    def _remove(self) -> int:
        try:
            outcome = self._sink.remove()
        except SinkError as error:
            _log.error(Event.CANNOT_REMOVE, sink=self._sink.name, reason=error.message)
            return 1
        _log.info(Event.REMOVED if outcome is Outcome.REMOVED else Event.NOTHING_TO_REMOVE, sink=self._sink.name)
        return 0

    def _remove_feature_file(self) -> Outcome:
        return FeatureFileSink(self._settings.output_file).remove_if_ours()

    # -- living and ending ----------------------------------------------------------------------------------------

    def _attend(self, work: Callable[[], int]) -> int:
        """Do ``work`` on a thread that may be lost, while this one waits for signals."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [_WORK_ENDED])
        worker = _Worker(work)
        awaited = (*BLOCKED_SIGNALS, _WORK_ENDED)
        worker.start()
        while worker.status is None:
            number = signal.sigwait(awaited)
            if number == LOOK_AGAIN:
                self._discovery.look_again()
            elif number != _WORK_ENDED:
                return self._end(worker)
        return worker.status

    def _end(self, worker: "_Worker") -> int:
        _log.info(Event.STOPPING)
        self._discovery.stop()
        if not worker.join(_FINISH):
            self._sink.close()
            worker.join(_CUT_OFF)
        if self._settings.ends_by_itself:
            return 1 if worker.status is None else worker.status
        if self._settings.cleanup_on_exit:
            cleaner = _Worker(self._remove)
            try:
                cleaner.start()
            except RuntimeError as error:
                _log.error(Event.CANNOT_REMOVE, sink=self._sink.name, reason=f"no thread: {error}")
                return 0
            if not cleaner.join(_clean_up_limit(self._settings)):
                _log.error(Event.CANNOT_REMOVE, sink=self._sink.name, reason="no end within the time there is")
        return 0


class _Worker:
    """One piece of work on a thread that the process does not wait for.

    Attributes:
        status: what the work returned; 1 if it raised; None while it is under way.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        self.status: int | None = None
        self._work = work
        self._waiting = threading.main_thread().ident or 0
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        status = 1
        try:
            status = self._work()
        except Exception as error:  # noqa: BLE001  # said, and then the process ends with status 1
            _log.exception(Event.PART_ENDED, error)
        finally:
            self.status = status
            signal.pthread_kill(self._waiting, _WORK_ENDED)


def longest_end(settings: Settings) -> float:
    """Seconds that the service may take to end after a signal: its pod's grace period has to be longer."""
    return _FINISH + _CUT_OFF + (_clean_up_limit(settings) if settings.cleanup_on_exit else 0.0)


def _clean_up_limit(settings: Settings) -> float:
    return _CLEAN_UP_FILE if settings.writes_file else _CLEAN_UP_API


def labels_for(settings: Settings, facts: Facts, before: Labels) -> Labels:
    """The labels that some facts make under these settings, where ``before`` was published when the process started."""
    labels = labels_of(facts, settings.mixed, settings.extra_labels)
    return with_carried_over(labels, before, facts, settings.extra_labels)


def sink_of(settings: Settings) -> Sink:
    """The sink that the settings ask for."""
    if settings.print or (settings.writes_file and settings.output_file == STANDARD_OUTPUT):
        return StandardOutputSink(_print)
    if settings.writes_file:
        return FeatureFileSink(settings.output_file, settings.expiry)
    return _api_sink(settings)


def _api_sink(settings: Settings) -> Sink:
    # Neither is loaded for a file.
    from npu_feature_discovery.sinks.api_sink import NodeFeatureSink, NodeLabelsSink  # noqa: PLC0415
    from npu_feature_discovery.sinks.child import ApiAccess  # noqa: PLC0415

    access = ApiAccess(settings.kubeconfig, settings.service_account_dir, settings.api_timeout)
    node = settings.node_name or ""
    if settings.sink is SinkKind.NODE_LABELS:
        return NodeLabelsSink(access, node)
    return NodeFeatureSink(access, node, settings.namespace or "")


def _print(text: bytes) -> None:
    # One system call, so that a reader of a pipe gets it whole.
    os.write(_STANDARD_OUTPUT, text)
