"""What may happen to a node in its random life, drawn from a seed alone: the same seed gives the same acts."""

import random
from dataclasses import dataclass
from typing import TypeAlias

SLOTS = 6
"""How many pods there are at most; acts name pods by slot."""
POLICIES = ("none", "best-effort", "restricted", "single-numa-node")


@dataclass(frozen=True, slots=True)
class Start:
    """A pod begins in a slot, unless the slot has one; what its containers ask for, and how long they run."""

    slot: int
    main: int
    main_seconds: int
    init: int | None = None
    init_seconds: int = 0
    sidecar: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """The pod of a slot is deleted."""

    slot: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Somebody edits the ConfigMap."""

    default_pe: str
    disabled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToCard:
    """Something happens to a card: ``die``, ``revive``, ``disappear``, ``reappear``."""

    index: int
    what: str


@dataclass(frozen=True, slots=True)
class RestartKubelet:
    """The kubelet is restarted; without API server for so many seconds, and a card may be lost meanwhile."""

    kill: bool
    without_api_server: int = 0
    lost_card: int | None = None


@dataclass(frozen=True, slots=True)
class RestartPlugin:
    """The plugin's pod is deleted."""


@dataclass(frozen=True, slots=True)
class RestartContainerd:
    """Containers run on."""


Act: TypeAlias = Start | Delete | Cut | ToCard | RestartKubelet | RestartPlugin | RestartContainerd


class Draw:
    """An endless list of acts.

    Attributes:
        policy: of the kubelet's topology manager.
    """

    def __init__(self, seed: int, cards: int) -> None:
        """Acts for a node with so many Warboy cards."""
        self._random = random.Random(seed)  # noqa: S311  # a test, not a secret
        self._cards = cards
        self._pe = "Fusion"
        self._disabled: tuple[str, ...] = ()
        self.policy = self._random.choice(POLICIES)

    def next(self) -> tuple[float, Act]:
        """Seconds to wait, and the act."""
        makers = {
            self._start: 40,
            self._delete: 12,
            self._cut: 14,
            self._to_card: 14,
            self._restart_kubelet: 8,
            self._restart_plugin: 6,
            self._restart_containerd: 2,
        }
        [make] = self._random.choices(list(makers), list(makers.values()))
        return self._random.uniform(0.2, 3.0), make()

    def _start(self) -> Act:
        kind = self._random.choice(("main", "init and main", "init", "sidecar and main", "init, sidecar and main"))
        count = self._random.randint
        return Start(
            slot=count(0, SLOTS - 1),
            main=0 if kind == "init" else count(1, 2),
            main_seconds=count(3, 40),
            init=count(1, 2) if "init" in kind else None,
            init_seconds=count(3, 25),
            sidecar=1 if "sidecar" in kind else None,
        )

    def _delete(self) -> Act:
        return Delete(self._random.randrange(SLOTS))

    def _cut(self) -> Act:
        if self._random.random() < 2 / 3:
            self._pe = {"Fusion": "Single", "Single": "Fusion"}[self._pe]
        else:
            count = self._random.choice((0, 0, 1, 2))
            self._disabled = tuple(f"npu{index}" for index in sorted(self._random.sample(range(self._cards), count)))
        return Cut(self._pe, self._disabled)

    def _to_card(self) -> Act:
        # Cards come back a little more often than they go, or soon there would be none.
        what = self._random.choice(("die", "revive", "revive", "disappear", "reappear", "reappear"))
        return ToCard(self._random.randrange(self._cards), what)

    def _restart_kubelet(self) -> Act:
        away = self._random.choice((0, 0, 3, 15, 35))
        lost = self._random.choice((None, None, self._random.randrange(self._cards)))
        return RestartKubelet(self._random.random() < 1 / 2, away, lost if away else None)

    def _restart_plugin(self) -> Act:
        return RestartPlugin()

    def _restart_containerd(self) -> Act:
        return RestartContainerd()
