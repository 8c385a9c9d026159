"""The web configuration file: what is taken, what is refused and how that is said, and following it."""

import itertools
import logging
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.config.file import parse_config
from npu_core.errors import Problem, ProblemCode, SettingsError
from npu_core.service import file_looks
from npu_core.service.given_files import MAX_SIZE, GivenFiles
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.web.cipher_suites import SUITES
from npu_metrics_exporter.web.config_file import ClientAuth, Curve, TlsVersion, WebConfig, parse
from npu_metrics_exporter.web.rate import RateLimit
from npu_metrics_exporter.web.reload import WebConfigReloader
from npu_metrics_exporter.web.tls import context
from testkit.waiting import PATIENCE, eventually
from tests.metrics_exporter import wrong
from tests.metrics_exporter.serving import Certificates
from tests.metrics_exporter.wrong import HASH, PAIR


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.sign("server")
    made.sign("other")
    return made


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_it(text: str) -> Path:
        file = tmp_path / "web.yml"
        file.write_text(text)
        return file

    return write_it


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(parse_config(text.encode(), "web.yml"), "/etc")
    return caught.value.problems


def parsed(text: str) -> WebConfig:
    return parse(parse_config(text.encode(), "web.yml"), "/etc")


def test_a_file_without_settings_asks_for_nothing() -> None:
    assert parsed("{}") == parsed("tls_server_config:\n") == WebConfig()


def test_everything_that_the_toolkit_documents_is_taken() -> None:
    config = parsed(f"""
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans:
    - prometheus.monitoring
    - 10.0.0.1
  min_version: TLS12
  max_version: TLS13
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    - TLS_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: sameorigin
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 0
    Strict-Transport-Security: ""
basic_auth_users:
  prometheus: {HASH}
  "42": {HASH.replace("$2y", "$2a")}
rate_limit:
  interval: 1m30s
  burst: 20
""")
    assert config.tls is not None
    assert config.tls.files == ("/etc/server.crt", "/keys/server.key", "/etc/ca.crt")
    assert config.tls.client_auth is ClientAuth.REQUIRE_AND_VERIFY
    assert config.tls.allowed_sans == ("prometheus.monitoring", "10.0.0.1")
    assert (config.tls.oldest, config.tls.newest) == (TlsVersion.TLS12, TlsVersion.TLS13)
    assert config.tls.suites == ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert (config.tls.prefer_own_order, config.tls.curve) == (False, Curve.P256)
    assert dict(config.headers) == {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "sameorigin",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "0",
    }
    assert dict(config.users) == {"prometheus": HASH.encode(), "42": HASH.replace("$2y", "$2a").encode()}
    assert config.rate == RateLimit(90, 20)


@pytest.mark.parametrize(("text", "expected"), wrong.WEB)
def test_everything_wrong_is_said_at_once_and_no_secret_is_shown(
    text: str, expected: tuple[tuple[str, int, ProblemCode], ...]
) -> None:
    found = problems(text)
    assert [(each.key, each.line, each.code) for each in found] == list(expected)
    for each in found:
        assert each.source == "web.yml"
        if each.key.startswith("basic_auth_users."):
            assert each.value == "(not shown)"
            assert text.rpartition(": ")[2].strip() not in str(each)


@pytest.mark.parametrize("auth", ["NoClientCert", "RequestClientCert", '""'])
def test_without_a_check_of_clients_no_authority_is_needed(auth: str) -> None:
    config = parsed(PAIR + f"  client_auth_type: {auth}\n")
    assert config.tls is not None
    assert config.tls.client_ca is None


def test_an_old_name_of_a_client_auth_type_is_taken_as_the_toolkit_does() -> None:
    config = parsed(PAIR + "  client_auth_type: RequireClientCert\n  client_ca_file: c\n")
    assert config.tls is not None
    assert config.tls.client_auth is ClientAuth.REQUIRE_ANY


def test_a_key_under_a_wrong_name_is_not_shown(certificates: Certificates) -> None:
    text = (certificates.directory / "server.key").read_text()
    block = "".join(f"    {line}\n" for line in text.splitlines())
    (problem, *_) = problems(f"tls_server_config:\n  keyy: |\n{block}  cert_file: a\n  key_file: b\n")
    assert (problem.key, problem.value) == ("tls_server_config.keyy", "(not shown)")
    assert "PRIVATE" not in str(problem)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("100ms", 0.1), ("1m30s", 90), ("1.5h", 5400), ("2us", 2e-6), ("250µs", 2.5e-4), ("3ns", 3e-9)],
)
def test_durations_are_those_of_go(text: str, seconds: float) -> None:
    config = parsed(f"rate_limit:\n  interval: {text}\n  burst: 2\n")
    assert config.rate is not None
    assert config.rate.interval == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0", "0s"])
