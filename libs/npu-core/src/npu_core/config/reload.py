"""Settings that follow their file: a right change is in force at once, a wrong one leaves the last good state."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from npu_core.config.watch import ConfigWatch
from npu_core.errors import SettingsError
from npu_core.service.events import SharedEvent
from npu_core.service.file_looks import FileLooks
from npu_core.service.given_files import GivenFiles, ReadFile
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


@dataclass(frozen=True, slots=True)
class Finding(Generic[S]):
    """What a changed file says.

    Attributes:
        settings: made of it, or everything that is wrong with it.
        digest: of its content.
    """

    settings: S | SettingsError
    digest: str


class ReloadableSettings(Generic[S]):
    """Holds the settings in force.

    Attributes:
        settings: those.
        state: how reading them went.
    """

    def __init__(self, load: Callable[[ReadFile], S], live: Collection[str], state: ConfigState) -> None:
        """The settings as they are given now.

        Args:
            load: makes them anew of everything they were given by; its argument reads the file. Raises SettingsError.
            live: names of the fields that a change of the file changes at once; the others need a restart.
            state: where it is kept how reading went.

        Raises:
            SettingsError: with everything that is wrong with them.
        """
        self.state = state
        self._load = load
        self._live = frozenset(live)
        self._files = GivenFiles()
        self._watch: ConfigWatch | None = None
        self._looks: FileLooks[Finding[S] | None] = FileLooks(self._look)
        self._refusal = self._complaint = ""
        self.settings = load(self._read)
        self._files.started()
        state.digest = self._digest()

    def look(self) -> bool:
        """Look at the file and apply what changed; whether other settings are in force than before.

        On this thread, which a file may hold up: see :meth:`follow`.
        """
        return self._take(self._look())

    async def follow(self) -> bool:
        """As :meth:`look`, off the event loop. A file that is slow to read is applied at a later call."""
        if self._watch is None or not self._watch.can_change:
            return False
        self._looks.begin()
        await self._looks.wait()
        changed = self._take(self._looks.take())
        self._complain(self._looks.complaint)
        return changed

    def _read(self, path: str) -> bytes:
        if self._watch is None:
            self._watch = ConfigWatch(path, self._files)
        return self._watch.content()

    def _digest(self) -> str:
        return "" if self._watch is None else self._watch.digest

    def _look(self) -> Finding[S] | None:
        """What the file says, if that changed. Touches nothing that the event loop works with."""
        if self._watch is None or not self._watch.changed():
            return None
        try:
            return Finding(self._load(self._read), self._watch.digest)
        except SettingsError as error:
            return Finding(error, self._watch.digest)

    def _take(self, found: Finding[S] | None) -> bool:
        if found is None:
            return False
        if isinstance(found.settings, SettingsError):
            self._refuse(found.settings)
            return False
        return self._apply(found.settings, found.digest)

    def _refuse(self, error: SettingsError) -> None:
        self._refusal = self.state.error = str(error)
        for problem in error.told:
            _log.error(SharedEvent.CONFIGURATION_REFUSED, problem=problem)

    def _complain(self, complaint: str) -> None:
        if complaint == self._complaint:
            return
        path = self.settings.config_file
        if complaint:
            _log.error(SharedEvent.CONFIGURATION_UNREADABLE, path=path, reason=complaint)
        else:
            _log.info(SharedEvent.CONFIGURATION_READABLE, path=path)
        self._complaint = complaint
        self.state.error = f"{path}: {complaint}" if complaint else self._refusal

    def _apply(self, newer: S, digest: str) -> bool:
        self._refusal = self.state.error = ""
        self.state.digest = digest
        before = self.settings
        self.settings = replace(before, **{name: getattr(newer, name) for name in self._live})
        for name in differences(before, newer):
            old, new = _shown(getattr(before, name)), _shown(getattr(newer, name))
            if name in self._live:
                _log.info(SharedEvent.SETTING_CHANGED, setting=name, before=old, now=new)
            else:
                _log.warning(SharedEvent.SETTING_NEEDS_RESTART, setting=name, inForce=old, wanted=new)
        changed = before != self.settings
        self.state.generation += changed
        _log.info(SharedEvent.CONFIGURATION_APPLIED, generation=self.state.generation, sha256=digest[:12])
        return changed


def differences(before: FileSettings, after: FileSettings) -> tuple[str, ...]:
    """Names of the fields that are not the same in both."""
    return tuple(item.name for item in fields(before) if getattr(before, item.name) != getattr(after, item.name))


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple | frozenset) else str(value)
