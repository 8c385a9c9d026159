"""What a program holds in memory, and how many threads and files, as figures."""

from collections.abc import Iterator

from tools.benchmarks.figures import Figure, once
from tools.benchmarks.programs import Program

_KIB = 1024


def weight(program: Program, cards: int, when: str) -> Iterator[Figure]:
    """Memory in MiB, threads and open files, as they are now."""
    now = program.footprint
    sizes = {"RSS": now.rss, "PSS": now.pss, "private dirty": now.dirty, "private": now.private}
    for name, size in sizes.items():
        yield once(f"{name} {when}", program.name, cards, "MiB", size / _KIB)
    yield once(f"threads {when}", program.name, cards, "", now.threads)
    yield once(f"files {when}", program.name, cards, "", now.files)
