"""Keeping our CDI files: as they are offered, or, where names are not given any more, until nobody looks them up."""

import os

from npu_core.arch import Arch
from npu_core.os_errors import explain
from npu_core.partition import UnitId
from npu_core.service.logs import EventLog
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_device_plugin.allocation.resource_state import Offer
from npu_device_plugin.cdi import SpecDirectory, spec_texts
from npu_device_plugin.events import Event

_log = EventLog(__name__)


class CdiKeeper:
    """Writes what containers are given names of, and removes what an earlier configuration left."""

    def __init__(self, directory: str, injection: DeviceInjection) -> None:
        """A keeper of our files in ``directory``."""
        self._directory = SpecDirectory(directory)
        self._injection = injection
        self._users: frozenset[tuple[Arch, UnitId]] | None = None
        self._is_clear = False
        self._complaint = ""

    def follow(self, offered: tuple[Offer, ...], held: frozenset[tuple[Arch, UnitId]] | None, *, serving: bool) -> None:
        """Bring the files up to date, before the kubelet hears of the units.

        Args:
            offered: what is offered now.
            held: the units that containers hold and that were not given out just now; None if nobody can tell.
            serving: whether the kubelet listens to us, so that no earlier instance needs the files any more.
        """
        try:
            if self._injection.cdi:
                self._directory.write(spec_texts(offered))
            elif not self._is_clear:
                self._clear_when_unused(held, serving=serving)
        except OSError as error:
            path = self._directory.path
            self._complain(explain(error, path, setting="--cdi-dir", purpose="CDI files", wants=os.W_OK))
        else:
            self._complain("")

    def _clear_when_unused(self, held: frozenset[tuple[Arch, UnitId]] | None, *, serving: bool) -> None:
        """Remove what an earlier configuration left, as soon as nothing is held any more that was held at the start.

        The kubelet gives a container that restarts the names it had, and a name that cannot be looked up keeps it from
        starting.
        """
        if held is None:
            return
        # Noted before the first unit is given out: what is given out later comes as files, not as names.
        self._users = held if self._users is None else self._users & held
        if serving and not self._users:
            if self._directory.clear():
                _log.info(Event.CDI_FILES_REMOVED)
            self._is_clear = True

    def _complain(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            _log.error(Event.CANNOT_WRITE_CDI, reason=complaint)
        self._complaint = complaint
