"""The web configuration file that every exporter of the Prometheus project takes, as values.

Source: github.com/prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go.
"""

import os.path
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from npu_core.errors import LONGEST_SHOWN, FormatError, Problem, ProblemCode, SettingsError
from npu_core.service.given_files import ReadFile, read_once
from npu_core.service.settings import Given, Kind, Reader, text_of
from npu_metrics_exporter.web.cipher_suites import SUITES
from npu_metrics_exporter.web.protection import CLIENT_AUTH, SANS, TLS, USERS, switched_off
from npu_metrics_exporter.web.rate import RateLimit

T = TypeVar("T")

_Texts = tuple[str, ...]
_Pairs = tuple[tuple[str, str], ...]

_NO_TEXTS: _Texts = ()
_NO_PAIRS: _Pairs = ()
_SCALARS = frozenset({Kind.STRING, Kind.NUMBER, Kind.BOOLEAN})
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}", re.ASCII)
_EXPECTED_HASH = "a bcrypt hash of a cost from 4 to 15, as `htpasswd -nB` makes it"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_HIDDEN = "(not shown)"


class ClientAuth(StrEnum):
    """What is asked of a client's certificate."""

    NONE = "NoClientCert"
    REQUEST = "RequestClientCert"
    """Asked for, never checked, never needed: to the client and to us the same as none."""
    REQUIRE_ANY = "RequireAnyClientCert"
    VERIFY_IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRE_AND_VERIFY = "RequireAndVerifyClientCert"


class TlsVersion(StrEnum):
    """A version of TLS, by its name there; in the order of their age."""

    TLS10 = "TLS10"
    TLS11 = "TLS11"
    TLS12 = "TLS12"
    TLS13 = "TLS13"


class Curve(StrEnum):
    """A curve for the exchange of keys; the value is Go's name."""

    P256 = "CurveP256"
    P384 = "CurveP384"
    P521 = "CurveP521"
    X25519 = "X25519"


@dataclass(frozen=True, slots=True)
class Pem:
    """A certificate or key, in a file or in the configuration itself.

    Attributes:
        given: where it was said.
        path: of the file, or None.
        text: itself, or None.
    """

    given: Given
    path: str | None = None
    text: str | None = None

    def problem(self, expected: str) -> Problem:
        """It is wrong. Never shows what may be a key."""
        return _hidden(self.given.problem(expected))


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are encrypted.

    Attributes:
        certificate: with its chain.
        key: to it.
        client_auth: what is asked of a client's certificate.
        client_ca: who has to have signed it.
        allowed_sans: one of these has to be among its alternative names; empty: any may.
        oldest: version of TLS.
        newest: version of TLS.
        suites: OpenSSL's names for TLS 1.2 and older; empty: its own choice.
        prefer_own_order: of the suites, to the client's.
        curve: the only one, or None for OpenSSL's choice.
    """

    certificate: Pem
    key: Pem
    client_auth: ClientAuth = ClientAuth.NONE
    client_ca: Pem | None = None
    allowed_sans: tuple[str, ...] = ()
    oldest: TlsVersion = TlsVersion.TLS12
    newest: TlsVersion = TlsVersion.TLS13
    suites: tuple[str, ...] = ()
    prefer_own_order: bool = True
    curve: Curve | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it was read from."""
        return tuple(pem.path for pem in (self.certificate, self.key, self.client_ca) if pem and pem.path)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says.

    Attributes:
        tls: or None for plain HTTP.
        headers: added to every answer.
        users: user name and bcrypt hash; without one nobody is asked.
        rate: how often may be asked, or None for any.
        switched_off: the protections that the file says it does not want, which is more than that it leaves them out.
    """

    tls: Tls | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: tuple[tuple[str, bytes], ...] = ()
    rate: RateLimit | None = None
    switched_off: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def protections(self) -> frozenset[str]:
        """The keys by which the file keeps strangers out."""
        tls = self.tls
        in_force = {
            TLS: tls is not None,
            USERS: bool(self.users),
            CLIENT_AUTH: tls is not None and tls.client_auth in _CHECKED,
            SANS: tls is not None and bool(tls.allowed_sans),
        }
        return frozenset(key for key, holds in in_force.items() if holds)


def load(path: str, read: ReadFile = read_once) -> WebConfig:
    """The file's values; relative paths in it start at its directory.

    Args:
        path: the file.
        read: reads it.

    Raises:
        SettingsError: with everything that is wrong with it. What may be secret is not shown.
    """
    from npu_core.config.file import read_config  # noqa: PLC0415  # YAML is not loaded where there is no file

    return parse(read_config(path, "web-config-file", read), os.path.dirname(path))  # noqa: PTH120  # pathlib is not loaded for this


def parse(given: Iterable[Given], directory: str) -> WebConfig:
    """The values of a file's entries. Raises as :func:`load`."""
    entries = tuple(given)
    reader = Reader(entries)
    config = WebConfig(
        tls=reader.take("tls_server_config", lambda each: _tls(each, directory), None),
        headers=reader.take("http_server_config", _http, _NO_PAIRS),
        users=reader.take("basic_auth_users", _users, ()),
        rate=reader.take("rate_limit", _rate, None),
        switched_off=switched_off(entries, set(ClientAuth) - _CHECKED),
    )
    _finish(reader)
    return config


