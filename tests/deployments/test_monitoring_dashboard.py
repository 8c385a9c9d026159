"""The dashboard, as Grafana will read it."""

from itertools import combinations

from testkit.deployments.monitoring import PLACE, Json, dashboard, document, panels, variables
from testkit.deployments.promql import Matcher, names

UNITS = {"celsius", "watt", "volt", "amp", "hertz", "percentunit", "s", "short"}
"""Grafana's names for base units; ``short`` is a number."""
WIDTH = 24
OURS = {"type": "prometheus", "uid": "${datasource}"}


def test_every_panel_has_a_number_of_its_own() -> None:
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) > 10
    assert len(numbers) == len(set(numbers))


def test_every_panel_has_a_title_of_its_own_and_says_what_it_shows_in_which_unit() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def _overlap(one: Json, other: Json) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_no_panel_covers_another_one() -> None:
    places = {panel["title"]: panel["gridPos"] for panel in panels()}
    rows = {f"row {panel['title']}": panel["gridPos"] for panel in dashboard()["panels"] if panel["type"] == "row"}
    assert all(place["x"] + place["w"] <= WIDTH for place in places.values())
    assert [pair for pair in combinations((places | rows).items(), 2) if _overlap(pair[0][1], pair[1][1])] == []


def test_every_query_asks_the_chosen_data_source() -> None:
    chooser, *_ = dashboard()["templating"]["list"]
    assert (chooser["name"], chooser["type"], chooser["query"]) == ("datasource", "datasource", "prometheus")
    asked = [target["datasource"] for panel in panels() for target in panel["targets"]]
    asked += [panel["datasource"] for panel in panels()] + [variable["datasource"] for variable in variables()]
    assert asked
    assert all(source == OURS for source in asked)


def test_clusters_nodes_and_cards_can_be_chosen_and_at_first_are_all() -> None:
    assert [variable["name"] for variable in variables()] == ["cluster", "node", "device"]
    for variable in variables():
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")


def test_what_is_of_a_card_follows_the_choice() -> None:
    for panel in panels():
        for target in panel["targets"]:
            if "furiosa_npu_hw_" in target["expr"]:
                assert 'device=~"$device"' in target["expr"], panel["title"]
                assert 'node=~"$node"' in target["expr"], panel["title"]


def test_every_query_is_of_the_chosen_clusters() -> None:
    """Whether it adds up or not: a number of all clusters is the number of none of them."""
    chosen = Matcher("cluster", "=~", "$cluster")
    asked = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    asked += [(each["name"], each["query"]["query"]) for each in variables() if each["name"] != "cluster"]
    for where, expression in asked:
        text = expression.replace("$__rate_interval", "1m").replace("label_values", "max")
        for selector in names(text).selectors:
            if selector.metric not in {"node", "device"}:  # what a variable asks for
                assert chosen in selector.matchers, (where, selector)


def test_series_of_two_clusters_and_of_two_families_are_told_apart() -> None:
    for panel in panels():
        for target in panel["targets"]:
            if "{{" in target["legendFormat"]:
                assert target["legendFormat"].startswith("{{cluster}} "), panel["title"]
            # Both families may have an npu0.
            assert "{{device}}" not in target["legendFormat"] or "{{arch}}" in target["legendFormat"], panel["title"]
        for each in panel.get("transformations", ()):
            assert each["options"]["indexByName"]["cluster"] == 0


def test_grafana_s_sidecar_is_given_it() -> None:
    [made] = document(PLACE / "kustomization.yaml")["configMapGenerator"]
    [entry] = made["files"]
    name, _, path = entry.partition("=")
    assert name.endswith(".json")
    assert (PLACE / path).is_file()
    assert made["options"]["labels"]["grafana_dashboard"] == "1"
