"""The web configuration file: what is taken, what is refused and how that is said, and following it."""

import itertools
import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.config.file import parse_config
from npu_core.errors import SettingsError
from npu_core.service.given_files import MAX_SIZE
from npu_metrics_exporter.cipher_suites import SUITES
from npu_metrics_exporter.rate import RateLimit
from npu_metrics_exporter.tls import context
from npu_metrics_exporter.web_config import ClientAuth, Curve, TlsVersion, WebConfig, load, parse
from npu_metrics_exporter.web_reload import WebKeeper
from tests.metrics_exporter.serving import Certificates

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


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


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(parse_config(text.encode(), "web.yml"), "/etc")
    return [str(problem) for problem in caught.value.problems]


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


def test_everything_wrong_is_said_at_once_with_key_line_value_and_what_was_expected() -> None:
    found = problems("""tls_server_config:
  cert_file: [7]
  client_auth_type: Sometimes
  min_version: TLS9
  max_version: TLS12
  cipher_suites: [TLS_NULL, TLS_AES_128_GCM_SHA256]
  curve_preferences: X25519
  prefer_server_cipher_suites: maybe
  cert_fil: a
http_server_config:
  headers:
    X-Frame-Options: never
    X-Powered-By: nobody
basic_auth_users: [a]
rate_limit:
  interval: often
  burst: 0
metrics: on
""")
    assert [problem.partition(": expected")[0] for problem in found] == [
        "web.yml:2: tls_server_config.cert_file is 'a list of 1'",
        "web.yml:2: tls_server_config.key_file is missing",
        "web.yml:3: tls_server_config.client_auth_type is 'Sometimes'",
        "web.yml:4: tls_server_config.min_version is 'TLS9'",
        "web.yml:6: tls_server_config.cipher_suites[0] is 'TLS_NULL'",
        "web.yml:7: tls_server_config.curve_preferences is 'X25519'",
        "web.yml:8: tls_server_config.prefer_server_cipher_suites is 'maybe'",
        "web.yml:9: tls_server_config.cert_fil is 'a'",
        "web.yml:12: http_server_config.headers.X-Frame-Options is 'never'",
        "web.yml:13: http_server_config.headers.X-Powered-By is 'nobody'",
        "web.yml:14: basic_auth_users is 'a list of 1'",
        "web.yml:16: rate_limit.interval is 'often'",
        "web.yml:17: rate_limit.burst is '0'",
        "web.yml:18: metrics is 'on'",
    ]
    assert found[2].endswith(
        "expected one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, "
        "RequireAndVerifyClientCert"
    )


PAIR = "tls_server_config:\n  cert_file: a\n  key_file: b\n"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("tls_server_config: {cert_file: a}\n", "key_file", "is missing"),
        ("tls_server_config: {key_file: a}\n", "cert_file", "is missing"),
        (PAIR + "  cert: text\n", "cert_file", "either cert or cert_file"),
        (PAIR + "  client_ca_file: c\n", "client_ca_file", "no authority for clients without a client_auth_type"),
        (PAIR + "  client_auth_type: RequireAndVerifyClientCert\n", "client_auth_type", "a client_ca_file"),
        (PAIR + "  client_auth_type: VerifyClientCertIfGiven\n", "client_auth_type", "a client_ca_file"),
        (PAIR + "  client_auth_type: RequireAnyClientCert\n", "client_auth_type", "a client_ca_file"),
        (PAIR + "  client_allowed_sans: [a]\n", "client_allowed_sans", "only with client_auth_type"),
        (
            PAIR + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: c\n  client_allowed_sans: [a]\n",
            "client_allowed_sans",
            "only with client_auth_type",
        ),
        (PAIR + "  min_version: TLS13\n  max_version: TLS12\n", "min_version", "a version not after TLS12"),
        (PAIR + "  curve_preferences: [X25519, CurveP256]\n", "curve_preferences", "one curve, or all"),
        (PAIR + "  cert_file: c\n", "cert_file", "each key once"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, key: str, expected: str) -> None:
    (problem,) = problems(text)
    assert f"tls_server_config.{key} " in problem
    assert expected in problem


@pytest.mark.parametrize("auth", ["NoClientCert", "RequestClientCert", '""'])
def test_without_a_check_of_clients_no_authority_is_needed(auth: str) -> None:
    config = parsed(PAIR + f"  client_auth_type: {auth}\n")
    assert config.tls is not None
    assert config.tls.client_ca is None


def test_an_old_name_of_a_client_auth_type_is_taken_as_the_toolkit_does() -> None:
    config = parsed(PAIR + "  client_auth_type: RequireClientCert\n  client_ca_file: c\n")
    assert config.tls is not None
    assert config.tls.client_auth is ClientAuth.REQUIRE_ANY


@pytest.mark.parametrize("secret", ["hunter2", "$2y$99$" + "a" * 53, "$1$abcdefgh$" + "a" * 22, HASH[:-1], "[1]"])
def test_what_stands_where_a_hash_belongs_is_refused_and_never_shown(secret: str) -> None:
    (problem,) = problems(f"basic_auth_users:\n  alice: {secret}\n")
    assert problem.startswith("web.yml:2: basic_auth_users.alice is '(not shown)': expected a bcrypt hash")
    assert secret not in problem


