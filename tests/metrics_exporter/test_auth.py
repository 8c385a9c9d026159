"""Passwords: who is let in, who is not, and that checking them holds nobody up."""

import asyncio
import base64
import contextlib
import errno
import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from npu_metrics_exporter.web import auth
from npu_metrics_exporter.web.auth import MAX_WAITING, Credentials, Passwords, Verdict, credentials, is_password
from testkit.refused_threads import no_more_threads
from testkit.waiting import PATIENCE, until
from tests.metrics_exporter.serving import Reply, Serving, serving

PASSWORD = "correct horse"  # noqa: S105  # of a test's user
OTHER = PASSWORD[::-1]
QUICK_COST = 4
SLOW_COST = 11
"""About a tenth of a second of a core for each."""


def header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def configure(directory: Path, *, cost: int = QUICK_COST, password: str = PASSWORD) -> Path:
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    file = directory / "web.yml"
    file.write_text(f"basic_auth_users:\n  prometheus: {hashed}\n")
    return file


def ask(web: Serving, user: str, password: str, path: str = "/metrics") -> Reply:
    return web.ask(path, authorization=header(user, password))


def ask_from(web: Serving, address: str, user: str, password: str) -> int:
    """The status of a request whose client has this address."""
    connection = http.client.HTTPConnection(*web.address, timeout=PATIENCE, source_address=(address, 0))
    return web.ask_on(connection, authorization=header(user, password)).status


@contextlib.contextmanager
def flood(web: Serving, addresses: list[str], user: str = "prometheus") -> Iterator[set[int]]:
    """Wrong passwords without end, one client for each entry; yields the statuses that they got."""
    over = threading.Event()
    answers: set[int] = set()

    def send(number: int, address: str) -> None:
        attempt = 0
        while not over.is_set():
            attempt += 1
            answers.add(ask_from(web, address, user, f"{number}-{attempt}"))

    clients = [threading.Thread(target=send, args=each) for each in enumerate(addresses)]
    for client in clients:
        client.start()
    try:
        until(lambda: bool(answers), "an answer to a wrong password")
        yield answers
    finally:
        over.set()
        for client in clients:
            client.join()


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


def test_passwords_are_checked_where_the_thread_may_not_be_made_nicer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "setpriority", refuse)
    with serving(web_config=configure(tmp_path)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200


def test_passwords_are_checked_again_after_a_check_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: bytes) -> bool:
        raise OSError(errno.EMFILE, "Too many open files")

    caplog.set_level("INFO")
    with serving(web_config=configure(tmp_path)) as web:
        with monkeypatch.context() as patched:
            patched.setattr(bcrypt, "checkpw", fail)
            assert [ask(web, "prometheus", PASSWORD).status for _ in range(3)] == [429] * 3
        assert ask(web, "prometheus", PASSWORD).status == 200
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("passwords cannot be checked") == 1
    assert messages.count("passwords can be checked again") == 1


def test_passwords_are_checked_again_after_a_lack_of_threads() -> None:
    users = {"prometheus": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(QUICK_COST))}

    async def run() -> list[Verdict]:
        passwords = Passwords()

        async def check() -> Verdict:
            return await passwords.check(users, header("prometheus", PASSWORD), "10.0.0.1")

        with no_more_threads():
            lacking = await check()
        return [lacking, await check()]

    assert asyncio.run(run()) == [Verdict.BUSY, Verdict.GOOD]


