"""Which pod has which UID, and what the sources say together: nothing is guessed."""

from dataclasses import replace

from npu_core.claims import Claim, Container
from npu_metrics_exporter.metrics.pod_names import Holders, holders_of, pods_in, pods_shown

RESOURCE = "beta.furiosa.ai/npu"
TRAIN = ("team", "train-0")


def recorded(uid: str, device_id: str = "npu0pe0-1", container: str = "main") -> Claim:
    return Claim(RESOURCE, device_id, pod_uid=uid, container_name=container)


def listed(pod: str, device_id: str = "npu0pe0-1", container: str = "main", *, dynamic: bool = False) -> Claim:
    holder = Container("team", pod, container)
    return Claim(RESOURCE, device_id, container=holder, container_name=container, is_dynamic=dynamic)


def test_an_entry_of_the_log_directory_names_a_pod() -> None:
    entries = [
        "team_train-0_0a1b-2c3d",
        "kube-system_etcd-node.one_9f8e7d",
        "lost+found",
        "a_b",
        "a_b_c_d",
        "_b_c",
        "__",
    ]
    assert pods_in(entries) == {"0a1b-2c3d": TRAIN, "9f8e7d": ("kube-system", "etcd-node.one")}


def test_a_uid_of_two_entries_names_no_pod() -> None:
    assert pods_in(["team_old_u1", "team_new_u1", "team_train-0_u2"]) == {"u2": TRAIN}


def test_a_device_that_both_sources_name_for_a_container_shows_the_pod() -> None:
    assert pods_shown([recorded("u1"), recorded("u2", "npu1pe0")], [listed("train-0")]) == {"u1": TRAIN}


def test_nothing_is_shown_where_two_pods_can_be_meant() -> None:
    assert pods_shown([recorded("u1"), recorded("u2")], [listed("train-0")]) == {}
    assert pods_shown([recorded("u1")], [listed("train-0"), listed("train-1")]) == {}
    both = [recorded("u1", "npu0pe0"), recorded("u1", "npu1pe0")]
    assert pods_shown(both, [listed("train-0", "npu0pe0"), listed("train-1", "npu1pe0")]) == {}


def test_neither_another_container_nor_a_claim_of_a_driver_shows_anything() -> None:
    assert pods_shown([recorded("u1", container="fetch")], [listed("train-0")]) == {}
    assert pods_shown([recorded("u1")], [listed("train-0", dynamic=True)]) == {}
    assert pods_shown([recorded("")], [listed("train-0")]) == {}


def test_neither_another_resource_nor_a_holder_without_a_name_shows_anything() -> None:
    elsewhere = replace(listed("train-0"), resource="example.com/npu")
    assert pods_shown([recorded("u1")], [elsewhere, replace(listed("train-0"), container=None)]) == {}


def test_what_is_listed_and_what_is_recorded_stand_together_under_names() -> None:
    holders = holders_of([recorded("u1", container="fetch"), listed("train-0")], {"u1": TRAIN}, frozenset({TRAIN}))
    assert [claim.container for claim in holders.claims] == [
        Container("team", "train-0", "fetch"),
        Container("team", "train-0", "main"),
    ]
    assert (holders.unnamed, holders.unconfirmed) == ((), frozenset())


def test_a_pod_that_is_not_listed_is_unconfirmed_and_stays() -> None:
    holders = holders_of([recorded("u1")], {"u1": TRAIN}, frozenset({("team", "other")}))
    assert [claim.container for claim in holders.claims] == [Container("team", "train-0", "main")]
    assert holders.unconfirmed == {TRAIN}


def test_a_pod_without_a_name_is_never_given_one() -> None:
    holders = holders_of([recorded("u1")], {}, frozenset({TRAIN}))
    assert holders == Holders((), (recorded("u1"),), frozenset({"u1"}))


def test_what_is_listed_for_a_container_of_that_name_is_not_told_twice() -> None:
    holders = holders_of([recorded("u1"), listed("train-0")], {}, frozenset({TRAIN}))
    assert holders == Holders((listed("train-0"),), (), frozenset())