def test_an_interval_of_nothing_is_no_limit(text: str) -> None:
    assert parsed(f"rate_limit:\n  interval: {text}\n").rate is None


@given(st.recursive(st.text(st.characters(codec="utf-8"), max_size=20), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_stands_in_the_file_is_taken_or_refused_never_worse(content: object) -> None:
    for key in ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"):
        try:
            parsed(f"{key}: {content!r}\n")
        except SettingsError as error:
            assert error.problems  # noqa: PT017  # either end is right


def test_every_cipher_suite_that_is_taken_is_one_of_this_openssl(certificates: Certificates) -> None:
    for suite in SUITES:
        text = f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  cipher_suites: [{suite}]\n"
        tls = parse(parse_config(text.encode(), "web.yml"), str(certificates.directory)).tls
        assert tls is not None
        names = {each["name"] for each in context(tls).get_ciphers()}
        assert {SUITES[suite]} - {""} <= names


@pytest.mark.parametrize("curve", list(Curve))
def test_every_curve_that_is_taken_is_one_of_this_openssl(curve: Curve, certificates: Certificates) -> None:
    text = f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  curve_preferences: [{curve}]\n"
    tls = parse(parse_config(text.encode(), "web.yml"), str(certificates.directory)).tls
    assert tls is not None
    assert context(tls) is not None


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(
    ("certificate", "key", "more", "expected"),
    [
        ("missing.crt", "server.key", "", ["cert_file"]),
        ("server.crt", "other.key", "", ["key_file"]),
        ("empty", "server.key", "", ["cert_file", "key_file"]),
        ("server.crt", "empty", "", ["cert_file", "key_file"]),
        ("cut.crt", "server.key", "", ["cert_file"]),
        (
            "server.crt",
            "server.key",
            "  client_auth_type: RequireAnyClientCert\n  client_ca_file: empty\n",
            ["client_ca_file"],
        ),
        ("server.crt", "server.key", "  min_version: TLS10\n  max_version: TLS11\n", [""]),
    ],
)
def test_files_with_which_nobody_could_connect_are_refused(  # noqa: PLR0913, PLR0917  # a row of the table
    write: Write, tmp_path: Path, certificates: Certificates, certificate: str, key: str, more: str, expected: list[str]
) -> None:
    for name in ("server.crt", "server.key", "other.key"):
        shutil.copy(certificates.directory / name, tmp_path)
    whole = (tmp_path / "server.crt").read_bytes()
    (tmp_path / "cut.crt").write_bytes(whole + whole[:200])
    (tmp_path / "empty").touch()
    file = write(f"tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n{more}")
    with pytest.raises(SettingsError) as caught:
        WebConfigReloader(str(file))
    assert [each.key.removeprefix("tls_server_config").removeprefix(".") for each in caught.value.problems] == expected
    assert {each.source for each in caught.value.problems} == {str(file)}


def test_certificate_and_key_may_stand_in_the_file_itself(write: Write, certificates: Certificates) -> None:
    def block(name: str) -> str:
        text = (certificates.directory / name).read_text()
        return "|\n" + "".join(f"    {line}\n" for line in text.splitlines())

    file = write(f"tls_server_config:\n  cert: {block('server.crt')}  key: {block('server.key')}")
    assert WebConfigReloader(str(file)).current().context is not None


# -- following ---------------------------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("content", ["basic_auth_users: nobody\n", None])
def test_a_wrong_change_leaves_what_was_in_force_and_is_said_once(
    write: Write, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    caplog.set_level(logging.INFO)
    file = write(f"basic_auth_users:\n  a: {HASH}\n")
    keeper = WebConfigReloader(str(file))
    before = keeper.look()
    file.unlink()
    if content is not None:
        write(content)
    for _ in range(5):
        assert keeper.look() is before
        assert keeper.generation == 1
        assert str(file) in keeper.error
    assert told(caplog) == [Event.WEB_REFUSED]
    write(f"basic_auth_users:\n  b: {HASH}\n")
    assert keeper.look().users == {"b": HASH.encode()}
    assert (keeper.error, keeper.generation) == ("", 2)
    assert told(caplog) == [Event.WEB_REFUSED, Event.WEB_APPLIED]


async def test_a_file_on_a_server_that_does_not_answer_is_said_once_and_once_when_it_does(
    write: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    keeper = WebConfigReloader(str(write("{}\n")))
    before, go_on = keeper.current(), threading.Event()
    look = GivenFiles.look
    with monkeypatch.context() as hung:
        hung.setattr(file_looks, "PATIENCE", 0.01)
        hung.setattr(file_looks, "DEADLINE", 0.0)
        hung.setattr(GivenFiles, "look", lambda *given: go_on.wait(2 * PATIENCE) and look(*given))
        for _ in range(3):
            assert await keeper.follow() is before
        assert str(keeper._path) in keeper.error
        assert told(caplog) == [Event.WEB_UNREADABLE]
        go_on.set()
        await eventually(lambda: keeper.current() is before and not keeper.error, "the look to end")
    assert told(caplog) == [Event.WEB_UNREADABLE, Event.WEB_READABLE]


async def test_whoever_asks_without_waiting_begins_a_look_whose_result_holds_for_the_next(write: Write) -> None:
    keeper = WebConfigReloader(str(write("{}\n")))
    assert await keeper.tls() is None
    write(f"basic_auth_users:\n  a: {HASH}\n")
    assert keeper.current().users == {}
    await eventually(lambda: keeper.current().users == {"a": HASH.encode()}, "the new users")


def test_a_secret_that_the_kubelet_swaps_is_followed(tmp_path: Path) -> None:
    for name, text in (("one", "{}\n"), ("two", f"basic_auth_users:\n  a: {HASH}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.yml").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "web.yml").symlink_to("..data/web.yml")
    keeper = WebConfigReloader(str(tmp_path / "web.yml"))
    assert keeper.look().users == {}
    (tmp_path / "..data_tmp").symlink_to("two")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH105  # over a link, as the kubelet does
    assert keeper.look().users == {"a": HASH.encode()}


def test_a_certificate_that_comes_before_its_key_is_taken_when_both_are_there(
    write: Write, tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("crt", "key"):
        (tmp_path / f"tls.{name}").write_bytes((certificates.directory / f"server.{name}").read_bytes())
    keeper = WebConfigReloader(str(write("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n")))
    first = keeper.look().context
    (tmp_path / "tls.crt").write_bytes((certificates.directory / "other.crt").read_bytes())
    assert keeper.look().context is first
    assert keeper.error
    (tmp_path / "tls.key").write_bytes((certificates.directory / "other.key").read_bytes())
    assert keeper.look().context is not first
    assert keeper.error == ""


# -- protection that must not disappear by accident --------------------------------------------------------------------

USERS = f"basic_auth_users:\n  a: {HASH}\n"


def protected(certificates: Certificates, more: str = "") -> str:
    """A configuration with every protection that there is."""
    directory = certificates.directory
    return (
        f"tls_server_config:\n  cert_file: {directory}/server.crt\n  key_file: {directory}/server.key\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {directory}/authority.crt\n"
        f"  client_allowed_sans: [localhost]\n{USERS}{more}"
    )


@pytest.mark.parametrize("text", ["", "\n", "# users follow\n", "---\n", "basic_auth_users:\n", "rate_limit: {}\n"])
def test_a_file_that_lost_its_users_without_a_word_leaves_them_in_force(
    write: Write, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = WebConfigReloader(str(write(USERS)))
    path = write(text)
    for _ in range(3):
        assert keeper.look().users == {"a": HASH.encode()}
    assert str(path) in keeper.error
    assert told(caplog) == [Event.WEB_REFUSED]


@pytest.mark.parametrize("text", ["{}\n", "basic_auth_users: {}\n"])
def test_users_that_are_switched_off_in_so_many_words_are_off_with_a_warning(
    write: Write, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = WebConfigReloader(str(write(USERS)))
    write(text)
    assert keeper.look().users == {}
    (warning,) = [record for record in caplog.records if record.getMessage() == Event.PROTECTION_ENDED]
    assert warning.__dict__["npu_fields"]["setting"] == "basic_auth_users"


def test_no_beginning_of_a_file_takes_a_protection_away(write: Write, certificates: Certificates) -> None:
    """A write that is cut off leaves a beginning of what was to be written. Each is tried, also after a new user."""
    whole = protected(certificates, "  b: " + HASH + "\n")
    keeper = WebConfigReloader(str(write(protected(certificates))))
    before = keeper.look().config.protections
    assert len(before) == 4
    for length in range(len(whole)):
        write(whole[:length])
        assert keeper.look().config.protections == before, whole[:length]
    write(whole)
    assert set(keeper.look().users) == {"a", "b"}
    assert not keeper.error


def test_a_new_file_may_end_one_protection_and_keep_the_others(write: Write, certificates: Certificates) -> None:
    keeper = WebConfigReloader(str(write(protected(certificates))))
    without = protected(certificates).replace("[localhost]", "[]")
    write(without)
    assert keeper.look().config.protections == {"tls_server_config", "tls_server_config.client_auth_type", USERS[:16]}
    without = without.replace("  client_allowed_sans: []\n", "").replace("  client_ca_file", "  # ")
    write(without.replace("RequireAndVerifyClientCert", "NoClientCert"))
    assert keeper.look().config.protections == {"tls_server_config", USERS[:16]}
    write(f"tls_server_config: {{}}\n{USERS}")
    assert keeper.look().config.protections == {USERS[:16]}


def test_a_pipe_in_the_place_of_a_file_leaves_the_last_good_state(
    write: Write, tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("crt", "key"):
        (tmp_path / f"tls.{name}").write_bytes((certificates.directory / f"server.{name}").read_bytes())
    keeper = WebConfigReloader(str(write(f"tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{USERS}")))
    first = keeper.look()
    for name in ("web.yml", "tls.crt", "tls.key"):
        path = tmp_path / name
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert keeper.look() is first
        assert str(path.name) in keeper.error
        path.unlink()
        path.write_bytes(content)
        first = keeper.look()
        assert not keeper.error


def test_a_key_that_everybody_can_read_is_warned_of_once(
    write: Write, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "tls.key"
    key.write_bytes((certificates.directory / "server.key").read_bytes())
    key.chmod(0o644)
    text = f"tls_server_config:\n  cert_file: {certificates.directory / 'server.crt'}\n  key_file: {key}\n"
    keeper = WebConfigReloader(str(write(text)))
    write(text + USERS)
    assert keeper.look().users
    (warning,) = [record for record in caplog.records if record.getMessage() == Event.OPEN_KEY]
    fields = warning.__dict__["npu_fields"]
    assert (fields["path"], fields["mode"]) == (str(key), "0644")


@pytest.mark.parametrize("content", [None, b"", b"# nothing\n", b"x" * (MAX_SIZE + 1)])
def test_a_web_configuration_that_cannot_be_read_is_told_by_the_name_of_its_option(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "web.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        WebConfigReloader(str(path))
    (problem,) = caught.value.problems
    # An empty file can be read, and is told of by its own name.
    assert problem.source == (str(path) if content is not None and len(content) < MAX_SIZE else "web-config-file")


def test_a_file_that_is_copied_over_by_itself_again_and_again_is_told_once_a_minute(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    right = f"basic_auth_users:\n  a: {HASH}\n"
    keeper = WebConfigReloader(str(write(right)), lambda: now[0])
    for _ in range(20):
        write("")
        keeper.look()
        assert keeper.error
        write(right)
        keeper.look()
        assert not keeper.error
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert keeper.generation == 1
    now[0] = 61.0
    write("")
    keeper.look()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@contextmanager
def descriptors(number: int) -> Iterator[None]:
    """Meanwhile this process may open so many files and no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = itertools.filterfalse(_is_open, itertools.count())
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, number, None)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [0, 1, 2])
def test_files_that_could_not_be_read_for_a_lack_of_descriptors_are_read_again(
    write: Write, certificates: Certificates, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    now = [0.0]
    keeper = WebConfigReloader(str(write(f"basic_auth_users:\n  a: {HASH}\n")), lambda: now[0])
    directory = certificates.directory
    tls = f"tls_server_config:\n  cert_file: {directory}/server.crt\n  key_file: {directory}/server.key\n"
    write(f"basic_auth_users:\n  a: {HASH}\n{tls}")
    with descriptors(number):
        for _ in range(20):
            now[0] += 10.0
            keeper.look()
        assert "Too many open files" in keeper.error
    assert len(caplog.records) <= 2  # the certificate and its key
    now[0] += 10.0
    assert keeper.look().context is not None
    assert keeper.error == ""