def test_a_user_who_comes_twice_is_refused_and_no_hash_is_shown() -> None:
    (problem,) = problems(f"basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n")
    assert "each key once" in problem
    assert HASH not in problem


def test_a_key_under_a_wrong_name_is_not_shown(certificates: Certificates) -> None:
    text = (certificates.directory / "server.key").read_text()
    block = "".join(f"    {line}\n" for line in text.splitlines())
    (problem, *_) = problems(f"tls_server_config:\n  keyy: |\n{block}  cert_file: a\n  key_file: b\n")
    assert "tls_server_config.keyy is '(not shown)'" in problem
    assert "PRIVATE" not in problem


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


@pytest.mark.parametrize("text", ["1", "-1s", "1d", "s", "1 s", "true", "[]"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    (problem,) = problems(f"rate_limit:\n  interval: {text}\n")
    assert "expected a duration such as" in problem


@given(st.recursive(st.text(st.characters(codec="utf-8"), max_size=20), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_stands_in_the_file_is_taken_or_refused_never_worse(content: object) -> None:
    for key in ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"):
        try:
            parsed(f"{key}: {content!r}\n")
        except SettingsError as error:
            assert error.problems  # noqa: PT017  # either end is right


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yml.*a readable file"):
        load(str(tmp_path / "none.yml"))


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


def refusal(write: Write, certificate: Path | str, key: Path | str, more: str = "") -> str:
    file = write(f"tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n{more}")
    with pytest.raises(SettingsError) as caught:
        WebKeeper(str(file))
    return str(caught.value)


def test_a_certificate_that_cannot_be_read_is_named(write: Write, certificates: Certificates) -> None:
    said = refusal(write, "missing.crt", certificates.directory / "server.key")
    assert "web.yml:2: tls_server_config.cert_file is 'missing.crt': expected a readable file: ENOENT (No such" in said


def test_a_key_that_belongs_to_another_certificate_is_refused(write: Write, certificates: Certificates) -> None:
    said = refusal(write, certificates.directory / "server.crt", certificates.directory / "other.key")
    assert ":3: tls_server_config.key_file" in said
    assert "expected the key to the certificate" in said


def test_files_that_hold_no_certificate_are_refused(write: Write, tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "empty").write_text("")
    server = certificates.directory / "server.crt", certificates.directory / "server.key"
    assert "as PEM" in refusal(write, tmp_path / "empty", server[1])
    assert "as PEM" in refusal(write, server[0], tmp_path / "empty")
    authority = f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {tmp_path / 'empty'}\n"
    assert "certificates of authorities, as PEM" in refusal(write, *server, authority)


def test_certificate_and_key_may_stand_in_the_file_itself(write: Write, certificates: Certificates) -> None:
    def block(name: str) -> str:
        text = (certificates.directory / name).read_text()
        return "|\n" + "".join(f"    {line}\n" for line in text.splitlines())

    file = write(f"tls_server_config:\n  cert: {block('server.crt')}  key: {block('server.key')}")
    assert WebKeeper(str(file)).current().context is not None


# -- following ---------------------------------------------------------------------------------------------------------


def test_a_right_change_is_in_force_at_once(write: Write) -> None:
    keeper = WebKeeper(str(write("{}\n")))
    before = keeper.look()
    assert keeper.look() is before
    write(f"basic_auth_users:\n  a: {HASH}\n")
    assert keeper.look().users == {"a": HASH.encode()}
    assert (keeper.generation, keeper.error) == (2, "")


def test_a_wrong_change_leaves_what_was_in_force_and_is_said_once(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = WebKeeper(str(write(f"basic_auth_users:\n  a: {HASH}\n")))
    write("basic_auth_users: nobody\n")
    for _ in range(5):
        assert keeper.look().users == {"a": HASH.encode()}
    assert "basic_auth_users" in keeper.error
    assert caplog.text.count("web configuration refused") == 1
    write("{}\n")
    assert keeper.look().users == {}
    assert keeper.error == ""


def test_a_file_that_goes_away_and_comes_back_changes_nothing_meanwhile(write: Write) -> None:
    file = write(f"basic_auth_users:\n  a: {HASH}\n")
    keeper = WebKeeper(str(file))
    file.unlink()
    assert keeper.look().users == {"a": HASH.encode()}
    assert keeper.error
    write("{}\n")
    assert keeper.look().users == {}


def test_a_secret_that_the_kubelet_swaps_is_followed(tmp_path: Path) -> None:
    for name, text in (("one", "{}\n"), ("two", f"basic_auth_users:\n  a: {HASH}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.yml").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "web.yml").symlink_to("..data/web.yml")
    keeper = WebKeeper(str(tmp_path / "web.yml"))
    assert keeper.look().users == {}
    (tmp_path / "..data_tmp").symlink_to("two")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH105  # over a link, as the kubelet does
    assert keeper.look().users == {"a": HASH.encode()}


def test_a_certificate_that_comes_before_its_key_is_taken_when_both_are_there(
    write: Write, tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("crt", "key"):
        (tmp_path / f"tls.{name}").write_bytes((certificates.directory / f"server.{name}").read_bytes())
    keeper = WebKeeper(str(write("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n")))
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
    keeper = WebKeeper(str(write(USERS)))
    path = write(text)
    for _ in range(3):
        assert keeper.look().users == {"a": HASH.encode()}
    assert str(path) in keeper.error
    assert caplog.text.count("web configuration refused") == 1


@pytest.mark.parametrize("text", ["{}\n", "basic_auth_users: {}\n"])
def test_users_that_are_switched_off_in_so_many_words_are_off_with_a_warning(
    write: Write, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = WebKeeper(str(write(USERS)))
    write(text)
    assert keeper.look().users == {}
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.npu_fields["setting"] == "basic_auth_users"  # type: ignore[attr-defined]  # of EventLog


def test_no_beginning_of_a_file_takes_a_protection_away(write: Write, certificates: Certificates) -> None:
    """A write that is cut off leaves a beginning of what was to be written. Each is tried, also after a new user."""
    whole = protected(certificates, "  b: " + HASH + "\n")
    keeper = WebKeeper(str(write(protected(certificates))))
    before = keeper.look().config.protections
    assert len(before) == 4
    for length in range(len(whole)):
        write(whole[:length])
        assert keeper.look().config.protections == before, whole[:length]
    write(whole)
    assert set(keeper.look().users) == {"a", "b"}
    assert not keeper.error


def test_a_new_file_may_end_one_protection_and_keep_the_others(write: Write, certificates: Certificates) -> None:
    keeper = WebKeeper(str(write(protected(certificates))))
    without = protected(certificates).replace("[localhost]", "[]")
    write(without)
    assert keeper.look().config.protections == {"tls_server_config", "tls_server_config.client_auth_type", USERS[:16]}
    without = without.replace("  client_allowed_sans: []\n", "").replace("  client_ca_file", "  # ")
    write(without.replace("RequireAndVerifyClientCert", "NoClientCert"))
    assert keeper.look().config.protections == {"tls_server_config", USERS[:16]}
    write(f"tls_server_config: {{}}\n{USERS}")
    assert keeper.look().config.protections == {USERS[:16]}


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_an_empty_file_at_the_start_is_an_error_that_says_what_to_write(write: Write, text: str) -> None:
    with pytest.raises(SettingsError, match=r"or \{\} if every setting"):
        WebKeeper(str(write(text)))


def test_a_pipe_in_the_place_of_a_file_leaves_the_last_good_state(
    write: Write, tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("crt", "key"):
        (tmp_path / f"tls.{name}").write_bytes((certificates.directory / f"server.{name}").read_bytes())
    keeper = WebKeeper(str(write(f"tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{USERS}")))
    first = keeper.look()
    for name in ("web.yml", "tls.crt", "tls.key"):
        path = tmp_path / name
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert keeper.look() is first
        assert "a regular file, not a pipe" in keeper.error
        path.unlink()
        path.write_bytes(content)
        first = keeper.look()
        assert not keeper.error


def test_a_certificate_without_its_end_is_refused(write: Write, tmp_path: Path, certificates: Certificates) -> None:
    whole = (certificates.directory / "server.crt").read_bytes()
    (tmp_path / "cut.crt").write_bytes(whole + whole[:200])
    assert "a part is missing" in refusal(write, tmp_path / "cut.crt", certificates.directory / "server.key")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_versions_that_no_client_can_agree_on_are_refused(write: Write, certificates: Certificates) -> None:
    server = certificates.directory / "server.crt", certificates.directory / "server.key"
    said = refusal(write, *server, "  min_version: TLS10\n  max_version: TLS11\n")
    assert "tls_server_config is 'min_version TLS10, max_version TLS11'" in said


def test_a_key_that_everybody_can_read_is_warned_of_once(
    write: Write, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "tls.key"
    key.write_bytes((certificates.directory / "server.key").read_bytes())
    key.chmod(0o644)
    text = f"tls_server_config:\n  cert_file: {certificates.directory / 'server.crt'}\n  key_file: {key}\n"
    keeper = WebKeeper(str(write(text)))
    write(text + USERS)
    assert keeper.look().users
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    fields = warning.npu_fields  # type: ignore[attr-defined]  # of EventLog
    assert (fields["path"], fields["mode"]) == (str(key), "0644")


@pytest.mark.parametrize("content", [None, b"x" * (MAX_SIZE + 1)])
def test_a_web_configuration_that_cannot_be_read_is_told_by_the_name_of_its_option(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "web.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        WebKeeper(str(path))
    assert str(caught.value).startswith(f"web-config-file: the file is '{path}'")


def test_a_file_that_is_copied_over_by_itself_again_and_again_is_told_once_a_minute(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    right = f"basic_auth_users:\n  a: {HASH}\n"
    keeper = WebKeeper(str(write(right)), lambda: now[0])
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
    keeper = WebKeeper(str(write(f"basic_auth_users:\n  a: {HASH}\n")), lambda: now[0])
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
