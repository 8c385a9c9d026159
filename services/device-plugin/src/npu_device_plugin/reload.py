"""Settings that follow their file: a right change is in force at once, a wrong one leaves the last good state."""

from collections.abc import Mapping

from npu_core.errors import SettingsError
from npu_core.service.logs import EventLog
from npu_device_plugin.config_watch import ConfigWatch
from npu_device_plugin.settings import LIVE, Settings, load
from npu_device_plugin.telemetry import Telemetry

_log = EventLog(__name__)


class Reloader:
    """Holds the settings in force.

    Attributes:
        settings: those.
        telemetry: where the generation, the digest and the last error are kept.
    """

    def __init__(self, options: Mapping[str, str], environment: Mapping[str, str], telemetry: Telemetry) -> None:
        """The settings as they are given now.

        Raises:
            SettingsError: with everything that is wrong with them.
        """
        self.settings = load(options, environment)
        self.telemetry = telemetry
        self._options = options
        self._environment = environment
        self._watch = ConfigWatch(self.settings.config_file) if self.settings.config_file else None
        # Loaded again after the watch began: the file may have changed between the two.
        if self._watch is not None:
            self.settings = load(options, environment)
            telemetry.config.digest = self._watch.digest

    def look(self) -> None:
        """Apply the file's changes, if there are any."""
        if self._watch is None or not self._watch.changed():
            return
        try:
            newer = load(self._options, self._environment)
        except SettingsError as error:
            self._refuse(error)
            return
        self._apply(newer, self._watch.digest)

    def _refuse(self, error: SettingsError) -> None:
        self.telemetry.config.error = str(error)
        for problem in error.problems:
            _log.error("configuration refused, the last good one stays", problem=problem)

    def _apply(self, newer: Settings, digest: str) -> None:
        config = self.telemetry.config
        config.error, config.digest = "", digest
        before, self.settings = self.settings, self.settings.with_live_changes(newer)
        for name in before.differences(newer):
            old, new = getattr(before, name), getattr(newer, name)
            if name in LIVE:
                _log.info("setting changed", setting=name, before=_shown(old), now=_shown(new))
            else:
                _log.warning("setting changed, needs a restart", setting=name, inForce=_shown(old), wanted=_shown(new))
        if before != self.settings:
            config.generation += 1
        _log.info("configuration applied", generation=config.generation, sha256=digest[:12])


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
