"""Threads that the system lets a process have."""

import threading
from pathlib import Path

import pytest

from npu_core import threads


def test_threads_are_tried_where_no_proc_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while an image is built, when each program is run once in a bare directory."""
    monkeypatch.setattr(threads, "_TASKS", str(tmp_path / "proc/self/task"))
    assert threads.refusal_at_start(threads.OWN_THREADS + threads.grpc_threads()) == ""
    assert threads.grpc_refusal() == ""


def test_grpc_needs_a_thread_for_its_asyncio_layer_even_while_its_core_has_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "foreign_threads", threads.grpc_threads)
    assert threads.grpc_refusal() == ""
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    assert threads.grpc_refusal() == "can't start new thread"


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
