"""Names of resources, by the kubelet's own rules: what it would refuse at registration is refused at load."""

import itertools
import re
from collections.abc import Collection
from dataclasses import dataclass

from npu_core.arch import Arch, arch_spec
from npu_core.claims import Claim
from npu_core.errors import FormatError
from npu_core.partition import UnitId

_REQUESTS = "requests."
_KUBERNETES_DOMAIN = "kubernetes.io/"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_MAX_DOMAIN = 253 - len(_REQUESTS)
_MAX_NAME = 63


def objection(name: str) -> str | None:
    """What the kubelet would expect instead of ``name``; None if it would accept it.

    Source: the kubelet takes extended resources only: a domain, a slash and a name; not a ``kubernetes.io`` domain;
    and ``requests.`` + the name must still be a qualified name, because quotas are called that.
    """
    domain, slash, base = name.partition("/")
    if not slash:
        return "a name with a domain, such as beta.furiosa.ai/npu"
    if _KUBERNETES_DOMAIN in name:
        return "a domain other than kubernetes.io"
    if name.startswith(_REQUESTS):
        return f"a name that does not start with {_REQUESTS!r}"
    if not _DOMAIN.fullmatch(domain) or len(domain) > _MAX_DOMAIN:
        return f"a lower-case DNS domain of at most {_MAX_DOMAIN} characters before the slash"
    if not _NAME.fullmatch(base) or len(base) > _MAX_NAME:
        return f"at most {_MAX_NAME} letters, digits, '-', '_' or '.' after the slash, the ends alphanumeric"
    return None


@dataclass(frozen=True, slots=True)
class ResourceNames:
    """What the families of cards are called in Kubernetes.

    Attributes:
        base: the name of the node's first family; the second one gets ``-<family>`` appended.
        of_family: names that the operator gave to families; they stand before :attr:`base`.
    """

    base: str = "beta.furiosa.ai/npu"
    of_family: tuple[tuple[Arch, str], ...] = ()

    def of_families(
        self, families: Collection[Arch], held: Collection[Claim] = (), taken: Collection[str] = ()
    ) -> dict[Arch, str]:
        """The resource of each family of a node.

        The first family, which gets the base name, is the first one in the order of the architecture table, unless
        containers show that it was another one before we started: a family must not change its name while units of
        it are held, or they would be given out again under the new one. So a family that is alone, but whose second
        name is held, keeps that name: the first family's cards may be found later.

        Args:
            families: those that the node has cards of.
            held: everything that containers hold.
            taken: names that other families have already.
        """
        present = [arch for arch in Arch if arch in families]
        others = [arch for arch in present if not self._speaks_against(arch, held)]
        names = {claim.resource for claim in held}
        candidates = others or [arch for arch in present if self.name(arch, first=False) not in names]
        first = [] if self.base in taken else candidates[:1]
        return {arch: self.name(arch, first=arch in first) for arch in present}

    def _speaks_against(self, arch: Arch, held: Collection[Claim]) -> bool:
        """Whether something is held that shows that the family did not have the base name."""
        second = self.name(arch, first=False)
        return any(
            claim.resource == second if claim.resource != self.base else not _can_be_of(arch, claim) for claim in held
        )

    def name(self, arch: Arch, *, first: bool) -> str:
        """The resource of a family; ``first`` if no other family of the node has the base name."""
        given = dict(self.of_family)
        if arch in given:
            return given[arch]
        return self.base if first and self.base not in given.values() else f"{self.base}-{arch}"

    @property
    def clash(self) -> bool:
        """Whether two families on one node could come under the same name, whichever of them is the first."""
        return any(
            self.name(one, first=True) == self.name(other, first=False)
            for one, other in itertools.permutations(Arch, 2)
        )


def _can_be_of(arch: Arch, claim: Claim) -> bool:
    if claim.arch is not None:
        return claim.arch is arch
    try:
        return arch_spec(arch).cores.encloses(UnitId.parse(claim.device_id).cores)
    except FormatError:
        return True  # somebody else's id says nothing
