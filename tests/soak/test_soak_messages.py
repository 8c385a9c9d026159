"""A message to the kubelet has to say something new to whoever reads it."""

from soak.messages import Told
from standins.kubelet import Event, EventKind, PluginDevice

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
    assert after(REGISTERED, listing("a", "b"), listing("a", "b")).needless == 1
    assert after(REGISTERED, listing("a", "b"), listing("b", "a")).needless == 1


def test_everything_is_news_to_a_new_reader() -> None:
    assert after(REGISTERED, listing("a"), ENDED, REGISTERED, listing("a")).needless == 0


def test_a_new_reader_is_told_once() -> None:
    assert after(REGISTERED, listing("a"), ENDED, REGISTERED, listing("a"), listing("a")).needless == 1


def test_other_events_say_nothing() -> None:
    assert after(REGISTERED, listing("a"), Event(EventKind.ALLOCATE), listing("a")).needless == 1
