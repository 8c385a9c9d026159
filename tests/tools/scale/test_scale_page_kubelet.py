"""docs/scale.md says how often a kubelet is told, and how much: the real plugin beside the stand-in kubelet."""

from testkit.documents import text_of
from tools.scale import measure_kubelet, tables
from tools.scale.measured import HostKind
from tools.scale.page import alike, tables_of

CASES = ((HostKind("warboy", 1), "Fusion"), (HostKind("renegade", 8), "Single"))
"""The smallest and a usual one; ``make scale`` does all twelve."""


def test_the_page_has_what_a_plugin_makes_the_kubelet_do() -> None:
    found = tables_of(text_of("docs/scale.md"))
    for name, text in tables.of_kubelet(measure_kubelet.measure(CASES)).items():
        for row in text.strip().splitlines():
            assert any(alike(row, other) for other in found[name].splitlines()), row