def _finish(reader: Reader) -> None:
    if problems := reader.finish():
        raise SettingsError(map(_hidden, problems))


def _hidden(problem: Problem) -> Problem:
    value = problem.value or ""
    # A text that was cut because of its length may be a certificate or a key.
    secret = problem.key.startswith("basic_auth_users.") or "\n" in value or len(value) > LONGEST_SHOWN
    return replace(problem, value=_HIDDEN) if secret else problem


def _inside(given: Given) -> Reader:
    if given.kind not in {Kind.MAPPING, Kind.NOTHING}:
        raise FormatError(given.text, "a mapping of keys to values")
    return Reader(value for _, value in given.fields)


def _tls(given: Given, directory: str) -> Tls | None:
    reader = _inside(given)
    prefix = given.key + "."
    before = len(given.fields)
    certificate = _pem(reader, prefix, "cert", directory)
    key = _pem(reader, prefix, "key", directory)
    client_ca = _pem(reader, prefix, "client_ca", directory)
    client_auth = reader.take(prefix + "client_auth_type", _client_auth, ClientAuth.NONE)
    sans = reader.take(prefix + "client_allowed_sans", _each(text_of), _NO_TEXTS)
    oldest = reader.take(prefix + "min_version", _word(TlsVersion), TlsVersion.TLS12)
    newest = reader.take(prefix + "max_version", _word(TlsVersion), TlsVersion.TLS13)
    suites = reader.take(prefix + "cipher_suites", _each(_suite), _NO_TEXTS)
    own_order = reader.take(prefix + "prefer_server_cipher_suites", _boolean, True)
    curve = reader.take(prefix + "curve_preferences", _curve, None)
    if before:
        _check_pairs(reader, given, certificate, key)
        _check_client(reader, given, client_auth, client_ca)
        if oldest > newest:
            reader.problems.append(_at(reader, given, "min_version").problem(f"a version not after {newest}"))
    _finish(reader)
    if certificate is None or key is None:
        return None
    named = tuple(suite for suite in suites if suite)
    return Tls(certificate, key, client_auth, client_ca, sans, oldest, newest, named, own_order, curve)


def _at(reader: Reader, section: Given, key: str) -> Given:
    return reader.given(f"{section.key}.{key}") or section


def _check_pairs(reader: Reader, given: Given, certificate: Pem | None, key: Pem | None) -> None:
    for pem, name in ((certificate, "cert"), (key, "key")):
        # One that was given and is wrong has been spoken of.
        if pem is None and not any(reader.given(f"{given.key}.{each}") for each in (name, f"{name}_file")):
            expected = f"{name}_file, or {name} with the text itself"
            reader.problems.append(
                Problem(f"{given.key}.{name}_file", None, expected, given.source, given.line, ProblemCode.MISSING)
            )


def _check_client(reader: Reader, given: Given, auth: ClientAuth, authority: Pem | None) -> None:
    if auth is ClientAuth.NONE and authority is not None:
        expected = "no authority for clients without a client_auth_type"
        reader.problems.append(authority.problem(expected))
    if auth in _CHECKED and authority is None and not reader.given(f"{given.key}.client_ca_file"):
        # The last two check against the machine's own authorities in Go: who has any web site's certificate gets in.
        # The first checks nothing there, and cannot here: OpenSSL as Python has it takes no unchecked certificate.
        expected = "a client_ca_file (or client_ca) to check against"
        reader.problems.append(_at(reader, given, "client_auth_type").problem(expected))
    sans = reader.given(f"{given.key}.client_allowed_sans")
    if sans and auth not in {ClientAuth.REQUIRE_ANY, ClientAuth.REQUIRE_AND_VERIFY}:
        expected = f"it only with client_auth_type {ClientAuth.REQUIRE_ANY} or {ClientAuth.REQUIRE_AND_VERIFY}"
        reader.problems.append(sans.problem(expected))


_CHECKED = frozenset({ClientAuth.REQUIRE_ANY, ClientAuth.VERIFY_IF_GIVEN, ClientAuth.REQUIRE_AND_VERIFY})


def _pem(reader: Reader, prefix: str, name: str, directory: str) -> Pem | None:
    text = reader.take(prefix + name, lambda given: Pem(given, text=text_of(given)), None)
    path = reader.take(f"{prefix}{name}_file", lambda given: Pem(given, path=_path(given, directory)), None)
    if text and path:
        reader.problems.append(path.problem(f"either {name} or {name}_file"))
    return path or text


