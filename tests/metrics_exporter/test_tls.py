"""Encrypted scrapes, and clients that have to say who they are, over real sockets."""

import http.client
import shutil
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from npu_core.errors import SettingsError
from npu_core.service.http.connection import Limits
from npu_core.service.http.traffic import Refusal
from npu_core.service.settings import Given
from npu_metrics_exporter.web.config_file import Pem, Tls
from npu_metrics_exporter.web.tls import context, is_allowed
from testkit.waiting import PATIENCE, until
from tests.metrics_exporter.serving import (
    LOOPS,
    Certificates,
    FakeSource,
    Serving,
    exposition,
    huge,
    read_all,
    serving,
)

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("ours"))
    made.sign("server")
    return made


@pytest.fixture(scope="module")
def friend(ours: Certificates) -> Pair:
    alternative = "DNS:prometheus.monitoring,email:ops@example.org,IP:10.0.0.1,URI:spiffe://cluster/prometheus"
    return ours.sign("friend", alternative)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Certificates(tmp_path_factory.mktemp("theirs")).sign("stranger")


@pytest.fixture(params=sorted(LOOPS))
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def configured(tmp_path: Path, ours: Certificates, more: str = "", name: str = "server") -> Path:
    file = tmp_path / "web.yml"
    pair = f"  cert_file: {ours.directory}/{name}.crt\n  key_file: {ours.directory}/{name}.key\n"
    file.write_text(f"tls_server_config:\n{pair}{more}")
    return file


def is_served(web: Serving, context: ssl.SSLContext) -> bool:
    """Whether a client gets its scrape; what TLS or the end of the connection say otherwise is a no."""
    try:
        return web.ask_tls(context).status == 200
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return False


def test_a_scrape_over_tls_is_answered_whole(tmp_path: Path, ours: Certificates, loop: str) -> None:
    with serving(FakeSource(current=huge()), configured(tmp_path, ours), loop=loop) as web:
        assert web.ask_tls(ours.client()).body == huge().text


def test_plain_http_where_tls_is_spoken_gets_nothing(tmp_path: Path, ours: Certificates, loop: str) -> None:
    with serving(web_config=configured(tmp_path, ours), loop=loop) as web, web.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"furiosa" not in read_all(client)
        assert web.ask_tls(ours.client()).status == 200


def test_a_handshake_that_does_not_come_is_given_up(tmp_path: Path, ours: Certificates, loop: str) -> None:
    with serving(web_config=configured(tmp_path, ours), limits=Limits(head_seconds=0.1), loop=loop) as web:
        with web.connect() as client:
            client.sendall(b"\x16\x03\x01")
            read_all(client)
        web.wait_for_connections(0)
        assert web.traffic.refused == {Refusal.HANDSHAKE: 1}


def test_a_handshake_that_fails_is_counted(tmp_path: Path, ours: Certificates, loop: str) -> None:
    with serving(web_config=configured(tmp_path, ours), loop=loop) as web:
        with web.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            read_all(client)
        until(lambda: web.traffic.refused[Refusal.HANDSHAKE] == 1, "the count of the handshake that failed")
        assert web.ask_tls(ours.client()).status == 200
        assert web.traffic.refused == {Refusal.HANDSHAKE: 1}


def test_a_handshake_that_makes_room_has_ended(tmp_path: Path, ours: Certificates, loop: str) -> None:
    limits = Limits(connections=16, head_seconds=10 * PATIENCE)
    with serving(web_config=configured(tmp_path, ours), limits=limits, loop=loop) as web, ExitStack() as clients:
        oldest = clients.enter_context(web.connect())
        # A client that came later is answered, so the handshake of the oldest client has begun.
        assert web.ask_tls(ours.client()).status == 200
        for _ in range(limits.connections):
            clients.enter_context(web.connect())
        # Without an end of the handshake, its descriptor and its memory stay for as long as a handshake may take.
        assert read_all(oldest) == b""
        assert web.ask_tls(ours.client()).status == 200


