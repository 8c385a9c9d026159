"""The resting process: what a plain command line becomes.

It never loads the library for command lines, whose weight would stay with it for as long as the node runs.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial

from npu_core.config.reload import Following
from npu_core.errors import SettingsError
from npu_core.service import logs
from npu_core.service.lifetime import END_SIGNALS, LOOK_AGAIN, release_signals
from npu_metrics_exporter import __version__
from npu_metrics_exporter.app import Exporter
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.settings import LIVE, Settings, load
from npu_metrics_exporter.telemetry import Telemetry
from npu_metrics_exporter.web_reload import WebKeeper

_log = logs.EventLog(__name__)


def run(given: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Signals have to be held back already.

    Args:
        given: the options of the command line, without dashes.
    """
    telemetry = Telemetry()
    try:
        following = Following(partial(load, given, os.environ), LIVE, telemetry.config)
        settings = following.settings
        logs.configure(settings.log_level, settings.log_format)
        keeper = WebKeeper(settings.web_config_file)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _log.info(Event.STARTING, version=__version__, interval=settings.interval, podLabels=settings.pod_labels)
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        runner.run(_run(Exporter(following, keeper, telemetry)))
    _log.info(Event.STOPPED)
    return 0


async def _run(exporter: Exporter) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(LOOK_AGAIN, exporter.look_again)
    release_signals()
    await exporter.run(stopped)


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.event_loop == "asyncio":
        return None
    import uvloop  # noqa: PLC0415  # not loaded where asyncio is chosen

    return uvloop.new_event_loop
