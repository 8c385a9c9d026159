"""``python -m tools.cluster.life``: a random life of a real node, and whether a rule was broken.

The truth is the environment of the processes in containers. Every half second no core may be in two containers that
run, the kubelet has to live, and its log to hold no panic. At the end, after everything was repaired and every pod is
gone, the node has to offer every card. A seed gives the same acts again; what comes of them depends on the pace.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from testkit.waiting import until
from tools.cluster.acts import (
    SLOTS,
    Act,
    Cut,
    Delete,
    Draw,
    RestartContainerd,
    RestartKubelet,
    RestartPlugin,
    Start,
    ToCard,
)
from tools.cluster.namespaces import NamespaceNode
from tools.cluster.node import DAEMONS, Node
from tools.cluster.pods import Container, manifest
from tools.cluster.programs import MissingError, found
from tools.cluster.watch import Watch

CARDS = 4


class Life:
    """Does to a node what was drawn."""

    def __init__(self, node: Node, watch: Watch) -> None:
        """A life with no pod in it."""
        self._node = node
        self._watch = watch
        self._pods: dict[int, str] = {}
        self._count = 0

    def do(self, act: Act) -> str:
        """Do it; what came of it, in words."""
        match act:
            case Start():
                return self._start(act)
            case Delete():
                return self._delete(act.slot)
            case Cut():
                disabled = [{"devName": name} for name in act.disabled]
                self._node.configure(defaultPe=act.default_pe, disabledDevices=disabled)
            case ToCard():
                return self._to_card(act.index, act.what)
            case RestartKubelet():
                return self._restart_kubelet(act)
            case RestartPlugin():
                return self._delete_plugin()
            case RestartContainerd():
                self._node.restart_containerd()
        return "done"

    def _start(self, act: Start) -> str:
        if (there := self._pods.get(act.slot)) is not None:
            if self._node.phase(there) in {"Pending", "Running"}:
                return f"{there} is still there"
            self._delete(act.slot)
        self._count += 1
        name = f"pod-{self._count}"
        init = None if act.init is None else Container(act.init, act.init_seconds)
        sidecar = None if act.sidecar is None else Container(act.sidecar)
        pod = manifest(name, Container(act.main, act.main_seconds), init=init, sidecar=sidecar)
        self._node.apply_text(json.dumps(pod))
        self._pods[act.slot] = name
        return name

    def _delete(self, slot: int) -> str:
        name = self._pods.pop(slot, None)
        if name is None:
            return "no pod there"
        self._node.kubectl("delete", "pod", name, "--wait=false", "--ignore-not-found")
        return name

    def _delete_plugin(self) -> str:
        selector = f"app.kubernetes.io/name={DAEMONS[0]}"
        self._node.kubectl("delete", "pod", "--namespace=kube-system", "--wait=false", f"--selector={selector}")
        return "deleted"

    def _to_card(self, index: int, what: str) -> str:
        card = self._node.card(index)
        if what in {"disappear", "die", "revive"} and not card.present:
            return "it is not there"
        if what == "reappear" and card.present:
            return "it is there"
        getattr(card, what)()
        return card.name

    def _restart_kubelet(self, act: RestartKubelet) -> str:
        if act.without_api_server:
            self._node.stop_api_server()
        self._watch.kubelet_may_be_away.set()
        self._node.restart_kubelet(signal.SIGKILL if act.kill else signal.SIGTERM)
        self._watch.kubelet_may_be_away.clear()
        if act.without_api_server:
            time.sleep(act.without_api_server / 2)
            if act.lost_card is not None:
                self._to_card(act.lost_card, "disappear")
            time.sleep(act.without_api_server / 2)
            self._node.start_api_server()
        return "restarted"

    def repair(self) -> None:
        """Let everything be well, every pod be gone, and the node offer every card."""
        for card in self._node.cards().all():
            card.restore()
        self._node.configure()
        self._node.kubectl("delete", "pods", "--all", "--namespace=default")
        self._node.await_daemon(DAEMONS[0])
        until(lambda: self._watch.problem() or not self._node.held(), "no container holds a core")
        until(
            lambda: self._watch.problem() or (self._node.allocatable(), self._node.capacity()) == (CARDS, CARDS),
            "after everything was repaired, the node offers every card",
        )


def main() -> int:
    """Live for so long; the exit status says whether every rule held."""
    parser = argparse.ArgumentParser(prog="python -m tools.cluster.life", description=__doc__)
    parser.add_argument("--seconds", type=float, default=420.0, help="how long (default 420)")
    parser.add_argument("--seed", type=int, default=0, help="of what happens (default 0)")
    options = parser.parse_args()
    try:
        programs = found()
    except MissingError as error:
        sys.stderr.write(f"NOTHING WAS TESTED: {error}\n")
        return 1
    draw = Draw(options.seed, CARDS)
    _say(
        f"Kubernetes {programs.kubernetes}, containerd {programs.containerd_major}, {draw.policy}, seed {options.seed}"
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with NamespaceNode(warboys=CARDS, programs=programs, tell=_say, topologyManagerPolicy=draw.policy) as node:
        node.install()
        with Watch(node) as watch:
            problem = _live(node, watch, draw, options.seconds)
        if problem:
            _say(f"BROKEN: {problem}")
            _explain(node)
            _say(f"again: make cluster-life SECONDS={options.seconds:g} SEED={options.seed}")
            return 1
        _say(f"every rule held: {watch.looks} looks, at most {watch.most} containers with cores at once")
    return 0


def _live(node: Node, watch: Watch, draw: Draw, seconds: float) -> str:
    """Which rule was broken; empty if none was."""
    life = Life(node, watch)
    begun = time.monotonic()
    while time.monotonic() - begun < seconds and not watch.problem():
        delay, act = draw.next()
        time.sleep(delay)
        result = life.do(act)
        holders = " ".join(f"{each.pod}/{each.container}={each.units}" for each in node.held())
        _say(f"{time.monotonic() - begun:6.1f} s  {act}: {result}; held: {holders}")
    try:
        life.repair()
    except AssertionError as error:
        return watch.problem() or str(error)
    return watch.problem()


def _explain(node: NamespaceNode) -> None:
    """Print what is needed to understand it, and keep the logs."""
    kept = Path(tempfile.mkdtemp(prefix="cluster-life-"))
    shutil.copytree(node.folder / "logs", kept / "logs")
    shutil.copytree(node.folder / "pods", kept / "pods")
    _say(f"held: {node.held()}")
    _say(f"checkpoint: {node.checkpoint()}")
    _say(f"node: capacity {node.capacity()}, allocatable {node.allocatable()}")
    _say(node.kubectl("get", "pods", "--output=wide", check=False))
    _say(node.kubectl("logs", "--namespace=kube-system", f"daemonset/{DAEMONS[0]}", "--tail=60", check=False))
    _say(node.log_end("kubelet", 60))
    _say(f"the logs of all programs and pods: {kept}; there were at most {SLOTS} pods")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
