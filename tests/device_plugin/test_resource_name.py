"""Names of resources: what the kubelet would refuse at registration is refused before."""

import re
from collections.abc import Collection, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.claims import Claim
from npu_device_plugin.allocation.resource_name import ResourceNames, objection
from testkit.strategies import unit_ids


def accepted_by_the_kubelet(name: str) -> bool:
    """The rules as the kubelet's documentation and sources state them, one after the other."""
    is_native = "/" not in name or "kubernetes.io/" in name
    if is_native or name.startswith("requests."):
        return False
    quota_name = f"requests.{name}"
    parts = quota_name.split("/")
    if len(parts) != 2:
        return False
    prefix, base = parts
    return is_dns_subdomain(prefix) and is_qualified_base(base)


def is_dns_subdomain(text: str) -> bool:
    labels = text.split(".")
    return 0 < len(text) <= 253 and all(
        set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and label and "-" not in {label[0], label[-1]}
        for label in labels
    )


def is_qualified_base(text: str) -> bool:
    alphanumeric = re.compile("[A-Za-z0-9]")
    return (
        0 < len(text) <= 63
        and all(alphanumeric.match(character) or character in "-_." for character in text)
        and bool(alphanumeric.match(text[0]))
        and bool(alphanumeric.match(text[-1]))
    )


@pytest.mark.parametrize(
    "name",
    [
        "beta.furiosa.ai/npu",
        "furiosa.ai/warboy",
        "a/b",
        "0.1/2",
        "furiosa.ai/NPU_2.x-y",
        f"{'d' * 244}/npu",
        f"furiosa.ai/{'n' * 63}",
        "not-kubernetes.io.furiosa.ai/npu",
        "requests-of.furiosa.ai/npu",
    ],
)
def test_a_name_that_the_kubelet_accepts_is_accepted(name: str) -> None:
    assert accepted_by_the_kubelet(name)
    assert objection(name) is None


REFUSED = (
    *("", "npu", "beta.furiosa.ai"),
    *("kubernetes.io/npu", "beta.kubernetes.io/npu", "furiosakubernetes.io/npu", "requests.furiosa.ai/npu"),
    *("/npu", "Beta.furiosa.ai/npu", "beta_furiosa.ai/npu", "-beta.furiosa.ai/npu", "beta-.furiosa.ai/npu"),
    *("beta..furiosa.ai/npu", ".furiosa.ai/npu", "furiosa.ai./npu", "furiosa ai/npu", "퓨리오사.ai/npu", "٣.ai/npu"),
    f"{'d' * 245}/npu",
    *("furiosa.ai/", "furiosa.ai/npu/warboy", "furiosa.ai/-npu", "furiosa.ai/npu.", "furiosa.ai/n pu"),
    *("furiosa.ai/npu\n", "furiosa.ai/npué", "furiosa.ai/²", f"furiosa.ai/{'n' * 64}"),
)
"""Names that the kubelet refuses; what is said of them is in the golden file."""


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_the_kubelet_refuses_is_refused(name: str) -> None:
    assert not accepted_by_the_kubelet(name)
    assert objection(name)


pieces = st.sampled_from(
    [*"aZ0-_./ \né²", "requests.", "kubernetes.io/", "furiosa.ai/", "npu", "d" * 243, "n" * 62, "warboy"]
)
nearly_names = st.lists(pieces, max_size=7).map("".join)


@given(st.one_of(nearly_names, st.text()))
@example("d" * 244 + "/" + "n" * 63)
@settings(max_examples=300)
def test_a_name_is_accepted_exactly_if_the_kubelet_accepts_it(name: str) -> None:
    assert (objection(name) is None) == accepted_by_the_kubelet(name)


# -- names of families ------------------------------------------------------------------------------------------------


def test_the_first_family_has_the_name_and_the_second_one_its_family_appended() -> None:
    names = ResourceNames("furiosa.ai/npu")
    assert names.name(Arch.RENEGADE, first=True) == "furiosa.ai/npu"
    assert names.name(Arch.WARBOY, first=False) == "furiosa.ai/npu-warboy"


def test_a_name_given_to_a_family_is_its_name_whichever_comes_first() -> None:
    names = ResourceNames(of_family=((Arch.RENEGADE, "furiosa.ai/rngd"),))
    assert [names.name(Arch.RENEGADE, first=first) for first in (True, False)] == ["furiosa.ai/rngd"] * 2


def test_a_family_without_a_name_does_not_take_one_that_was_given_to_another() -> None:
    names = ResourceNames(of_family=((Arch.RENEGADE, "beta.furiosa.ai/npu"),))
    assert names.name(Arch.WARBOY, first=True) == "beta.furiosa.ai/npu-warboy"
    assert not names.clash


@pytest.mark.parametrize(
    "given_names",
    [
        ((Arch.WARBOY, "a.ai/x"), (Arch.RENEGADE, "a.ai/x")),
        ((Arch.WARBOY, "beta.furiosa.ai/npu-renegade"),),
    ],
)
def test_two_families_never_have_one_name(given_names: tuple[tuple[Arch, str], ...]) -> None:
    assert ResourceNames(of_family=given_names).clash