def test_a_changed_password_counts_at_once(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200
        configure(tmp_path, password=OTHER)
        assert ask(web, "prometheus", PASSWORD).status == 401
        assert ask(web, "prometheus", OTHER).status == 200


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cost of each hash that was computed."""
    costs: list[int] = []
    check = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        result = check(password, hashed)  # raises without the work if the salt is none
        costs.append(int(hashed[4:6]))
        return result

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return costs


def test_a_password_is_checked_once_and_then_known(tmp_path: Path, computed: list[int]) -> None:
    with serving(web_config=configure(tmp_path)) as web:
        assert {ask(web, "prometheus", PASSWORD).status for _ in range(5)} == {200}
        assert {ask(web, "prometheus", OTHER).status for _ in range(5)} == {401}
    assert len(computed) == 2


def test_a_flood_of_wrong_passwords_neither_slows_nor_shuts_out_who_is_known(tmp_path: Path) -> None:
    with serving(web_config=configure(tmp_path, cost=SLOW_COST)) as web:
        assert ask(web, "prometheus", PASSWORD).status == 200
        with flood(web, ["127.0.0.1"] * 8) as answers:
            for _ in range(10):
                assert ask(web, "prometheus", PASSWORD).status == 200
                assert web.ask("/healthz").status == 200
    assert answers <= {401, 429}
    assert 401 in answers


async def test_the_right_password_of_another_address_is_checked_before_a_hundred_wrong_ones(
    computed: list[int],
) -> None:
    users = {"prometheus": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(QUICK_COST))}
    passwords = Passwords()
    wrong = [
        asyncio.create_task(passwords.check(users, header("prometheus", str(number)), "10.0.0.1"))
        for number in range(MAX_WAITING + 2)
    ]
    await asyncio.sleep(0)
    assert await passwords.check(users, header("prometheus", PASSWORD), "10.0.0.2") is Verdict.GOOD
    assert len(computed) <= 3  # one was under way, and one may be by now
    verdicts = await asyncio.gather(*wrong)
    # One is checked at once, and as many may wait; this one and the right one are too many.
    assert verdicts.count(Verdict.BUSY) == 2
    assert set(verdicts) == {Verdict.BAD, Verdict.BUSY}


async def test_who_waits_too_long_for_a_check_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: go_on.wait(120))
    monkeypatch.setattr(auth, "PATIENCE", 0.01)
    users = {"prometheus": b"$2b$04$" + b"z" * 53}
    passwords = Passwords()
    asked = [passwords.check(users, header("prometheus", str(number)), "10.0.0.1") for number in range(2)]
    assert await asyncio.gather(*asked) == [Verdict.BUSY] * 2
    assert passwords.waiting == 0
    go_on.set()


def test_no_user_name_can_be_told_from_another_by_the_work_of_a_check(computed: list[int]) -> None:
    def work(hashed: bytes | None) -> list[int]:
        computed.clear()
        assert not is_password(b"wrong", hashed, users.values())
        return computed[:]

    users = {f"cost {cost}": bcrypt.hashpw(b"right", bcrypt.gensalt(cost)) for cost in (4, 6, 7)}
    users["another of cost 6"] = bcrypt.hashpw(b"right", bcrypt.gensalt(6))
    users["no hash in spite of its form"] = b"$2b$06$" + b"z" * 53
    assert work(None) == [4, 6, 7]
    assert {name: work(hashed) for name, hashed in users.items()} == {name: [4, 6, 7] for name in users}
    assert is_password(b"right", users["cost 4"], users.values())
    assert is_password(b"right", users["another of cost 6"], users.values())
    assert not is_password(b"fakepassword", None, users.values())


def test_a_password_longer_than_bcrypt_reads_is_checked_like_any_other(tmp_path: Path) -> None:
    long = "p" * 72
    with serving(web_config=configure(tmp_path, password=long)) as web:
        assert ask(web, "prometheus", long + "more").status == 200
        assert ask(web, "prometheus", long[:-1]).status == 401
        assert ask(web, "nobody", long + "more").status == 401
        assert ask(web, "nobody", "with\0null").status == 401


def test_a_client_that_is_gone_waits_no_longer() -> None:
    users = {"prometheus": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(SLOW_COST))}

    async def run() -> tuple[int, int]:
        passwords = Passwords()
        clients = [
            asyncio.create_task(passwords.check(users, header("prometheus", str(number)), "10.0.0.1"))
            for number in range(10)
        ]
        await asyncio.sleep(0)
        before = passwords.waiting
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        return before, passwords.waiting

    assert asyncio.run(run()) == (9, 0)


def test_a_user_whose_hash_changes_alone_does_not_lose_the_others_passwords() -> None:
    first, second, other = (bcrypt.hashpw(text, bcrypt.gensalt(4)) for text in (b"first", b"second", b"other"))

    async def run() -> list[Verdict]:
        passwords = Passwords()

        async def check(users: dict[str, bytes], user: str, password: str) -> Verdict:
            return await passwords.check(users, header(user, password), "10.0.0.1")

        before, after = {"a": first, "b": other}, {"a": second, "b": other}
        return [
            await check(before, "a", "first"),
            await check(before, "b", "other"),
            await check(after, "a", "first"),
            await check(after, "a", "second"),
            await check(after, "b", "other"),
            await check({"b": other}, "a", "second"),
        ]

    good, bad = Verdict.GOOD, Verdict.BAD
    assert asyncio.run(run()) == [good, good, bad, good, good, bad]
