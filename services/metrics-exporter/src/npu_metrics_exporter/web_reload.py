"""The web configuration in force: follows its file and its certificates, a wrong change leaves the last good one.

The files are looked at whenever a connection comes or something is asked: a change holds from the next of these on, and
while nobody comes nobody looks.
"""

import os
import ssl
from dataclasses import dataclass, field

from npu_core.errors import SettingsError
from npu_core.service.logs import EventLog
from npu_metrics_exporter.tls import context
from npu_metrics_exporter.web_config import WebConfig, load

_log = EventLog(__name__)

_Look = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds for whoever comes now.

    Attributes:
        config: the file's values.
        context: made of them; None for plain HTTP.
        headers: those of the configuration, encoded.
        users: hash by user name.
    """

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: dict[str, bytes] = field(default_factory=dict)


class WebKeeper:
    """Holds the web configuration in force.

    Attributes:
        generation: 1 at the start, one more at each change that was applied.
        error: what is wrong with the files as they are now; empty if they are in force.
    """

    def __init__(self, path: str | None) -> None:
        """The configuration of the file, or none at all.

        Raises:
            SettingsError: with everything that is wrong with it.
        """
        self._path = path
        self._files: tuple[str, ...] = (path,) if path else ()
        self.generation = 1
        self.error = ""
        self._looks: tuple[_Look | None, ...] = ()
        self._in_force = self._load() if path else InForce()

    def current(self) -> InForce:
        """What is in force, after a look whether the files are what they were: a system call for each of them."""
        if self._files and (looks := self._look()) != self._looks:
            self._looks = looks
            self._reload()
        return self._in_force

    def _reload(self) -> None:
        try:
            self._in_force = self._load()
        except SettingsError as error:
            self.error = str(error)
            for problem in error.problems:
                _log.error("web configuration refused, the last good one stays", problem=problem)
            return
        self.error = ""
        self.generation += 1
        _log.info("web configuration applied", generation=self.generation)

    def _load(self) -> InForce:
        assert self._path is not None
        # Each is looked at before it is read: a change during the reading is seen at the next look.
        look = _status(self._path)
        config = load(self._path)
        pems = config.tls.files if config.tls else ()
        self._files, self._looks = (self._path, *pems), (look, *map(_status, pems))
        headers = tuple((name.encode(), value.encode()) for name, value in config.headers)
        made = context(config.tls) if config.tls else None
        return InForce(config, made, headers, dict(config.users))

    def _look(self) -> tuple[_Look | None, ...]:
        return tuple(_status(path) for path in self._files)


def _status(path: str) -> _Look | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # pathlib is not loaded for this
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
