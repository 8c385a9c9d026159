"""The metrics exporter: a scrape, a card that runs hot, and whose card it is."""

import asyncio
import socket
import time
import urllib.request
from contextlib import suppress

from prometheus_client.parser import text_string_to_metric_families

from npu_core import Arch
from tools.demo.node import Node
from tools.demo.screen import Screen

EXPORTER = "npu_metrics_exporter"
_PATIENCE = 15.0
_HOT = 96_000
"""Thousandths of a degree."""

Series = dict[tuple[str, str, str], tuple[float, dict[str, str]]]
"""By name, device and label: the value, and every label."""


async def tell(node: Node, screen: Screen) -> str:
    """The story, step by step; returns where the metrics are."""
    address = f"127.0.0.1:{_free_port()}"
    screen.step("The metrics exporter starts, and is scraped as Prometheus would")
    started = time.monotonic()
    await node.start(
        EXPORTER,
        *("--listen-address", address, "--interval", "1", "--pod-interval", "1"),
        *("--pod-resources-socket", str(node.pod_resources_dir / "kubelet.sock")),
        *("--plugin-dir", str(node.plugin_dir), "--pod-logs-dir", str(node.pod_logs_dir)),
    )
    series = await _until(address, ("furiosa_npu_pod_info", "npu0", ""))
    screen.fact("scraped", f"{len(series)} series, {time.monotonic() - started:.1f} s after its start", "green")
    for name, label in (
        ("furiosa_npu_alive", ""),
        ("furiosa_npu_uptime", ""),
        ("furiosa_npu_hw_temperature", "Average"),
        ("furiosa_npu_hw_temperature_celsius", "Average"),
        ("furiosa_npu_hw_power", "PCI Total RMS PWR"),
        ("furiosa_npu_hw_power_watts", "PCI Total RMS PWR"),
    ):
        value, _ = series[name, "npu0", label]
        screen.fact(
            "  series", f'{name}{{device="npu0"{f", label={label!r}" if label else ""}}} {value:g}'.replace("'", '"')
        )

    screen.step("Card npu0 runs hot; whose is it?")
    # The simulated card cools down again: it is kept hot until the exporter has seen it.
    heat = asyncio.create_task(_keep_hot(node))
    series = await _until(address, ("furiosa_npu_hw_temperature", "npu0", "Average"), at_least=_HOT)
    heat.cancel()
    degrees, _ = series["furiosa_npu_hw_temperature_celsius", "npu0", "Average"]
    screen.fact("temperature", f"npu0 has {degrees:g} °C", "red")
    _, owner = series["furiosa_npu_pod_info", "npu0", ""]
    screen.fact("owner", f"pod {owner['namespace']}/{owner['pod']}, container {owner['container']}", "yellow")
    return address


async def end(node: Node, screen: Screen) -> int:
    """End the exporter; returns its exit status."""
    screen.step("The metrics exporter is asked to end")
    status, seconds = await node.end(EXPORTER)
    screen.fact("ended", f"{seconds:.1f} s later, exit status {status}", "green")
    return status


async def _keep_hot(node: Node) -> None:
    while True:
        node.host.card(Arch.WARBOY, 0).set_temperature(_HOT, "Average")
        await asyncio.sleep(0.02)


async def _until(address: str, wanted: tuple[str, str, str], at_least: float = 0.0) -> Series:
    """Scrape until there is this series, with at least this value."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            series = await asyncio.to_thread(_scrape, address)
            if wanted in series and series[wanted][0] >= at_least:
                return series
            await asyncio.sleep(0.1)


def _scrape(address: str) -> Series:
    series: Series = {}
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:  # http
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                place = (sample.name, sample.labels.get("device", ""), sample.labels.get("label", ""))
                series[place] = (sample.value, sample.labels)
    return series


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
