"""The web configuration in force: follows its file and its certificates, a wrong change leaves the last good one.

The files are looked at whenever a connection comes or something is asked: a change holds from the next of these on, and
while nobody comes nobody looks. They are read and parsed off the event loop.
"""

import math
import ssl
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

from npu_core.errors import SettingsError
from npu_core.service.file_looks import FileLooks
from npu_core.service.given_files import FileLook, GivenFiles
from npu_core.service.http.server import Tls
from npu_core.service.logs import EventLog
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.web.config_file import WebConfig, load
from npu_metrics_exporter.web.protection import unsaid_losses
from npu_metrics_exporter.web.tls import context, is_allowed

_log = EventLog(__name__)
_SAME_REFUSAL_SECONDS = 60.0
"""In which a refusal is not told again."""
_AGAIN_SECONDS = 10.0
"""After which refused files are read again, although they look the same: what kept them from being read, such as a lack
of file descriptors or a server that did not answer, may end without a trace in the files."""


@dataclass(frozen=True, slots=True)
class ActiveWebConfig:
    """What holds for whoever comes now.

    Attributes:
        config: the file's values.
        context: made of them; None for plain HTTP.
        headers: those of the configuration, encoded.
        users: hash by user name.
        digests: of what each file said, by path.
        open_key: path and mode of a key that every user of the machine may read; None if there is none.
    """

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: dict[str, bytes] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)
    open_key: tuple[str, int] | None = None


