"""The resting process: started by the command line in its own place, with the options it has checked.

It parses the settings anew from what was given, so that it needs no library for command lines, whose weight would
stay with it for as long as the node runs.
"""

import json
import os
import sys

from npu_core.errors import SettingsError
from npu_core.service import logs
from npu_core.service.lifetime import WITH_HANGUP, hold_signals
from npu_feature_discovery import __version__
from npu_feature_discovery.app import Service
from npu_feature_discovery.settings import load

_log = logs.EventLog(__name__)


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    try:
        settings = load(json.loads(arguments[0]), os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level, settings.log_format)
    _log.info("starting", version=__version__, sink=settings.sink, interval=settings.interval)
    status = Service(settings).run()
    _log.info("stopped")
    return status


if __name__ == "__main__":
    hold_signals(WITH_HANGUP)
    sys.exit(main(sys.argv[1:]))
