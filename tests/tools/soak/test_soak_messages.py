"""A message to the kubelet has to say something new to whoever reads it."""

from dataclasses import replace

import pytest

from testkit.standins.kubelet import Event, EventKind, PluginDevice
from tools.soak.messages import Told

REGISTERED = Event(EventKind.REGISTERED)
ENDED = Event(EventKind.STREAM_ENDED)


def listing(*healthy: str, dead: tuple[str, ...] = ()) -> Event:
    devices = [PluginDevice(name, "Healthy") for name in healthy] + [PluginDevice(name, "Unhealthy") for name in dead]
    return Event(EventKind.LIST_MESSAGE, devices=tuple(devices))


def after(*events: Event) -> Told:
    told = Told()
    for event in events:
        told = told.after(event)
    return told


def test_a_change_is_news() -> None:
    told = after(REGISTERED, listing("a", "b"), listing("a", dead=("b",)), listing("a", "b"))
    assert (told.messages, told.first, told.needless) == (3, 1, 0)


def test_the_same_again_is_none_in_whatever_order() -> None:
    assert after(REGISTERED, listing("a", "b"), listing("a", "b"), listing("a", "b")).needless == 1
    assert after(REGISTERED, listing("a", "b"), listing("b", "a"), listing("a", "b")).needless == 1


def test_a_new_reader_is_told_once() -> None:
    told = after(REGISTERED, listing("a"), listing("a"), ENDED, REGISTERED, listing("a"), listing("a"))
    assert told.needless == 1


@pytest.mark.parametrize("kind", [EventKind.ALLOCATE, EventKind.POD_DELETED, EventKind.PODS_DROPPED])
def test_a_list_may_be_repeated_once_after_pods_came_or_went(kind: EventKind) -> None:
    happened = (REGISTERED, listing("a"), listing("a"), Event(kind), listing("a"))
    assert after(*happened).needless == 0
    assert after(*happened, listing("a")).needless == 1


def test_a_list_may_be_repeated_every_ten_seconds() -> None:
    first, second = listing("a"), listing("a")
    assert after(REGISTERED, first, second, replace(listing("a"), at=second.at + 10)).needless == 0
    assert after(REGISTERED, first, second, replace(listing("a"), at=second.at + 5)).needless == 1
