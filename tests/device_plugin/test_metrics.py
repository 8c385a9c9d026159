"""The plugin's metrics, as Prometheus reads them."""

from dataclasses import replace

from npu_core.arch import Arch
from npu_core.config.reload import ConfigState
from npu_core.service.grpc_codes import GRPC_CODES
from npu_core.service.http.traffic import Refusal
from npu_core.threads import NO_THREAD
from npu_device_plugin import __version__
from npu_device_plugin.counters import Counters
from npu_device_plugin.kubelet.supervisor import Loss
from npu_device_plugin.metrics import families
from npu_device_plugin.service_status import ServiceStatus
from tests.device_plugin.conditions import NOTHING_YET, RESOURCE, condition

PREFIX = "npu_device_plugin_"
NOW = 1_000_000.0
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# Names and labels are an interface: dashboards and alerts are made of them.
FAMILIES = {
    "registrations": ("counter", ["cause", "resource"]),
    "registration_failures": ("counter", ["resource"]),
    "streams": ("counter", ["resource"]),
    "sends": ("counter", ["resource"]),
    "allocations": ("counter", ["resource", "result"]),
    "health_changes": ("counter", ["arch", "device", "status"]),
    "podresources_errors": ("counter", ["code"]),
    "http_clients_refused": ("counter", ["reason"]),
    "log_lines_dropped": ("counter", []),
    "allocate_duration_seconds": ("histogram", ["resource"]),
    "build_info": ("gauge", ["version"]),
    "units": ("gauge", ["arch", "health", "resource"]),
    "registered": ("gauge", ["resource"]),
    "family_refused": ("gauge", ["arch"]),
    "cards_pending": ("gauge", []),
    "cards_stuck": ("gauge", []),
    "cards_unasked": ("gauge", []),
    "cards_unsettled": ("gauge", []),
    "ids_kept": ("gauge", ["arch", "resource"]),
    "ids_unmapped": ("gauge", []),
    "heartbeat_timestamp_seconds": ("gauge", []),
    "config_generation": ("gauge", []),
    "config_info": ("gauge", ["sha256"]),
    "config_last_reload_success": ("gauge", []),
}

COUNTERS = {name for name, (kind, _) in FAMILIES.items() if kind == "counter"}


NOBODY_REFUSED: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
    ("http_clients_refused_total", (("reason", str(reason)),)): 0 for reason in Refusal
}


def busy(resource: str = RESOURCE) -> Counters:
    """Everything happened once or more."""
    telemetry = Counters(config=ConfigState(generation=3, digest="abc", error="wrong"))
    telemetry.registrations[resource, "start"] += 1
    telemetry.registrations[resource, "stream_ended"] += 2
    telemetry.failed_registrations[resource] += 3
    telemetry.streams[resource] += 4
    telemetry.sends[resource] += 5
    telemetry.allocations[resource, "granted"] += 6
    telemetry.allocations[resource, "refused"] += 7
    telemetry.health_changes["npu0", "warboy", "unhealthy"] += 8
    telemetry.holdings_errors["UNAVAILABLE"] += 9
    for seconds in (0.0, 0.0005, 0.002, 5.0):
        telemetry.latency_of(resource).observe(seconds)
    return telemetry


def samples(condition: ServiceStatus, telemetry: Counters) -> Samples:
    """Every sample by name, without the prefix, and labels."""
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families(condition, telemetry, NOW)
        for sample in family.samples
    }


def test_names_types_and_labels_are_what_they_always_were() -> None:
    found = {
        family.name.removeprefix(PREFIX): (
            family.type,
            sorted({label for sample in family.samples for label in sample.labels if label != "le"}),
        )
        for family in families(condition(), busy(), NOW)
    }
    assert found == FAMILIES


def test_every_family_has_the_prefix_and_a_sentence_of_help() -> None:
    for family in families(condition(), busy(), NOW):
        assert family.name.startswith(PREFIX)
        assert family.documentation.endswith(".")


