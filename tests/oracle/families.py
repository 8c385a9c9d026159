"""The two families of cards, each with its library's reader and the environment that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from npu_core.arch import Arch, arch_spec
from npu_core.device import Device
from npu_core.host import Host
from npu_core.testing import CardPlan, FakeCard, FakeHost, rngd, warboy
from tests.oracle.compare import Card, RngdCard, WarboyCard, differing_fields
from tests.oracle.library_records import rngds_of_library, warboys_of_library
from tests.oracle.namespace import run_reader
from tests.oracle.our_records import our_rngds, our_warboys

C_co = TypeVar("C_co", bound=Card, covariant=True)

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Family(Generic[C_co]):
    """One family of cards, and the two readings of those of a simulated host."""

    arch: Arch
    plan: Callable[..., CardPlan]
    nickname: str
    """In the names of the environment and of the reader."""
    of_library: Callable[[object], Mapping[str, C_co]]
    of_host: Callable[[Host], Mapping[str, C_co]]

    @property
    def environment(self) -> Path:
        """The virtual environment that holds the library."""
        return _ROOT / f".venv-oracle-{self.nickname}"

    def card(self, host: FakeHost, index: int = 0) -> FakeCard:
        """One of the family's cards."""
        return host.card(self.arch, index)

    def answer(self, host: FakeHost) -> object:
        """What the vendor's library says of the host, as its reader printed it.

        Raises:
            OracleError: the library gave up.
        """
        reader = _HERE / "readers" / f"read_{self.nickname}.py"
        return run_reader(reader, self.environment / "bin" / "python", host.root)

    def library(self, host: FakeHost) -> Mapping[str, C_co]:
        """What the vendor's library says of the host, by card.

        Raises:
            OracleError: the library gave up.
        """
        return self.of_library(self.answer(host))

    def ours(self, host: FakeHost) -> Mapping[str, C_co]:
        """What npu_core says of the host, by card."""
        return self.of_host(host.open())

    def differences(self, host: FakeHost, name: str = "npu0") -> dict[str, tuple[object, object]]:
        """The fields of one card that the two differ in: what the library says, and what npu_core does."""
        theirs, ours = self.library(host)[name], self.ours(host)[name]
        return {field: (one, other) for field, one, other in differing_fields(theirs, ours)}

    def device(self, host: FakeHost, index: int = 0) -> Device:
        """One of the family's cards, as npu_core found it."""
        found = host.open().inventory().device(self.arch, index)
        assert found is not None, f"npu_core lists no {self.arch} card {index}"
        return found

    def entry(self, host: FakeHost, name: str) -> Path:
        """What the family's sysfs class holds of a device file."""
        spec = arch_spec(self.arch)
        return Path(host.sysfs, "class", spec.sysfs_class, spec.sysfs_name(name))


WARBOY: Family[WarboyCard] = Family(Arch.WARBOY, warboy, "warboy", warboys_of_library, our_warboys)
RNGD: Family[RngdCard] = Family(Arch.RENEGADE, rngd, "rngd", rngds_of_library, our_rngds)
