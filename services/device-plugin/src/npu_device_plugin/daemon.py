"""The resting process: what a plain command line becomes.

It never loads the library for command lines, whose weight would stay with it for as long as the node runs.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping

from npu_core.errors import SettingsError
from npu_core.service import logs
from npu_core.service.lifetime import END_SIGNALS, LOOK_AGAIN, release_signals
from npu_device_plugin import __version__
from npu_device_plugin.app import DevicePlugin
from npu_device_plugin.events import Event
from npu_device_plugin.reload import Reloader
from npu_device_plugin.settings import UVLOOP, Settings
from npu_device_plugin.telemetry import Telemetry

_log = logs.EventLog(__name__)


def run(given: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Signals have to be held back already.

    Args:
        given: the options of the command line, without dashes.
    """
    try:
        reloader = Reloader(given, os.environ, Telemetry())
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    settings = reloader.settings
    logs.configure(settings.log_level, settings.log_format)
    _log.info(Event.STARTING, version=__version__, defaultPe=settings.default_pe, interval=settings.interval)
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        runner.run(_run(reloader))
    _log.info(Event.STOPPED)
    return 0


async def _run(reloader: Reloader) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    plugin = DevicePlugin(reloader)
    loop.add_signal_handler(LOOK_AGAIN, plugin.look_again)
    release_signals()
    await plugin.run(stopped)


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.event_loop != UVLOOP:
        return None
    import uvloop  # noqa: PLC0415  # only where it was asked for

    return uvloop.new_event_loop