def test_everything_counted_is_told() -> None:
    resource = ("resource", RESOURCE)
    told = samples(condition(), busy())
    expected: Samples = {
        ("registrations_total", (("cause", "start"), resource)): 1,
        ("registrations_total", (("cause", "stream_ended"), resource)): 2,
        ("registration_failures_total", (resource,)): 3,
        ("streams_total", (resource,)): 4,
        ("sends_total", (resource,)): 5,
        ("allocations_total", (resource, ("result", "granted"))): 6,
        ("allocations_total", (resource, ("result", "refused"))): 7,
        ("health_changes_total", (("arch", "warboy"), ("device", "npu0"), ("status", "unhealthy"))): 8,
        ("podresources_errors_total", (("code", "UNAVAILABLE"),)): 9,
        ("allocate_duration_seconds_count", (resource,)): 4,
        ("allocate_duration_seconds_sum", (resource,)): 5.0025,
        ("allocate_duration_seconds_bucket", (("le", "0.0005"), resource)): 2,
        ("allocate_duration_seconds_bucket", (("le", "0.001"), resource)): 2,
        ("allocate_duration_seconds_bucket", (("le", "0.0025"), resource)): 3,
        ("allocate_duration_seconds_bucket", (("le", "1.0"), resource)): 3,
        ("allocate_duration_seconds_bucket", (("le", "+Inf"), resource)): 4,
    }
    assert expected.items() <= told.items()


def test_the_present_is_told() -> None:
    told = samples(condition(age=2.0, listening=True, stuck=2), busy())
    units = (("arch", "warboy"), ("resource", RESOURCE))
    expected: Samples = {
        ("build_info", (("version", __version__),)): 1,
        ("units", tuple(sorted((*units, ("health", "healthy"))))): 3,
        ("units", tuple(sorted((*units, ("health", "unhealthy"))))): 1,
        ("registered", (("resource", RESOURCE),)): 1,
        ("family_refused", (("arch", "warboy"),)): 0,
        ("cards_pending", ()): 1,
        ("cards_stuck", ()): 2,
        ("cards_unsettled", ()): 0,
        ("ids_kept", units): 0,
        ("ids_unmapped", ()): 0,
        **NOBODY_REFUSED,
        ("log_lines_dropped_total", ()): 0,
        ("heartbeat_timestamp_seconds", ()): NOW - 2.0,
        ("config_generation", ()): 3,
        ("config_info", (("sha256", "abc"),)): 1,
        ("config_last_reload_success", ()): 0,
    }
    assert expected.items() <= told.items()
    assert samples(condition(listening=False), busy())["registered", (("resource", RESOURCE),)] == 0


def test_a_counter_is_there_as_0_before_it_counts() -> None:
    """``increase()`` does not see a counter go from nothing to 1."""
    told = samples(condition(), Counters())
    counted = {key for key in samples(condition(), busy()) if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
    assert counted - told.keys() == set()
    assert {told[key] for key in told if key[0].endswith(("_total", "_count", "_sum", "_bucket"))} == {0}


def test_every_value_that_a_label_of_a_counter_can_have_is_there() -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for name, labels in samples(condition(), Counters()):
        for label, value in labels if name.endswith("_total") else ():
            found.setdefault((name, label), set()).add(value)
    assert found["registrations_total", "cause"] == {"start", *(loss.name.lower() for loss in Loss)}
    assert found["allocations_total", "result"] == {"granted", "refused"}
    assert found["health_changes_total", "device"] == {"npu0", "npu1", "npu2"}
    assert found["health_changes_total", "status"] == {"healthy", "unhealthy"}
    assert found["podresources_errors_total", "code"] == {NO_THREAD, *GRPC_CODES}
    assert {name for name, label in found if label == "resource"} == {
        f"{name}_total" for name, (_, labels) in FAMILIES.items() if name in COUNTERS and "resource" in labels
    }


def test_a_family_that_is_not_offered_is_told_of() -> None:
    refused = replace(condition(), refused=((Arch.RENEGADE, "too long"),))
    found = samples(refused, Counters())
    assert found["family_refused", (("arch", "renegade"),)] == 1
    assert found["family_refused", (("arch", "warboy"),)] == 0


def test_a_plugin_that_has_seen_nothing_tells_that() -> None:
    not_failed: Samples = {("podresources_errors_total", (("code", code),)): 0 for code in (NO_THREAD, *GRPC_CODES)}
    assert samples(NOTHING_YET, Counters()) == {
        **not_failed,
        ("build_info", (("version", __version__),)): 1,
        ("cards_pending", ()): 0,
        ("cards_stuck", ()): 0,
        ("cards_unasked", ()): 0,
        ("cards_unsettled", ()): 0,
        ("ids_unmapped", ()): 0,
        **NOBODY_REFUSED,
        ("log_lines_dropped_total", ()): 0,
        ("heartbeat_timestamp_seconds", ()): NOW,
        ("config_generation", ()): 1,
        ("config_info", (("sha256", ""),)): 1,
        ("config_last_reload_success", ()): 1,
    }
    assert {family.name.removeprefix(PREFIX) for family in families(NOTHING_YET, Counters(), NOW)} == set(FAMILIES)
