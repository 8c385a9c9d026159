"""How a node is watched, without a node."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from testkit.waiting import until
from tools.cluster.held import groups_of_containers
from tools.cluster.node import Node
from tools.cluster.watch import Watch


def test_control_groups_that_go_while_they_are_listed_are_left_out(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"kubepods/burstable/pod{number}/{number:064x}").mkdir(parents=True)
    listed = groups_of_containers(tmp_path)
    first, directory = next(listed)
    assert directory.name == first
    shutil.rmtree(tmp_path / "kubepods")
    assert list(listed) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_that_can_look_no_more_says_so() -> None:
    def held() -> None:
        raise OSError("nobody can look")

    with Watch(cast("Node", SimpleNamespace(held=held)), interval=0.01) as watch:
        assert until(watch.problem, "the watch says that it cannot look")
