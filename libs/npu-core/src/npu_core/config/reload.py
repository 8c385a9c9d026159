"""Settings that follow their file: a right change is in force at once, a wrong one leaves the last good state."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from npu_core.config.watch import ConfigWatch
from npu_core.errors import SettingsError
from npu_core.service.logs import EventLog

_log = EventLog(__name__)


@dataclass(slots=True)
class ConfigState:
    """How reading the settings went.

    Attributes:
        generation: 1 at the start, one more at each change that was applied.
        digest: of the configuration file last applied; empty without a file.
        error: what was wrong with the last one that was not applied; empty if the file on disk is in force.
    """

    generation: int = 1
    digest: str = ""
    error: str = ""


class FileSettings(Protocol):
    """Settings that may come from a file: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def config_file(self) -> str | None:
        """The path of that file, if they have one."""


S = TypeVar("S", bound=FileSettings)


class Following(Generic[S]):
    """Holds the settings in force.

    Attributes:
        settings: those.
        state: how reading them went.
    """

    def __init__(self, load: Callable[[], S], live: Collection[str], state: ConfigState) -> None:
        """The settings as they are given now.

        Args:
            load: reads them anew from everything they were given by; raises SettingsError.
            live: names of the fields that a change of the file changes at once; the others need a restart.
            state: where it is kept how reading went.

        Raises:
            SettingsError: with everything that is wrong with them.
        """
        self.settings = load()
        self.state = state
        self._load = load
        self._live = frozenset(live)
        self._watch = ConfigWatch(self.settings.config_file) if self.settings.config_file else None
        # Loaded again after the watch began: the file may have changed between the two.
        if self._watch is not None:
            self.settings = load()
            state.digest = self._watch.digest

    def look(self) -> bool:
        """Apply the file's changes, if there are any; whether other settings are in force than before."""
        if self._watch is None or not self._watch.changed():
            return False
        try:
            newer = self._load()
        except SettingsError as error:
            self._refuse(error)
            return False
        return self._apply(newer, self._watch.digest)

    def _refuse(self, error: SettingsError) -> None:
        self.state.error = str(error)
        for problem in error.problems:
            _log.error("configuration refused, the last good one stays", problem=problem)

    def _apply(self, newer: S, digest: str) -> bool:
        self.state.error, self.state.digest = "", digest
        before = self.settings
        self.settings = replace(before, **{name: getattr(newer, name) for name in self._live})
        for name in differences(before, newer):
            old, new = _shown(getattr(before, name)), _shown(getattr(newer, name))
            if name in self._live:
                _log.info("setting changed", setting=name, before=old, now=new)
            else:
                _log.warning("setting changed, needs a restart", setting=name, inForce=old, wanted=new)
        changed = before != self.settings
        self.state.generation += changed
        _log.info("configuration applied", generation=self.state.generation, sha256=digest[:12])
        return changed


def differences(before: FileSettings, after: FileSettings) -> tuple[str, ...]:
    """Names of the fields that are not the same in both."""
    return tuple(item.name for item in fields(before) if getattr(before, item.name) != getattr(after, item.name))


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple | frozenset) else str(value)