def test_an_answer_over_tls_counts_as_taken_only_when_the_client_has_taken_it(
    tmp_path: Path, ours: Certificates, loop: str
) -> None:
    limits = Limits(taking_seconds=0.3, idle_seconds=PATIENCE)
    with (
        serving(FakeSource(current=huge()), configured(tmp_path, ours), limits, loop=loop) as web,
        ours.client().wrap_socket(web.connect(), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: web.traffic.refused[Refusal.SLOW_ANSWER] == 1, "the client to be cut off")
        web.wait_for_answers(0)
        web.wait_for_connections(0)


def test_a_client_that_goes_away_within_its_handshake_costs_nothing_and_says_nothing(
    tmp_path: Path, ours: Certificates, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(web_config=configured(tmp_path, ours), loop=loop) as web:
        for _ in range(5):
            with web.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                client.sendall(b"\x16\x03\x01\x02\x00")
        web.wait_for_connections(0)
        assert web.ask_tls(ours.client()).status == 200
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


@pytest.mark.parametrize(
    ("auth", "nobody", "known", "unknown"),
    [
        ("NoClientCert", True, True, True),
        ("RequestClientCert", True, True, True),
        ("RequireAnyClientCert", False, True, False),
        ("VerifyClientCertIfGiven", True, True, False),
        ("RequireAndVerifyClientCert", False, True, False),
    ],
)
def test_each_client_auth_type_lets_in_whom_it_should(  # noqa: PLR0913  # fixtures, and a row of the table
    *,
    auth: str,
    nobody: bool,
    known: bool,
    unknown: bool,
    tmp_path: Path,
    ours: Certificates,
    friend: Pair,
    stranger: Pair,
) -> None:
    authority = f"  client_ca_file: {ours.authority}\n" if auth not in {"NoClientCert", "RequestClientCert"} else ""
    file = configured(tmp_path, ours, f"  client_auth_type: {auth}\n{authority}")
    with serving(web_config=file) as web:
        assert is_served(web, ours.client()) is nobody
        assert is_served(web, ours.client(friend)) is known
        assert is_served(web, ours.client(stranger)) is unknown


@pytest.mark.parametrize("san", ["prometheus.monitoring", "ops@example.org", "10.0.0.1", "spiffe://cluster/prometheus"])
def test_a_client_needs_one_of_the_allowed_names(
    san: str, tmp_path: Path, ours: Certificates, friend: Pair, loop: str
) -> None:
    other = ours.sign("other", "DNS:somebody.else")
    more = (
        "  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca_file: {ours.authority}\n  client_allowed_sans: [nobody, '{san}']\n"
    )
    with serving(web_config=configured(tmp_path, ours, more), loop=loop) as web:
        assert is_served(web, ours.client(friend))
        assert not is_served(web, ours.client(other))


@pytest.mark.parametrize(
    ("certificate", "sans", "expected"),
    [
        (None, (), True),
        (None, ("a",), False),
        ({}, ("a",), False),
        ({"subjectAltName": (("DNS", "a"),)}, ("a",), True),
        ({"subjectAltName": (("DNS", "b"), ("URI", "a"))}, ("a",), True),
        ({"subjectAltName": (("DirName", "a"),)}, ("a",), False),
        ({"subjectAltName": (("DNS", "*.a"),)}, ("b.a",), False),
    ],
)
def test_a_name_is_allowed_only_as_it_stands(
    certificate: dict[str, object] | None, sans: tuple[str, ...], *, expected: bool
) -> None:
    assert is_allowed(certificate, sans) is expected


def test_versions_are_bounded_as_configured(tmp_path: Path, ours: Certificates) -> None:
    only_new = configured(tmp_path, ours, "  min_version: TLS13\n")
    old, new = ours.client(), ours.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    with serving(web_config=only_new) as web:
        assert not is_served(web, old)
        assert is_served(web, new)
        assert is_served(web, ours.client())
    with serving(web_config=configured(tmp_path, ours, "  max_version: TLS12\n")) as web:
        assert is_served(web, old)
        assert not is_served(web, new)


def test_only_the_configured_cipher_suites_are_spoken(tmp_path: Path, ours: Certificates) -> None:
    more = "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n"
    with serving(web_config=configured(tmp_path, ours, more)) as web:
        client = ours.client()
        client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert not is_served(web, client)
        client.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        assert is_served(web, client)


# -- reload ------------------------------------------------------------------------------------------------------------


def shown(web: Serving, context: ssl.SSLContext) -> tuple[object, str]:
    """Serial number and common name of the certificate that a new connection is shown."""
    with context.wrap_socket(web.connect(), server_hostname="127.0.0.1") as client:
        certificate: Any = client.getpeercert()
        return certificate["serialNumber"], dict(part for (part,) in certificate["subject"])["commonName"]


def test_a_renewed_certificate_is_shown_to_the_next_client_and_drops_none(
    tmp_path: Path, ours: Certificates, loop: str
) -> None:
    pair = ours.sign("rotating")
    file = configured(tmp_path, ours, name="rotating")
    with serving(web_config=file, loop=loop) as web:
        kept = http.client.HTTPSConnection(*web.address, timeout=PATIENCE, context=ours.client())
        kept.request("GET", "/metrics")
        assert kept.getresponse().read() == exposition().text
        mine = kept.sock
        before, _ = shown(web, ours.client())
        assert ours.sign("rotating") == pair
        again, name = shown(web, ours.client())
        assert (again != before, name) == (True, "rotating")
        for new, old in zip(ours.sign("renewed"), pair, strict=True):
            shutil.copy(new, old)
        assert shown(web, ours.client())[1] == "renewed"
        kept.request("GET", "/metrics")
        reply = kept.getresponse()
        assert (reply.status, reply.read()) == (200, exposition().text)
        assert kept.sock is mine
        kept.close()


def test_a_broken_certificate_leaves_the_last_good_one(
    tmp_path: Path, ours: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = ours.sign("breaking")
    good = key.read_text()
    with serving(web_config=configured(tmp_path, ours, name="breaking")) as web:
        before = shown(web, ours.client())
        for path, text in ((certificate, "no certificate at all\n"), (key, ours.sign("another")[1].read_text())):
            whole = path.read_text()
            path.write_text(text)
            assert shown(web, ours.client()) == shown(web, ours.client()) == before
            assert web.keeper.error
            path.write_text(whole)
            assert shown(web, ours.client()) == before
            assert not web.keeper.error
        certificate.unlink()
        assert shown(web, ours.client()) == before
        assert key.read_text() == good
    problems = [each.__dict__["npu_fields"]["problem"] for each in caplog.records if each.msg == "%s"]
    # Certificate and key of the first state, the key of the second one, and the certificate of the third.
    assert ["key_file" in each for each in problems] == [False, True, True, False]


def test_tls_may_be_turned_on_and_off_while_the_exporter_serves(tmp_path: Path, ours: Certificates) -> None:
    file = tmp_path / "web.yml"
    file.write_text("{}\n")
    with serving(web_config=file) as web:
        assert web.ask().status == 200
        configured(tmp_path, ours)
        assert web.ask_tls(ours.client()).status == 200
        file.write_text("{}\n")
        assert web.ask().status == 200


@pytest.mark.parametrize(
    ("choice", "key"),
    [({"suites": ("NO-SUCH-SUITE",)}, "cipher_suites"), ({"curve": "no-such-curve"}, "curve_preferences")],
)
def test_what_this_openssl_does_not_have_is_told_as_a_wrong_setting(
    ours: Certificates, monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], key: str
) -> None:
    """A build or a policy of the system may leave out what the exporter knows by name."""
    monkeypatch.setattr("npu_metrics_exporter.web.tls._CURVES", {"no-such-curve": "no-such-curve"})
    certificate, private = (Pem(Given("key", path, "web.yml"), path=path) for path in map(str, ours.sign("server")))
    with pytest.raises(SettingsError) as caught:
        context(Tls(certificate, private, **choice))
    (problem,) = caught.value.problems
    assert (problem.key, problem.source) == (f"tls_server_config.{key}", "web.yml")


MUTUAL = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n"


def is_answered(client: socket.socket) -> bool:
    """Whether a client gets a scrape on a connection that it has."""
    try:
        client.sendall(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(65536).startswith(b"HTTP/1.1 200")
    except (ssl.SSLError, ConnectionError):
        return False


def test_no_connection_outlives_the_proof_that_it_was_made_with(
    tmp_path: Path, ours: Certificates, friend: Pair, loop: str
) -> None:
    theirs = Certificates(tmp_path / "theirs")
    member = theirs.sign("member", "DNS:prometheus.monitoring")
    file = tmp_path / "web.yml"
    file.write_text("{}\n")
    with serving(web_config=file, loop=loop) as web:
        kept = web.connect()
        # Its look at the file is over now: a look that began before a change would be shared by the next connection.
        assert is_answered(kept)
        for more, newer in (
            (MUTUAL.format(ours.authority), friend),
            (MUTUAL.format(theirs.authority), member),
            (MUTUAL.format(theirs.authority) + "  client_allowed_sans: [prometheus.monitoring]\n", member),
        ):
            configured(tmp_path, ours, more)
            client = ours.client(newer).wrap_socket(web.connect(), server_hostname="127.0.0.1")
            assert is_answered(client)
            assert not is_answered(kept)
            kept.close()
            kept = client
        # A renewed certificate of the server, and another one of its keys, end nothing.
        ours.sign("server")
        assert is_served(web, ours.client(member))
        assert is_answered(kept)
        kept.close()
