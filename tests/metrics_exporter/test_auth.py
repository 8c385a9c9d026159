"""Passwords: who is let in, who is not, and that checking them holds nobody up."""

import base64
import threading
import time
from pathlib import Path

import bcrypt
import pytest

from metrics_exporter.serving import Reply, Serving, serving
from npu_metrics_exporter.auth import Credentials, credentials

PASSWORD = "correct horse"  # noqa: S105  # of a test's user
OTHER = PASSWORD[::-1]
QUICK_COST = 4
SLOW_COST = 11
"""About a tenth of a second of a core for each."""
SOON = 1.0
"""Seconds within which a known password is let in beside a flood; a slow check of each would take minutes."""


def header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def configure(directory: Path, cost: int = QUICK_COST, password: str = PASSWORD) -> Path:
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    file = directory / "web.yml"
    file.write_text(f"basic_auth_users:\n  prometheus: {hashed}\n")
    return file


def ask(web: Serving, user: str, password: str, path: str = "/metrics") -> Reply:
    return web.ask(path, authorization=header(user, password))


def test_the_right_password_is_let_in_and_nothing_else_is(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200
        assert ask(web, "prometheus", PASSWORD + "!").status == 401
        assert ask(web, "prometheus", "").status == 401
        assert ask(web, "nobody", PASSWORD).status == 401
        assert ask(web, "nobody", "fakepassword").status == 401
        refused = web.ask()
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert b"furiosa_npu" not in refused.body


@pytest.mark.parametrize("path", ["/", "/metrics", "/none"])
def test_every_page_but_the_probes_is_behind_the_password(tmp_path: Path, path: str) -> None:
    with serving(web_config=configure(tmp_path)) as web:
        assert web.ask(path).status == 401
        assert {web.ask(probe).status for probe in ("/healthz", "/readyz")} == {200}


@pytest.mark.parametrize(
    "text", ["", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Bearer abc", "basic\t"]
)
def test_a_header_that_is_no_basic_authentication_names_nobody(text: str, tmp_path: Path) -> None:
    assert credentials(text) is None
    with serving(web_config=configure(tmp_path)) as web:
        assert web.ask(authorization=text).status == 401


def test_a_password_may_hold_colons() -> None:
    assert credentials(header("a", "b:c")) == Credentials("a", b"b:c")


def test_a_changed_password_counts_at_once(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200
        configure(tmp_path, password=OTHER)
        assert ask(web, "prometheus", PASSWORD).status == 401
        assert ask(web, "prometheus", OTHER).status == 200


def test_a_password_is_checked_once_and_then_known(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path, SLOW_COST)) as web:
        begun = time.monotonic()
        assert ask(web, "prometheus", PASSWORD).status == 200
        first = time.monotonic() - begun
        begun = time.monotonic()
        assert {ask(web, "prometheus", PASSWORD).status for _ in range(20)} == {200}
        assert (time.monotonic() - begun) / 20 < first / 4


def test_a_flood_of_wrong_passwords_neither_slows_nor_shuts_out_who_is_known(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path, SLOW_COST)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200
        over = threading.Event()
        answers: set[int] = set()

        def flood(number: int) -> None:
            attempt = 0
            while not over.is_set():
                attempt += 1
                answers.add(ask(web, "prometheus", f"{number}-{attempt}").status)

        clients = [threading.Thread(target=flood, args=(number,)) for number in range(8)]
        for client in clients:
            client.start()
        try:
            time.sleep(0.3)
            slowest = 0.0
            for _ in range(10):
                begun = time.monotonic()
                assert ask(web, "prometheus", PASSWORD).status == 200
                assert web.ask("/healthz").status == 200
                slowest = max(slowest, time.monotonic() - begun)
        finally:
            over.set()
            for client in clients:
                client.join()
    assert slowest < SOON
    assert answers <= {401, 503, 429}
    assert 401 in answers
