"""The resting process: what a plain command line becomes.

It never loads the library for command lines, whose weight would stay with it for as long as the node runs.
"""

import os
from collections.abc import Mapping

from npu_core.service import logs
from npu_feature_discovery import __version__
from npu_feature_discovery.app import Service
from npu_feature_discovery.events import Event
from npu_feature_discovery.settings import load

_log = logs.EventLog(__name__)


def run(options: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT, or until what was asked for is done; returns the exit status.

    Signals have to be held back already.

    Args:
        options: those of the command line, without dashes.

    Raises:
        SettingsError: with everything that is wrong with the settings.
    """
    settings = load(options, os.environ)
    logs.configure(settings.log_level, settings.log_format)
    if settings.ends_by_itself:
        return Service(settings).run()
    _log.info(Event.STARTING, version=__version__, sink=settings.sink, interval=settings.interval)
    status = Service(settings).run()
    _log.info(Event.STOPPED)
    return status
