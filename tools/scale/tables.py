"""Everything that was found out, as the tables of docs/scale.md (pure)."""

from collections.abc import Iterable, Mapping, Sequence

from tools.scale.arithmetic import churn, ingest, kept, nfd_load, series_of_a_card
from tools.scale.inputs import Inputs, described
from tools.scale.measure_scrapes import BASE, DEFAULTS, EMPTY, OPTIONS, OPTIONS_HOSTS, SPEC
from tools.scale.measured import Exposed, HostKind, KubeletCost, LabelCost, ScrapeCost
from tools.scale.scenarios import Rest, Restart
from tools.scale.words import number, size, span, table

_INGESTED = (HostKind("warboy", 8), HostKind("renegade", 8))


def of_inputs(inputs: Inputs) -> Mapping[str, str]:
    """What is assumed."""
    rows = ((f"`{each.name}`", each.value, each.meaning) for each in described(inputs))
    return {"inputs": table(("input", "value", "what it is"), rows)}


def of_restarts(restarts: Iterable[Restart], rests: Iterable[Rest]) -> Mapping[str, str]:
    """The simulation."""
    heads = ("story", "requests", "peak in a second", "429", "p50 until labelled", "p99", "all, from the beginning")
    return {
        "restarts": table(heads, map(_restart, restarts)),
        "unheard": table(
            ("story", "connections or 503 while it was away"),
            ((each.name, number(each.unheard)) for each in restarts if each.unheard),
        ),
        "rests": table(
            ("look whether the labels are still there", "GET in a second, mean", "peak in a second"),
            ((each.name, number(each.mean), number(each.peak)) for each in rests),
        ),
    }


def _restart(each: Restart) -> Sequence[str]:
    return (
        each.name,
        number(each.requests),
        number(each.peak),
        number(each.throttled),
        *(span(seconds) for seconds in (each.p50, each.p99, each.last)),
    )


def of_kubelet(costs: Iterable[KubeletCost]) -> Mapping[str, str]:
    """The device plugin's work for the kubelet."""
    costs = tuple(costs)
    sizes = (
        (
            str(each.host),
            each.cut,
            number(each.units),
            *map(size, (each.message_bytes, each.checkpoint_bytes, each.pod_bytes)),
        )
        for each in costs
    )
    counts = {
        "start": {(each.registrations, each.messages, each.writes, each.messages) for each in costs},
        "three seconds of rest": {(0, each.rest_messages, each.rest_writes, 0) for each in costs},
        "a card that dies": {(0, each.death_messages, each.death_writes, each.death_statuses) for each in costs},
        "a pod with one unit": {(0, each.pod_messages, each.pod_writes, 0) for each in costs},
    }
    return {
        "kubelet-sizes": table(
            ("cards", "cut", "units", "a ListAndWatch message", "the checkpoint", "each pod adds to it"), sizes
        ),
        "kubelet-counts": table(
            ("event", "registrations", "messages", "checkpoint writes", "changes of Allocatable"),
            ((event, *map(number, row)) for event, rows in counts.items() for row in sorted(rows)),
        ),
    }


def of_labels(labels: LabelCost, inputs: Inputs) -> Mapping[str, str]:
    """Feature file, NodeFeature and node labels; NFD's own share."""
    nfd = nfd_load(inputs)
    return {
        "publications": table(
            ("sink", "new", "there already", "changed", "body of the write", "what the API server keeps"),
            (
                ("feature-file", "0", "0", "0", f"a file of {size(labels.file_bytes)}", "0 of ours"),
                *(
                    (
                        each.sink,
                        *map(" + ".join, (each.new, each.same, each.other)),
                        *map(size, (each.request_bytes, each.object_bytes)),
                    )
                    for each in labels.sinks
                ),
            ),
        ),
        "kept": table(
            ("sink", "in etcd, all nodes", "watch events when all change", "their bytes"),
            (
                (each.name, size(each.store), number(each.events), size(each.event_bytes))
                for each in kept(labels, inputs)
            ),
        ),
        "nfd": table(
            ("NFD's own requests", "in a second", "together"),
            (
                ("workers that look, with or without us", number(nfd.rest), ""),
                ("all feature files change at once, more for a minute", number(nfd.changed), number(nfd.total)),
            ),
        ),
    }


def of_scrapes(costs: Iterable[ScrapeCost], inputs: Inputs) -> Mapping[str, str]:
    """The exporter, and the Prometheus behind it."""
    costs = tuple(costs)
    found = {(each.host, each.case): each for each in costs}
    hosts = tuple(dict.fromkeys(each.host for each in costs))
    return {
        "scrapes": table(
            ("cards", "series", "no pods", "`--units=base`", "`--units=spec`", "text", "OpenMetrics", "gzip"),
            (_scrape(host, found) for host in hosts),
        ),
        "options": table(("option", *(f"{host}: series, gzip" for host in OPTIONS_HOSTS)), _options(found)),
        "ingest": table(
            ("nodes with", "names", "every", "series", "samples/s", "network", "memory", "disk a day"),
            _ingests(found, inputs),
        ),
        "churn": table(
            ("mode", "new series a pod start", "new series a day", "ended ones in the head", "their memory"),
            _churns(found, inputs),
        ),
    }


_Found = Mapping[tuple[HostKind, str], ScrapeCost]


def _scrape(host: HostKind, found: _Found) -> Sequence[str]:
    series = (number(found[host, case.name].exposed.series) for case in (DEFAULTS, EMPTY, BASE, SPEC))
    exposed = found[host, DEFAULTS.name].exposed
    return (str(host), *series, *map(size, (exposed.text, exposed.openmetrics, exposed.gzip)))


def _options(found: _Found) -> Iterable[Sequence[str]]:
    for case in (DEFAULTS, BASE, *OPTIONS):
        name = f"`{case.name}`" if case.name.startswith("--") else case.name or "defaults, a pod on each card"
        yield (name, *(_option(found[host, case.name].exposed) for host in OPTIONS_HOSTS))


def _option(exposed: Exposed) -> str:
    dropped = f"; {number(exposed.dropped)} dropped" if exposed.dropped else ""
    return f"{number(exposed.series)}, {size(exposed.gzip)}{dropped}"


def _ingests(found: _Found, inputs: Inputs) -> Iterable[Sequence[str]]:
    for host in _INGESTED:
        for case, name in ((DEFAULTS, "both"), (BASE, "base")):
            for interval in inputs.prometheus.intervals:
                made = ingest(found[host, case.name].exposed, interval, inputs)
                yield (
                    str(host),
                    name,
                    span(interval),
                    number(made.series),
                    number(made.samples),
                    f"{size(made.network)}/s",
                    size(made.memory),
                    size(made.disk),
                )


def _churns(found: _Found, inputs: Inputs) -> Iterable[Sequence[str]]:
    few, many = (found[HostKind("renegade", cards), DEFAULTS.name] for cards in (4, 8))
    for mode, series in (("`join`", 1), ("`inline`, RNGD", series_of_a_card(few, many))):
        made = churn(series, inputs)
        yield mode, number(series), number(made.per_day), number(made.in_head), size(made.memory)
