"""The exporter's pages, asked for over real sockets."""

import base64
import gzip
import socket
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from npu_core.service import file_looks
from npu_core.service.given_files import GivenFiles
from npu_core.service.http.traffic import Refusal
from npu_metrics_exporter.metrics.render import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from tests.metrics_exporter.serving import FakeSource, exposition, huge, read_all, serving

HASH = "$2y$04$" + "a" * 53
"""A hash that no password has."""

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def names(text: str) -> set[str]:
    return {family.name for family in parse_text(text)}


def test_a_scrape_that_asks_for_nothing_special_gets_plain_text() -> None:
    with serving() as web:
        reply = web.ask()
    assert (reply.status, reply.headers["content-type"]) == (200, TEXT_TYPE)
    assert reply.body == exposition().text
    assert "content-encoding" not in reply.headers
    assert reply.headers["vary"] == "Accept, Accept-Encoding"


def test_a_scrape_is_answered_in_the_format_and_the_coding_that_it_takes() -> None:
    with serving() as web:
        plain = web.ask(accept=OPENMETRICS)
        packed = web.ask(accept=OPENMETRICS, accept_encoding="gzip")
        text = web.ask(accept_encoding="gzip, deflate")
    assert plain.headers["content-type"] == packed.headers["content-type"] == OPENMETRICS_TYPE
    assert plain.body == gzip.decompress(packed.body) == exposition().openmetrics
    assert packed.headers["vary"] == "Accept, Accept-Encoding"
    assert packed.headers["content-encoding"] == text.headers["content-encoding"] == "gzip"
    assert gzip.decompress(text.body) == exposition().text
    assert list(parse_openmetrics(plain.body.decode()))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("accept_encoding", "is_packed"),
    [
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("deflate ; q=1 , gzip ; q = 0.1", True),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("gzip;q=much", False),
        ("gzip;q=2", False),
        ("identity", False),
    ],
)
def test_gzip_is_sent_only_to_who_takes_it(accept_encoding: str, *, is_packed: bool) -> None:
    with serving() as web:
        reply = web.ask(accept_encoding=accept_encoding)
    assert (reply.headers.get("content-encoding") == "gzip") is is_packed
    assert (gzip.decompress(reply.body) if is_packed else reply.body) == exposition().text


def test_name_limits_a_scrape_to_the_families_it_names() -> None:
    with serving() as web:
        one = web.ask("/metrics?name[]=furiosa_npu_alive")
        both = web.ask("/metrics?name%5B%5D=furiosa_npu_alive&name[]=furiosa_npu_uptime")
        none = web.ask("/metrics?name[]=no_such_thing")
        packed = web.ask("/metrics?name[]=furiosa_npu_uptime", accept=OPENMETRICS, accept_encoding="gzip")
    assert names(one.body.decode()) == {"furiosa_npu_alive"}
    assert names(both.body.decode()) == {"furiosa_npu_alive", "furiosa_npu_uptime"}
    assert (none.status, none.body) == (200, b"")
    assert packed.body.endswith(b"# EOF\n")
    assert b"furiosa_npu_alive" not in packed.body