class WebConfigReloader:
    """Holds the web configuration in force.

    Attributes:
        generation: 1 at the start, one more at each change that was applied.
    """

    def __init__(self, path: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """The configuration of the file, or none at all. Logs, so the log has to be set up.

        Args:
            path: of the file; None for no configuration.
            clock: seconds that do not go back.

        Raises:
            SettingsError: with everything that is wrong with it.
        """
        self._path = path
        self._clock = clock
        self._given = GivenFiles()
        self._modes: dict[str, int] = {}
        self._digests: dict[str, bytes] = {}
        self._told_refusal, self._tell_again_at = "", 0.0
        self._files: tuple[str, ...] = (path,) if path else ()
        self._seen: tuple[FileLook | None, ...] = ()
        self._refused = ""
        self._again_at = math.inf
        self._looks: FileLooks[ActiveWebConfig | SettingsError | None] = FileLooks(self._look)
        self._told_key: tuple[str, int] | None = None
        self._refusal = self._complaint = ""
        self.generation = 1
        self._in_force = self._load() if path else ActiveWebConfig()
        self._given.started()
        self._warn_of_key()

    @property
    def error(self) -> str:
        """What is wrong with the files as they are now; empty if they are in force."""
        return f"{self._path}: {self._complaint}" if self._complaint else self._refusal

    def current(self) -> ActiveWebConfig:
        """What is in force. Begins a look whether the files are what they were, and does not wait for its end."""
        if self._path is not None:
            self._collect()
            self._looks.begin()
        return self._in_force

    async def follow(self) -> ActiveWebConfig:
        """What is in force, after a look whether the files are what they were.

        A look that takes long is not waited for: what it finds holds for whoever comes later.
        """
        if self._path is not None:
            self._looks.begin()
            await self._looks.wait()
            self._collect()
        return self._in_force

    async def tls(self) -> Tls | None:
        """How a connection that comes now is encrypted; None for plain HTTP."""
        in_force = await self.follow()
        if in_force.context is None or in_force.config.tls is None:
            return None
        tls = in_force.config.tls
        authority = tls.client_ca and (tls.client_ca.text or in_force.digests.get(tls.client_ca.path or ""))
        proof = (tls.client_auth, tls.allowed_sans, authority)
        return Tls(in_force.context, partial(is_allowed, sans=tls.allowed_sans), proof)

    def look(self) -> ActiveWebConfig:
        """As :meth:`follow`, on this thread, which a file may hold up. Not beside :meth:`current` or :meth:`follow`."""
        self._take(self._look())
        return self._in_force

    def _collect(self) -> None:
        self._take(self._looks.take())
        complaint = self._looks.complaint
        if complaint and not self._complaint:
            _log.error(Event.WEB_UNREADABLE, path=self._path, reason=complaint)
        elif self._complaint and not complaint:
            _log.info(Event.WEB_READABLE, path=self._path)
        self._complaint = complaint

    def _take(self, found: ActiveWebConfig | SettingsError | None) -> None:
        if found is None:
            return
        if isinstance(found, SettingsError):
            self._refusal = str(found)
            self._tell_refusal(found)
            return
        if found.digests == self._in_force.digests:
            # As when a file was copied over by itself: nothing is new, and for a moment the file was cut off.
            self._refusal = ""
            return
        ended = self._in_force.config.protections - found.config.protections
        self._in_force, self._refusal = found, ""
        self.generation += 1
        for protection in sorted(ended):
            _log.warning(Event.PROTECTION_ENDED, path=self._path, setting=protection)
        _log.info(Event.WEB_APPLIED, generation=self.generation)
        self._warn_of_key()

    def _tell_refusal(self, found: SettingsError) -> None:
        # A file that is written again and again may be cut off each time: that is told once a minute.
        now = self._clock()
        if self._refusal == self._told_refusal and now < self._tell_again_at:
            return
        self._told_refusal, self._tell_again_at = self._refusal, now + _SAME_REFUSAL_SECONDS
        for problem in found.told:
            _log.error(Event.WEB_REFUSED, problem=problem)

    def _warn_of_key(self) -> None:
        key = self._in_force.open_key
        if key is not None and key != self._told_key:
            path, mode = key
            _log.warning(
                Event.OPEN_KEY,
                path=path,
                mode=f"{mode:04o}",
                expected="0640 or stricter",
            )
        self._told_key = key

    # -- off the event loop: nothing of what is above is touched ---------------------------------------------------

    def _look(self) -> ActiveWebConfig | SettingsError | None:
        """What the files say, if that changed, or if what they say could not be told before."""
        if self._path is None:
            return None
        now, is_same = self._clock(), self._look_at(self._files) == self._seen
        if is_same and now < self._again_at:
            return None
        self._again_at = now + _AGAIN_SECONDS
        found = self._loaded(self._path)
        before, self._refused = self._refused, str(found) if isinstance(found, SettingsError) else ""
        if not self._refused:
            self._again_at = math.inf
        return None if is_same and self._refused == before else found

    def _loaded(self, path: str) -> ActiveWebConfig | SettingsError:
        before = self._in_force.config.protections
        try:
            found = self._load()
        except SettingsError as error:
            return error
        losses = unsaid_losses(before, found.config.protections, found.config.switched_off, path)
        return SettingsError(losses) if losses else found

    def _load(self) -> ActiveWebConfig:
        assert self._path is not None
        # Each is looked at before it is read: a change during the reading is seen at the next look.
        self._digests = {}
        self._files = (self._path, *self._files[1:])
        self._seen = self._look_at(self._files)
        config = load(self._path, self._read)
        pems = config.tls.files if config.tls else ()
        self._files = (self._path, *pems)
        self._seen = (self._seen[0], *self._look_at(pems))
        headers = tuple((name.encode(), value.encode()) for name, value in config.headers)
        made = context(config.tls, self._read) if config.tls else None
        return ActiveWebConfig(config, made, headers, dict(config.users), self._digests, self._open_key(config))

    def _read(self, path: str) -> bytes:
        given = self._given.read(path)
        self._modes[path], self._digests[path] = given.mode, blake2b(given.content).digest()
        return given.content

    def _open_key(self, config: WebConfig) -> tuple[str, int] | None:
        path = config.tls.key.path if config.tls else None
        mode = self._modes.get(path, 0) if path else 0
        return (path, mode) if path and mode & stat.S_IROTH else None

    def _look_at(self, paths: tuple[str, ...]) -> tuple[FileLook | None, ...]:
        return tuple(map(self._given.look, paths))
