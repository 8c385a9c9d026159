"""The real programs: where they are, and a Prometheus server that scrapes one target every second."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from testkit.services.configured import free_port
from testkit.waiting import PATIENCE

PLACE = Path(__file__).resolve().parents[2] / ".venv-prometheus"
PROGRAMS = PLACE / "usr" / "bin"
_WORK = 120.0
"""Seconds after which promtool hangs: it reckons through hours of samples, which takes a slow machine its time."""
_BETWEEN_LOOKS = 0.1
_CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: {rules}
scrape_configs:
  - job_name: {job}
    honor_labels: true
    static_configs:
      - targets: ["127.0.0.1:{port}"]
        labels: {{node: here}}
"""
"""As the documentation has it: with ``honor_labels``, so that ``pod`` is the pod that holds a card."""
_BESIDE = """\
  - job_name: {job}
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def missing() -> str | None:
    """Why the programs cannot be run; None if they can."""
    return None if (PLACE / ".ready").exists() else f"{PLACE.name} is missing: run scripts/prometheus-setup"


def promtool(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run promtool with this on its standard input."""
    command = [str(PROGRAMS / "promtool"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=_WORK, check=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """A server in a directory of its own. Used as ``async with Prometheus(port) as prometheus:``."""

    def __init__(self, target: int, *rules: Path, job: str = "npu", beside: Iterable[str] = ()) -> None:
        """A server that scrapes this port of the loopback, and evaluates these files every second.

        Args:
            target: the port.
            rules: the files.
            job: what scraping the port is called.
            beside: jobs that scrape the server itself, so that there is a target of each that answers.
        """
        self._home = Path(tempfile.mkdtemp(prefix="prometheus-"))
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        others = [_BESIDE.format(job=each, port=self._port) for each in beside]
        self._targets = 1 + len(others)
        config = _CONFIG.format(job=job, port=target, rules=json.dumps([str(path) for path in rules]))
        (self._home / "prometheus.yml").write_text("".join([config, *others]))

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            PROGRAMS / "prometheus",
            f"--config.file={self._home / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        )
        await self.until("up", lambda found: [sample.value for sample in found] == [1.0] * self._targets)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()
        shutil.rmtree(self._home)

    async def query(self, expression: str) -> list[Sample]:
        """An instant query, now."""
        answer = await self._get("/api/v1/query", query=expression)
        assert answer["data"]["resultType"] == "vector"
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    async def value(self, expression: str) -> float:
        """The value of an expression with exactly one result."""
        [sample] = await self.query(expression)
        return sample.value

    async def until(self, expression: str, holds: Callable[[list[Sample]], bool]) -> list[Sample]:
        """Query until something holds of the results; returns them.

        Raises:
            AssertionError: if it does not in time.
        """
        begun = time.monotonic()
        found: list[Sample] = []
        while True:
            try:
                found = await self.query(expression)
                if holds(found):
                    return found
            except OSError:  # it does not listen yet, or is not ready
                pass
            assert self._process is not None
            assert self._process.returncode is None, "Prometheus ended"
            assert time.monotonic() - begun < PATIENCE, f"{expression}: {found}"
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def types(self) -> dict[str, str]:
        """The type of every family of the target, as it was scraped."""
        answer = await self._get("/api/v1/targets/metadata", match_target='{job="npu"}')
        return {each["metric"]: each["type"] for each in answer["data"]}

    async def trouble(self) -> str:
        """Why the last scrape failed; empty if it did not."""
        answer = await self._get("/api/v1/targets", state="active")
        [target] = answer["data"]["activeTargets"]
        return str(target["lastError"])

    async def rules(self) -> dict[str, str]:
        """Every rule, and how its last evaluation went: ``ok``, or why not."""
        answer = await self._get("/api/v1/rules")
        rules = (rule for group in answer["data"]["groups"] for rule in group["rules"])
        return {rule["name"]: rule.get("lastError") or rule["health"] for rule in rules}

    async def alerts(self) -> set[tuple[str, str, str]]:
        """Alerts that fire or are about to, with ``device`` and ``arch`` where they are about a card."""
        found = await self.query("ALERTS")
        return {
            (each.labels["alertname"], each.labels.get("arch", ""), each.labels.get("device", "")) for each in found
        }

    async def _get(self, path: str, **query: str) -> Any:  # noqa: ANN401  # JSON
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(query)}"
        return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> Any:  # noqa: ANN401  # JSON
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # one of the loopback
        return json.load(answer)
