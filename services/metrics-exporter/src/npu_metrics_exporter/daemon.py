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
from npu_metrics_exporter import __version__
from npu_metrics_exporter.app import Exporter
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.settings import OPTIONS, load
from npu_metrics_exporter.web.reload import WebConfigReloader

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
    keeper = WebConfigReloader(settings.web_config_file)
    _log.info(Event.STARTING, version=__version__, interval=settings.interval, podLabels=settings.pod_labels)
    run_until_signal(lambda: Exporter(following, keeper, telemetry), settings.event_loop)
    _log.info(Event.STOPPED)
    return 0
