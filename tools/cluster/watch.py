"""The rules that hold at every moment of a node's life, and a thread that checks them."""

import threading
from typing import Self

from tools.cluster.held import overlaps
from tools.cluster.node import Node


class Watch:
    """Checks the node again and again while the test goes on. Used as ``with Watch(node) as watch:``.

    Attributes:
        looks: how often it looked.
        most: how many containers held cores at once, at most.
        units: what any container held at any look.
    """

    def __init__(self, node: Node, interval: float = 0.5) -> None:
        """Not looking yet.

        Args:
            node: what is looked at.
            interval: seconds between two looks.
        """
        self._broken = ""
        self.looks = 0
        self.most = 0
        self.units: set[str] = set()
        self.kubelet_may_be_away = threading.Event()
        self._node = node
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def problem(self) -> str:
        """The first broken rule, or that the thread has ended; empty while no rule is broken."""
        if not self._broken and not self._thread.is_alive() and not self._ended.is_set():
            return "the thread that looks has ended"
        return self._broken

    def _work(self) -> None:
        while not self._broken and not self._ended.wait(self._interval):
            self._broken = self._look()
            self.looks += 1

    def _look(self) -> str:
        holders = self._node.held()
        self.most = max(self.most, len(holders))
        self.units.update(unit for each in holders for unit in each.units.split(","))
        if found := overlaps(holders):
            return "a core is in two containers: " + "; ".join(f"{one} and {other}" for one, other in found)
        if panics := self._node.panics():
            return f"the kubelet's log holds {panics} panics"
        if not self.kubelet_may_be_away.is_set() and not self._node.kubelet_lives:
            return "the kubelet died"
        return ""