@pytest.mark.parametrize("path", ["/metrics", "/", "/healthz"])
def test_head_says_what_get_would_and_nothing_more(path: str) -> None:
    with serving() as web:
        head, get = web.ask(path, "HEAD"), web.ask(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body)) != "0"


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_other_methods_are_told_which_there_are(method: str, path: str) -> None:
    with serving() as web:
        reply = web.ask(path, method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_an_unknown_page_names_those_there_are() -> None:
    with serving() as web:
        reply = web.ask("/metric")
    assert reply.status == 404
    assert b"/metrics" in reply.body


def test_before_the_first_collection_a_scrape_is_told_to_come_again() -> None:
    with serving(FakeSource(current=None, is_ready=False)) as web:
        scrape, page, ready, healthy = (web.ask(path) for path in ("/metrics", "/", "/readyz", "/healthz"))
        web.source.is_healthy = False
        assert web.ask("/healthz").status == 503
    assert (scrape.status, page.status, ready.status, healthy.status) == (503, 503, 503, 200)
    assert scrape.headers["retry-after"] == "1"


def test_the_page_for_people_may_load_and_run_nothing() -> None:
    with serving() as web:
        reply = web.ask("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert reply.body == exposition().page


def test_scrapes_are_counted_by_how_they_ended_and_nothing_else_is() -> None:
    with serving() as web:
        for path, method in (("/metrics", "GET"), ("/metrics", "HEAD"), ("/metrics", "POST"), ("/", "GET")):
            web.ask(path, method)
        web.ask("/healthz")
        assert dict(web.source.codes) == {200: 2, 405: 1}


class Broken(FakeSource):
    def exposition(self) -> Exposition | None:
        raise RuntimeError("no exposition")


def test_a_page_that_cannot_be_made_is_an_error_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Broken()) as web:
        assert [web.ask().status for _ in range(3)] == [500] * 3
        assert web.ask("/healthz").status == 200
    assert caplog.text.count("a page could not be made") == 1


def test_whoever_takes_no_answer_makes_room_for_another_scrape_and_nobody_is_sent_away() -> None:
    with serving(FakeSource(current=huge()), max_in_flight=2) as web, ExitStack() as stack:
        slow: list[socket.socket] = []
        for number in (1, 2, 2, 2):
            slow.append(stack.enter_context(web.connect()))
            slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            web.wait_for_answers(number)
            assert web.ask("/healthz").status == web.ask("/readyz").status == 200
        assert web.ask("/metrics").body == huge().text
        assert web.traffic.refused[Refusal.SLOW_ANSWER] == 3
        assert len(read_all(slow[0])) < len(huge().text)


def test_an_answer_is_in_flight_until_it_has_been_taken() -> None:
    with serving(FakeSource(current=huge())) as web, web.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        web.wait_for_answers(1)
        assert web.source.flying == [1]
        assert read_all(client).endswith(huge().text)
        web.wait_for_answers(0)


def test_configured_headers_are_on_every_answer_and_stand_before_our_own(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Content-Security-Policy: default-src 'self'\n"
    )
    with serving(web_config=file) as web:
        replies = [web.ask(path) for path in ("/metrics", "/", "/healthz", "/none")]
    assert {reply.headers["x-frame-options"] for reply in replies} == {"deny"}
    assert {reply.headers["content-security-policy"] for reply in replies} == {"default-src 'self'"}


def test_strangers_take_nothing_from_the_rate_of_who_has_a_password(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    file.write_text(f"basic_auth_users:\n  user: {hashed}\nrate_limit:\n  interval: 1h\n  burst: 2\n")
    right, wrong = ("Basic " + base64.b64encode(text).decode() for text in (b"user:right", b"user:wrong"))
    with serving(web_config=file) as web:
        strangers = [web.ask(authorization=given).status for given in ("", wrong, "", wrong)]
        assert [web.ask(authorization=right).status for _ in range(3)] == [200, 200, 429]
    assert strangers == [401, 401, 429, 429]


def test_more_often_than_the_rate_limit_is_refused_and_probes_are_not(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("rate_limit:\n  interval: 1h\n  burst: 3\n")
    with serving(web_config=file) as web:
        assert [web.ask().status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert web.ask("/healthz").status == 200
        file.write_text("rate_limit:\n  interval: 1h\n  burst: 1\n")
        assert [web.ask().status for _ in range(2)] == [200, 429]
        file.write_text("{}\n")
        assert [web.ask().status for _ in range(5)] == [200] * 5


# -- a configuration that is written while requests come ---------------------------------------------------------------


def test_nobody_without_a_password_is_served_while_the_configuration_is_copied_over(tmp_path: Path) -> None:
    """Copying empties the file, then fills it. At the end the copy is interrupted."""
    text = f"basic_auth_users:\n  a: {HASH}\n"
    file = tmp_path / "web.yml"
    file.write_text(text)
    statuses: Counter[int] = Counter()
    with serving(web_config=file) as web:
        for _ in range(60):
            with file.open("w") as copy:
                statuses[web.ask().status] += 1
                copy.write(text)
            statuses[web.ask().status] += 1
        file.write_text("")
        for _ in range(20):
            statuses[web.ask().status] += 1
        assert str(file) in web.keeper.error
    assert set(statuses) == {401}


def test_requests_are_answered_while_the_configuration_is_on_a_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "web.yml"
    file.write_text("{}\n")
    go_on, wait = threading.Event(), threading.Event.wait
    with serving(web_config=file) as web:
        monkeypatch.setattr(file_looks, "PATIENCE", 0.01)
        monkeypatch.setattr(GivenFiles, "look", lambda *_: wait(go_on, 60) or None)
        assert [web.ask(path).status for path in ("/healthz", "/metrics", "/healthz")] == [200] * 3
        go_on.set()
