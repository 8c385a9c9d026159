"""docs/scale.md says what the programs give. ``make scale ARGS=--write`` renews its tables."""

from testkit.documents import text_of
from tools.scale import measure_labels, measure_scrapes, tables
from tools.scale.inputs import Inputs
from tools.scale.page import differences
from tools.scale.scenarios import CHANGE, LOOK, restarts, rests

PAGE = "docs/scale.md"


def test_the_page_has_the_inputs() -> None:
    assert list(differences(text_of(PAGE), tables.of_inputs(Inputs()))) == []


def test_the_page_has_what_the_simulation_gives() -> None:
    made = tables.of_restarts(restarts(Inputs()), rests(Inputs()))
    assert list(differences(text_of(PAGE), made)) == []


def test_the_page_has_the_series_and_the_bytes_of_a_scrape() -> None:
    made = tables.of_scrapes(measure_scrapes.measure(), Inputs())
    assert list(differences(text_of(PAGE), made)) == []


def test_the_page_has_what_labels_cost_and_a_publication_asks_for_what_the_simulation_plays() -> None:
    labels = measure_labels.measure()
    assert list(differences(text_of(PAGE), tables.of_labels(labels, Inputs()))) == []
    for sink in labels.sinks:
        new = [*CHANGE, *LOOK] if sink.sink == "node-feature" else CHANGE  # a new object is looked for elsewhere, once
        assert (len(sink.new), len(sink.same), len(sink.other)) == (len(new), len(LOOK), len(CHANGE))


# -- who asks the API server ------------------------------------------------------------------------------------------
