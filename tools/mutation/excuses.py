"""Mutants that no test could notice, because they do what the module does. Few, each with its reason."""

from collections.abc import Iterable
from dataclasses import dataclass

from tools.mutation.mutants import Mutant


@dataclass(frozen=True, slots=True)
class Excuse:
    """A mutant that is not counted.

    Attributes:
        module: which it is of.
        before: the lines that it changes, on one line.
        after: what it makes of them.
        reason: why that is the same.
    """

    module: str
    before: str
    after: str
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        """Whether that mutant is meant."""
        return (self.module, self.before, self.after) == (mutant.source.name, mutant.before, mutant.after)


_REFUSED_ANYWAY = "a card's number of four digits is refused for being more than 255, in the same words"

EXCUSES: tuple[Excuse, ...] = (
    Excuse(
        "npu_core.arch",
        "for size in range(1, self.pe_count + 1)",
        "for size in range(1, self.pe_count + 2)",
        "no number is divided by the next one",
    ),
    Excuse(
        "npu_core.cores",
        "first, last = int(match[1]), int(match[2] or match[1])",
        "first, last = int(match[1]), int(match[2] or match[0])",
        "where there is no second number, the first is the whole text",
    ),
    Excuse("npu_core.health", "case _:", "case _ if False:", "the last case, in which nothing is done"),
    Excuse(
        "npu_core.partition",
        '_UNIT_ID = re.compile(r"npu(0|[1-9][0-9]{0,2})pe([0-9]+(?:-[0-9]+)?)", re.ASCII)',
        "_UNIT_ID = re.compile('npu(0|[1-9][0-9]{0,3})pe([0-9]+(?:-[0-9]+)?)', re.ASCII)",
        _REFUSED_ANYWAY,
    ),
    Excuse(
        "npu_core.parse.devfs",
        '_NAME = re.compile(r"npu(0|[1-9][0-9]{0,2})((?:[a-z_][a-z0-9_-]*)?)", re.ASCII)',
        "_NAME = re.compile('npu(0|[1-9][0-9]{0,3})((?:[a-z_][a-z0-9_-]*)?)', re.ASCII)",
        _REFUSED_ANYWAY,
    ),
    Excuse(
        "npu_device_plugin.allocation.disabled",
        '_CARD = re.compile(r"npu(0|[1-9][0-9]{0,2})", re.ASCII)',
        "_CARD = re.compile('npu(0|[1-9][0-9]{0,3})', re.ASCII)",
        _REFUSED_ANYWAY,
    ),
    Excuse(
        "npu_core.partition",
        'counts = ", ".join(str(size) for size in sorted(_all_unit_sizes()))',
        'counts = ", ".join(str(size) for size in list(_all_unit_sizes()))',
        "a set of such small numbers is in their order",
    ),
    Excuse(
        "npu_core.parse.clocks",
        '_LINE = re.compile(r"([^():]+)\\(([^():]+)\\):\\s*([0-9]{1,9})", re.ASCII)',
        "_LINE = re.compile('([^():]+)\\\\(([^():]*)\\\\):\\\\s*([0-9]{1,9})', re.ASCII)",
        "a unit without a letter is refused anyway, for there may be blanks",
    ),
    Excuse(
        "npu_core.parse.mgmt",
        'major, _, minor = text.strip().partition(":")',
        "major, _, minor = text.strip().rpartition(':')",
        "of two colons one is left in a number, from either end",
    ),
    Excuse(
        "npu_device_plugin.allocation.resource_state",
        "for unit in units_of(card.device, card.cut.partitioning if card.cut else FUSION):",
        "for unit in units_of(card.device, card.cut.partitioning if True else FUSION):",
        "what is offered was cut before; only the type does not say so",
    ),
    Excuse(
        "npu_feature_discovery.labels.label_value",
        '_RUN = re.compile(r"[^A-Za-z0-9_.]+", re.ASCII)',
        "_RUN = re.compile('[^A-Za-z0-9_.]*', re.ASCII)",
        "an empty run becomes itself",
    ),
    Excuse(
        "npu_feature_discovery.labels.label_value",
        'return run[0] if not run[0].strip("-") else "-"',
        "return run[0] if not run[0].strip('XX-XX') else \"-\"",
        "there is no letter in a run",
    ),
)


def is_excused(mutant: Mutant, excuses: Iterable[Excuse] = EXCUSES) -> bool:
    """Whether a mutant is one of those."""
    return any(excuse.covers(mutant) for excuse in excuses)
