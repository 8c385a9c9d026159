"""Looks at all that the kubelet is told and at every admission, as it happens, and notes what must not be."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from npu_core.arch import Arch, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.errors import FormatError
from npu_core.partition import FUSION, Partitioning, UnitId, partitionings_of
from npu_core.testing import FakeCard, FakeHost
from npu_core.testing.plan import all_suffixes
from testkit.services.plugin import PluginProcess
from testkit.standins.kubelet import ContainerGrant, Event, EventKind, NodeView, PodView, StandInKubelet
from tools.faults.invariants import (
    Disabled,
    Expected,
    Holder,
    double_holds,
    family_of,
    grant_problems,
    lacking_files,
    listing_problems,
    offered_twice,
    vanished,
)

RESOURCE = "beta.furiosa.ai/npu"
LAG = 4.0
"""Seconds after which the plugin has surely seen a change, also behind a PodResources that does not answer."""
FORGOTTEN = 50.0
"""Seconds for which a lost card is surely listed: the plugin forgets it after sixty, if nobody holds it."""
SETTLED = 14.0
"""Seconds for which a card's device files have to stay as they are before it may lack some: fifteen, less slack."""
_OFFERING = re.compile(r" offering resource=(\S+) family=(\S+)")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the configuration file says, as far as it changes."""

    default_pe: Partitioning = FUSION
    disabled: tuple[Disabled, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """A list message, and what was true when it came."""

    event: Event
    held: tuple[Holder, ...]
    disabled: frozenset[CardKey]
    well: frozenset[CardKey]
    gone: frozenset[CardKey]
    is_late: bool


@dataclass(slots=True)
class _CardHistory:
    """A card, and what became of it.

    Attributes:
        card: the card.
        numbers: the numbers that it has had, as far as the plugin that runs has seen it with them.
        touched: when something happened to it last; 0 if nothing did.
        files: which device files it had, from when on.
    """

    card: FakeCard
    numbers: set[int]
    touched: float = 0.0
    files: list[tuple[float, frozenset[str]]] = field(default_factory=list)


class Watch:
    """Knows what pods hold, what happened to the cards and what is wished for, and judges what it sees.

    Attributes:
        broken: the invariants that did not hold so far, in words.
        slow: whether the kubelet reads so slowly that what it is told may be outdated.
        blind: whether the plugin may not be able to look at the cards, so that what it tells may be outdated.
    """

    def __init__(self, host: FakeHost, wish: Wish) -> None:
        self.broken: list[str] = []
        self.slow = False
        self.blind = False
        self.kubelet: StandInKubelet
        self._host = host
        self._plugin: PluginProcess | None = None
        self._read = 0
        self._names: dict[Arch, str] = {}
        self._usual = {arch: _usual_name(arch, self.families) for arch in self.families}
        self._seen: set[CardKey] = set()
        self._later: list[_Told] = []
        self._wishes: list[tuple[float, Wish]] = [(0.0, wish)]
        # By the first number that a card had, which stands for the card ever after.
        self._cards = {
            key_of(card): _CardHistory(card, {card.plan.index}, files=[(0.0, _files(card))]) for card in host.cards
        }
        self._numbers_ever = set(self._cards)
        self._cards_of_holders: dict[tuple[str, str, str, UnitId], CardKey] = {}
        self._granted: dict[tuple[str, CardKey, UnitId], None] = {}

    # -- events -------------------------------------------------------------------------------------------------

    def plugin_starts(self, plugin: PluginProcess) -> None:
        """Another plugin process takes over: it names the families anew, and knows no card."""
        self._judge_later_ones()
        self._plugin, self._read = plugin, 0
        for history in self._cards.values():
            history.numbers = {history.card.plan.index}
        self._names.clear()
        self._seen.clear()
        self._later.clear()

    def wishes(self, wish: Wish) -> None:
        """The configuration file wishes for this from now on."""
        self._wishes.append((time.monotonic(), wish))

    def touch(self, card: FakeCard) -> None:
        """Something happens to the card."""
        self._history(card).touched = time.monotonic()

    def files_changed(self, card: FakeCard) -> None:
        """Device files of the card came or went."""
        self.touch(card)
        self._history(card).files.append((time.monotonic(), _files(card)))

    def renumbered(self, card: FakeCard) -> None:
        """The card has another number now, which no card had before."""
        self._history(card).numbers.add(card.plan.index)
        self._numbers_ever.add(key_of(card))
        self.files_changed(card)

    def free_number(self, arch: Arch) -> int:
        """A number that no card of the family ever had."""
        return max(index for family, index in self._numbers_ever if family is arch) + 1

    def has_listed(self, card: FakeCard) -> bool:
        """Whether the plugin that runs has told the kubelet of the card under its number, as a healthy one."""
        return key_of(card) in self._seen

    def _history(self, card: FakeCard) -> _CardHistory:
        return next(history for history in self._cards.values() if history.card is card)

    # -- what is true ---------------------------------------------------------------------------------------------

    @property
    def families(self) -> tuple[Arch, ...]:
        """The families of the machine's cards, present or not."""
        there = {card.plan.arch for card in self._host.cards}
        return tuple(arch for arch in Arch if arch in there)

    @property
    def names(self) -> dict[Arch, str]:
        """The resource of each family, as the plugin that runs has said; of others as yet unnamed nothing."""
        if self._plugin is not None:
            for line in self._plugin.log[self._read :]:
                if found := _OFFERING.search(line):
                    self._names[Arch(found[2])] = found[1]
            self._read = len(self._plugin.log)
            self._usual |= self._names
        return self._names

    def resource(self, arch: Arch) -> str:
        """The resource of a family, as it was last known."""
        return self.names.get(arch) or self._usual[arch]

    def holders(self) -> tuple[Holder, ...]:
        """Every unit that a container of a live pod was given, init containers' included."""
        pods = self.kubelet.view().pods.values()
        return tuple(
            self._holder(pod, grant, resource, UnitId.parse(text))
            for pod in pods
            if pod.admitted is not None and not pod.phase.terminal
            for grant in pod.admitted.containers
            for resource, ids in grant.device_ids.items()
            for text in ids
        )

    def _holder(self, pod: PodView, grant: ContainerGrant, resource: str, unit: UnitId) -> Holder:
        # The card as of the pod's admission: later the resource, or the number, may be another one's.
        key = (pod.uid, grant.container, resource, unit)
        if key not in self._cards_of_holders:
            named = {name: arch for arch, name in self.names.items()}
            arch = family_of(grant, unit) or named.get(resource) or self.families[0]
            self._cards_of_holders[key] = self.cards_by_number(arch).get(unit.index, (arch, unit.index))
        return Holder(pod.name, grant.container, resource, self._cards_of_holders[key], unit)

    def cards_by_number(self, arch: Arch) -> dict[int, CardKey]:
        """The cards of a family by the number that they have now."""
        return {history.card.plan.index: key for key, history in self._cards.items() if key[0] is arch}

    def _is_traceable(self, holder: Holder) -> bool:
        """Whether anything tells whose cores these are: after its restart, no plugin knows numbers that a card had."""
        return holder.unit.index in self._cards[holder.card].numbers

    def card(self, key: CardKey) -> FakeCard:
        """The card that had this number at first."""
        return self._cards[key].card

    # -- what it sees ---------------------------------------------------------------------------------------------

    def see(self, event: Event) -> None:
        """Judge what just happened. Raising here would be the kubelet's error."""
        if event.kind is EventKind.LIST_MESSAGE:
            self._see_message(event)
        elif event.kind is EventKind.ALLOCATE and not event.text:
            self._note_grant(event)
        elif event.kind is EventKind.POD_ADMITTED:
            self.broken.extend(f"{event.pod}: {each}" for each in self._admission_problems(event))
        elif event.kind is EventKind.PANICKED and not (self.slow and "allocateContainerResources" in event.text):
            # A slow kubelet may read an outdated list in the middle of an admission.
            self.broken.append(f"the kubelet died: {event.text}")

    def _note_grant(self, event: Event) -> None:
        for arch, name in self.names.items():
            if name == event.resource:
                for unit in map(UnitId.parse, event.ids):
                    card = self.cards_by_number(arch).get(unit.index, (arch, unit.index))
                    self._granted[name, card, unit] = None

    def _see_message(self, event: Event) -> None:
        told = _Told(
            event,
            self.holders(),
            frozenset(self._disabled_lately()),
            frozenset(self._well()),
            frozenset(self._forgotten()),
            self.slow or self.blind,
        )
        if event.resource in self.names.values():
            self._judge_message(told)
        else:
            self._later.append(told)

    def _judge_later_ones(self) -> None:
        """Judge messages of resources that the log had not named when they came."""
        named = set(self.names.values())
        waiting, self._later = self._later, []
        for told in waiting:
            if told.event.resource in named:
                self._judge_message(told)
            else:
                self._later.append(told)

    def _judge_message(self, told: _Told) -> None:
        problems = (f"{each} (told at {told.event.at:.3f})" for each in self._message_problems(told))
        self.broken.extend(problems)

    def _message_problems(self, told: _Told) -> Iterator[str]:
        resource, devices = told.event.resource, told.event.devices
        family = next(arch for arch, name in self.names.items() if name == resource)
        yield from listing_problems(devices, self._possible(resource, family), family)
        listed = {(family, unit.index) for device in devices if (unit := _parsed(device.id))}
        # What is read late was true when it was sent.
        if not told.is_late:
            yield from vanished(devices, resource, told.held)
            cards = self.cards_by_number(family)
            yield from offered_twice(devices, resource, cards, filter(self._is_traceable, told.held))
            seen = {key for key in self._seen if key[0] is family and key[1] in cards}
            for _, index in sorted(seen - listed - told.disabled - told.gone):
                yield f"npu{index} ({family}) is not listed any more"
            well = {key for key in told.well - told.disabled if key[0] is family}
            if not devices and well:
                yield f"an empty list of {resource}, while there is npu{min(index for _, index in well)}"
        # An id of a card that this plugin has not found may be listed for its holder only, and is never healthy.
        self._seen |= {(family, unit.index) for device in devices if device.healthy and (unit := _parsed(device.id))}

    def _possible(self, resource: str, family: Arch) -> set[UnitId]:
        spec = arch_spec(family)
        ranges = {cores for policy in partitionings_of(spec) for cores in policy.core_ranges(spec)}
        indices = {index for arch, index in self._numbers_ever if arch is family}
        given = {unit for name, _, unit in self._granted if name == resource}
        return {UnitId(index, cores) for index in indices for cores in ranges} | given

    def _admission_problems(self, event: Event) -> Iterator[str]:
        families = dict[str, Arch]()
        for holder in self.holders():
            self._granted[holder.resource, holder.card, holder.unit] = None
            if holder.pod == event.pod:
                families[holder.resource] = holder.card[0]
        yield from self._double_holds()
        admitted = self.kubelet.view().pod(event.pod).admitted
        assert admitted is not None
        for grant in admitted.containers:
            yield from (f"{grant.container}: {each}" for each in grant_problems(grant, families))
            for (arch, index), suffix in lacking_files(grant, families):
                card = self.cards_by_number(arch).get(index)
                if card is not None and not self._may_lack(card, suffix):
                    yield f"{grant.container} was given npu{index} ({arch}) without {suffix}, before its files settled"

    def _double_holds(self) -> Iterator[str]:
        return double_holds(tuple(filter(self._is_traceable, self.holders())))

    def _may_lack(self, card: CardKey, suffix: str) -> bool:
        """Whether the file was not there for so long, until lately, that the plugin may take the card for whole."""
        now, history = time.monotonic(), self._cards[card].files
        ends = [*(at for at, _ in history[1:]), now]
        return any(
            suffix not in there and end - at > SETTLED and now - end < LAG
            for (at, there), end in zip(history, ends, strict=True)
        )

    def _disabled_lately(self) -> set[CardKey]:
        """The cards that a configuration disables, or part of them, which the plugin may still go by."""
        now = time.monotonic()
        ends = [*(at for at, _ in self._wishes[1:]), now]
        lately = [wish for (_, wish), end in zip(self._wishes, ends, strict=True) if now - end < LAG]
        return {
            key_of(history.card)
            for key, history in self._cards.items()
            for wish in lately
            for entry in wish.disabled
            if entry.means(key[0], history.numbers | {key[1]})
        }

    def _well(self) -> set[CardKey]:
        """The cards that are there and that nothing has happened to for a while."""
        now = time.monotonic()
        return {key_of(card) for card in self._host.cards if card.present and now - self._history(card).touched > LAG}

    def _forgotten(self) -> set[CardKey]:
        """The cards that are gone for so long that the plugin may have forgotten them."""
        now = time.monotonic()
        return {
            key_of(card)
            for card in self._host.cards
            if not card.present and now - self._history(card).touched > FORGOTTEN
        }

    def check(self) -> None:
        """After a step: see what has become clear meanwhile, and who holds what."""
        self._judge_later_ones()
        self.broken.extend(self._double_holds())

    # -- after everything was healed ------------------------------------------------------------------------------

    def differences(self, view: NodeView, wish: Wish, *, strict: bool) -> Iterator[str]:
        """How what the kubelet has differs from what is right.

        Args:
            view: the node.
            wish: what the configuration says.
            strict: whether what pods held that ended has to be free; else it may be, or not yet.
        """
        held, names = self.holders(), self.names
        for arch in self.families:
            resource = names.get(arch)
            if resource is None:
                yield f"no resource for {arch}"
                continue
            units = {UnitId.parse(text): False for text in view.unhealthy(resource)}
            units |= {UnitId.parse(text): True for text in view.healthy(resource)}
            ordered = dict(sorted(units.items(), key=lambda item: str(item[0])))
            for key in sorted(self._cards):
                if key[0] is arch:
                    yield from self._expected(key, resource, held, wish, strict=strict).problems(ordered)

    def _expected(self, card: CardKey, resource: str, held: Iterable[Holder], wish: Wish, *, strict: bool) -> Expected:
        history = self._cards[card]
        number = history.card.plan.index
        mine = {holder for holder in held if holder.card == card}
        own = {holder for holder in mine if (holder.resource, holder.unit.index) == (resource, number)}
        lost = {holder for holder in mine if not self._is_traceable(holder)}
        strays = {
            holder
            for holder in held
            if holder.card != card and (holder.resource, holder.unit.index) == (resource, number)
        }
        recent = {
            unit.cores
            for name, key, unit in self._granted
            if not strict and (key == card or (name, unit.index) == (resource, number))
        }
        return Expected(
            (card[0], number),
            frozenset(history.numbers),
            wish.default_pe,
            _cores(own),
            _cores(mine - own - lost),
            _cores(strays),
            frozenset(recent | _cores(lost)) - _cores(own),
            tuple(self._numbered(entry) for entry in wish.disabled),
        )

    def _numbered(self, entry: Disabled) -> Disabled:
        """An entry by UUID or PCI address means the card whatever its number is."""
        if entry.arch is None:
            return entry
        return replace(entry, index=self._cards[entry.arch, entry.index].card.plan.index)


def _cores(held: Iterable[Holder]) -> frozenset[CoreRange]:
    return frozenset(holder.unit.cores for holder in held)


def key_of(card: FakeCard) -> CardKey:
    """The card's family and number."""
    return card.plan.arch, card.plan.index


def _parsed(text: str) -> UnitId | None:
    try:
        return UnitId.parse(text)
    except FormatError:
        return None


def _files(card: FakeCard) -> frozenset[str]:
    """The suffixes of the device files that there are."""
    if not card.present:
        return frozenset()
    return frozenset(all_suffixes(card.plan.spec)) - card._absent


def _usual_name(arch: Arch, families: tuple[Arch, ...]) -> str:
    return RESOURCE if arch is families[0] else f"{RESOURCE}-{arch}"
