"""The model of an API server: seats, a waiting room, 429."""

import pytest

from tools.scale.inputs import Server
from tools.scale.server import ApiServer, FullError, Request, Verb

SMALL = Server(seats=1, waiting=1, read=0.5, write=2.0)
NEVER = float("inf")


def request(node: int, verb: Verb = Verb.READ, deadline: float = NEVER) -> Request:
    return Request(node, verb, deadline)


def test_who_finds_a_seat_is_served_at_once_and_a_write_takes_longer() -> None:
    assert ApiServer(SMALL).takes(request(0)) == 0.5
    assert ApiServer(SMALL).takes(request(0, Verb.WRITE)) == 2.0


def test_who_finds_none_waits_for_it_and_then_is_served_in_turn() -> None:
    server = ApiServer(Server(seats=1, waiting=2, read=0.5, write=2.0))
    assert [server.takes(request(node)) for node in range(3)] == [0.5, None, None]
    assert server.leaves(0.5) == ((request(1), 0.5), [])
    assert server.leaves(1.0) == ((request(2), 0.5), [])
    assert server.leaves(1.5) == (None, [])
    assert server.takes(request(3)) == 0.5


def test_who_finds_no_place_to_wait_is_refused() -> None:
    server = ApiServer(SMALL)
    server.takes(request(0))
    server.takes(request(1))
    with pytest.raises(FullError):
        server.takes(request(2))


def test_who_gave_up_meanwhile_takes_no_seat() -> None:
    server = ApiServer(Server(seats=1, waiting=2, read=0.5, write=2.0))
    server.takes(request(0))
    server.takes(request(1, deadline=0.4))
    server.takes(request(2))
    assert server.leaves(0.5) == ((request(2), 0.5), [request(1, deadline=0.4)])
