"""Mutants that no test could notice, because they do what the module does. Few, each with its reason."""

from collections.abc import Iterable
from dataclasses import dataclass

from mutation.mutants import Mutant


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


EXCUSES: tuple[Excuse, ...] = ()


def is_excused(mutant: Mutant, excuses: Iterable[Excuse] = EXCUSES) -> bool:
    """Whether a mutant is one of those."""
    return any(excuse.covers(mutant) for excuse in excuses)
