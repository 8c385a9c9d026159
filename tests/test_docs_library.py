"""The tour of the library in docs/library.md runs as it is written, on a simulated host."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/library.md"
_BLOCK = re.compile(r"^```pycon\n(.*?)^```", re.DOTALL | re.MULTILINE)
MANY = 30


def test_the_tour_runs_as_it_is_written(tmp_path: Path) -> None:
    """One session from the first block to the last; ``/tmp/node`` is a directory of the test's own."""
    text = PAGE.read_text(encoding="utf-8").replace("/tmp/node", str(tmp_path / "node"))  # noqa: S108  # the page's
    blocks = _BLOCK.findall(text)
    session = "\n".join(blocks)
    tour = doctest.DocTestParser().get_doctest(session, {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    failed, tried = runner.run(tour, out=said.append)
    assert tried > MANY
    assert failed == 0, "".join(said)