BASE_NAME = "beta.furiosa.ai/npu"
BOTH = (Arch.WARBOY, Arch.RENEGADE)
WARBOY_FIRST = {Arch.WARBOY: BASE_NAME, Arch.RENEGADE: f"{BASE_NAME}-renegade"}
RNGD_FIRST = {Arch.WARBOY: f"{BASE_NAME}-warboy", Arch.RENEGADE: BASE_NAME}


def claims(held: Iterable[tuple[str, str]]) -> list[Claim]:
    """Resource and device id of what containers hold, as a source tells them."""
    return [Claim(resource, device_id) for resource, device_id in held]


@pytest.mark.parametrize("arch", BOTH)
def test_a_family_alone_has_the_base_name(arch: Arch) -> None:
    assert ResourceNames().of_families([arch]) == {arch: BASE_NAME}


@pytest.mark.parametrize("families", [BOTH, BOTH[::-1], frozenset(BOTH)])
def test_of_two_families_it_is_the_table_that_tells_the_first_whichever_was_found_first(
    families: Collection[Arch],
) -> None:
    assert ResourceNames().of_families(families) == WARBOY_FIRST


@pytest.mark.parametrize(
    ("held", "names"),
    [
        ([(BASE_NAME, "npu1pe0-7")], RNGD_FIRST),
        ([(BASE_NAME, "npu1pe7")], RNGD_FIRST),
        ([(f"{BASE_NAME}-warboy", "npu0pe0")], RNGD_FIRST),
        ([(f"{BASE_NAME}-warboy", "npu0pe0"), (BASE_NAME, "npu1pe0")], RNGD_FIRST),
        ([(BASE_NAME, "npu0pe0-1")], WARBOY_FIRST),
        ([(f"{BASE_NAME}-renegade", "npu1pe0-7")], WARBOY_FIRST),
        ([(BASE_NAME, "of somebody before us")], WARBOY_FIRST),
        ([("nvidia.com/gpu", "npu1pe0-7")], WARBOY_FIRST),
    ],
)
def test_what_containers_hold_tells_which_family_had_the_base_name(
    held: list[tuple[str, str]], names: dict[Arch, str]
) -> None:
    assert ResourceNames().of_families(BOTH, claims(held)) == names


def test_what_a_container_was_given_tells_the_family_where_the_id_does_not() -> None:
    assert ResourceNames().of_families(BOTH, [Claim(BASE_NAME, "npu0pe0", arch=Arch.RENEGADE)]) == RNGD_FIRST
    assert ResourceNames().of_families(BOTH, [Claim(BASE_NAME, "npu0pe0", arch=Arch.WARBOY)]) == WARBOY_FIRST


def test_where_what_is_held_contradicts_itself_the_table_counts() -> None:
    held = [(BASE_NAME, "npu1pe0-7"), (f"{BASE_NAME}-renegade", "npu1pe0-7")]
    assert ResourceNames().of_families(BOTH, claims(held)) == WARBOY_FIRST


def test_a_family_that_is_alone_now_has_the_base_name_whatever_is_held() -> None:
    held = [(BASE_NAME, "npu1pe0-7")]
    assert ResourceNames().of_families([Arch.WARBOY], claims(held)) == {Arch.WARBOY: BASE_NAME}


@pytest.mark.parametrize("arch", BOTH)
def test_a_family_that_is_alone_now_keeps_its_second_name_while_that_is_held(arch: Arch) -> None:
    held = [(f"{BASE_NAME}-{arch}", "npu1pe0")]
    assert ResourceNames().of_families([arch], claims(held)) == {arch: f"{BASE_NAME}-{arch}"}


def test_a_family_that_is_found_later_has_the_base_name_if_no_other_family_has_it() -> None:
    held = [(f"{BASE_NAME}-renegade", "npu1pe0"), (BASE_NAME, "npu1pe0")]
    later = ResourceNames().of_families([Arch.WARBOY], claims(held), taken=[f"{BASE_NAME}-renegade"])
    assert later == {Arch.WARBOY: BASE_NAME}


def test_a_family_that_is_found_later_has_its_second_name_if_another_one_has_the_base_name() -> None:
    later = ResourceNames().of_families([Arch.WARBOY], [], taken=[BASE_NAME])
    assert later == {Arch.WARBOY: f"{BASE_NAME}-warboy"}


@given(st.permutations(BOTH), st.lists(st.tuples(st.sampled_from([*RNGD_FIRST.values(), "a/b"]), unit_ids().map(str))))
def test_two_families_never_share_a_name_whatever_is_held(families: list[Arch], held: list[tuple[str, str]]) -> None:
    names = ResourceNames().of_families(families, claims(held))
    assert names in (WARBOY_FIRST, RNGD_FIRST)
