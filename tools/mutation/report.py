"""What a run found, for people."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tools.mutation.run import Fate, Verdict


@dataclass(frozen=True, slots=True)
class Score:
    """How many mutants of a module were noticed.

    Attributes:
        name: the module, or what else is counted.
        noticed: how many were, the endless ones among them.
        survived: how many were not.
        endless: how many of those noticed made a test run without end.
    """

    name: str
    noticed: int
    survived: int
    endless: int

    @property
    def percent(self) -> float:
        """The share of those noticed; all of none."""
        return 100.0 * self.noticed / max(self.noticed + self.survived, 1) if self.noticed or self.survived else 100.0


def score_of(name: str, verdicts: Iterable[Verdict]) -> Score:
    """Count."""
    fates = [verdict.fate for verdict in verdicts]
    survived, endless = fates.count(Fate.SURVIVED), fates.count(Fate.ENDLESS)
    return Score(name, len(fates) - survived, survived, endless)


def scores(verdicts: Sequence[Verdict]) -> tuple[Score, ...]:
    """One for each module, by name, and the sum."""
    names = sorted({verdict.mutant.source.name for verdict in verdicts})
    rows = (score_of(name, [each for each in verdicts if each.mutant.source.name == name]) for name in names)
    return (*rows, score_of("all", verdicts))


def table(rows: Sequence[Score]) -> Iterator[str]:
    """The scores as lines."""
    yield f"{'module':<40} {'mutants':>8} {'noticed':>8} {'endless':>8} {'score':>8}"
    for row in rows:
        mutants = row.noticed + row.survived
        yield f"{row.name:<40} {mutants:>8} {row.noticed:>8} {row.endless:>8} {row.percent:>6.1f} %"


def survivor(verdict: Verdict) -> Iterator[str]:
    """Where a mutant is that nobody noticed, and what it changes."""
    mutant = verdict.mutant
    yield f"{mutant.source.path}:{mutant.line}: {mutant.kind}{'' if verdict.called else ', and no test comes here'}"
    yield from (f"    {line}" for line in mutant.diff)