def _path(given: Given, directory: str) -> str:
    text = text_of(given)
    if "\0" in text:
        raise FormatError(text, "a path")
    return os.path.join(directory, text)  # noqa: PTH118  # as in load


def _client_auth(given: Given) -> ClientAuth:
    if given.kind in {Kind.STRING, Kind.NOTHING} and not given.text.strip():
        return ClientAuth.NONE
    # An old name that is still taken there.
    renamed = "RequireClientCert"
    return ClientAuth.REQUIRE_ANY if given.text == renamed else _word(ClientAuth)(given)


def _word(choices: Callable[[str], T]) -> Callable[[Given], T]:
    def parse(given: Given) -> T:
        try:
            return choices(text_of(given))
        except ValueError:
            raise FormatError(given.text, f"one of {', '.join(choices)}") from None  # type: ignore[arg-type]

    return parse


def _boolean(given: Given) -> bool:
    if given.kind is not Kind.BOOLEAN:
        raise FormatError(given.text, "true or false")
    return given.text.lower() in {"true", "yes", "on"}


def _each(parse: Callable[[Given], T]) -> Callable[[Given], tuple[T, ...]]:
    def parse_all(given: Given) -> tuple[T, ...]:
        if given.kind not in {Kind.LIST, Kind.NOTHING}:
            raise FormatError(given.text, "a list")
        problems: list[Problem] = []
        values: list[T] = []
        for item in given.items:
            try:
                values.append(parse(item))
            except FormatError as error:
                problems.append(item.problem(error.expected))
        if problems:
            raise SettingsError(problems)
        return tuple(values)

    return parse_all


def _suite(given: Given) -> str:
    name = text_of(given)
    if name not in SUITES:
        raise FormatError(name, f"one of {', '.join(SUITES)}")
    return SUITES[name]


def _curve(given: Given) -> Curve | None:
    curves = _each(_word(Curve))(given)
    if len(curves) > 1 and set(curves) != set(Curve):
        raise FormatError(given.text, f"one curve, or all of {', '.join(Curve)}")
    return curves[0] if len(curves) == 1 else None


def _http(given: Given) -> tuple[tuple[str, str], ...]:
    reader = _inside(given)
    # Only HTTP/1.1 is spoken; a client that may speak HTTP/2 may speak that too.
    reader.take(given.key + ".http2", _boolean, True)
    headers = reader.take(given.key + ".headers", _headers, _NO_PAIRS)
    _finish(reader)
    return headers


def _headers(given: Given) -> tuple[tuple[str, str], ...]:
    reader = _inside(given)
    taken = ((name, reader.take(f"{given.key}.{name}", _header(allowed), "")) for name, allowed in _HEADERS.items())
    headers = tuple((name, value) for name, value in taken if value)
    _finish(reader)
    return headers


def _header(allowed: tuple[str, ...]) -> Callable[[Given], str]:
    def parse(given: Given) -> str:
        if given.kind is Kind.NOTHING or not given.text.strip():
            return ""
        if given.kind not in _SCALARS or not (given.text.isascii() and given.text.isprintable()):
            raise FormatError(given.text, "a text of printable ASCII characters in one line")
        if allowed and given.text not in allowed:
            raise FormatError(given.text, f"one of {', '.join(allowed)}")
        return given.text.strip()

    return parse


def _users(given: Given) -> tuple[tuple[str, bytes], ...]:
    reader = _inside(given)
    names = dict.fromkeys(name for name, _ in given.fields)
    users = tuple((name, reader.take(f"{given.key}.{name}", _hash, b"")) for name in names)
    _finish(reader)
    return users


def _hash(given: Given) -> bytes:
    if given.kind is not Kind.STRING or not _HASH.fullmatch(given.text):
        raise FormatError(_HIDDEN, _EXPECTED_HASH)
    return given.text.encode()


def _rate(given: Given) -> RateLimit | None:
    reader = _inside(given)
    interval = reader.take(given.key + ".interval", _duration, 0.0)
    burst = reader.take(given.key + ".burst", _burst, 1)
    _finish(reader)
    return RateLimit(interval, burst) if interval else None


def _duration(given: Given) -> float:
    expected = "a duration such as 100ms, 1s or 1m30s, or 0 for no limit"
    if given.text == "0":
        return 0.0
    if given.kind is not Kind.STRING or not re.fullmatch(rf"(?:{_DURATION.pattern})+", given.text, re.ASCII):
        raise FormatError(given.text, expected)
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(given.text))


def _burst(given: Given) -> int:
    largest_digits = 9
    if given.kind is not Kind.NUMBER or not re.fullmatch(rf"[1-9]\d{{0,{largest_digits}}}", given.text, re.ASCII):
        raise FormatError(given.text, "a whole number from 1 on")
    return int(given.text)
