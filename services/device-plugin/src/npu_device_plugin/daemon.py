"""The resting process: what a plain command line becomes.

It never loads the library for command lines, whose weight would stay with it for as long as the node runs.
"""

import os
from collections.abc import Mapping
from functools import partial

from npu_core.config.reload import ReloadableSettings
from npu_core.service import logs
from npu_core.service.event_loop import run_until_signal
from npu_core.service.options import live_fields
from npu_device_plugin import __version__
from npu_device_plugin.app import DevicePlugin
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event
from npu_device_plugin.settings import OPTIONS, load

_log = logs.EventLog(__name__)


def run(options: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Signals have to be held back already.

    Args:
        options: those of the command line, without dashes.

    Raises:
        SettingsError: with everything that is wrong with the settings.
    """
    telemetry = Counters()
    following = ReloadableSettings(partial(load, options, os.environ), live_fields(OPTIONS), telemetry.config)
    settings = following.settings
    logs.configure(settings.log_level, settings.log_format)
    _log.info(Event.STARTING, version=__version__, defaultPe=settings.default_pe, interval=settings.interval)
    run_until_signal(lambda: DevicePlugin(following, telemetry), settings.event_loop)
    _log.info(Event.STOPPED)
    return 0
