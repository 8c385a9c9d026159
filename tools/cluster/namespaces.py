"""Brings a real node up in namespaces of its own, on a simulated host: every program is started here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from testkit.waiting import PATIENCE
from tools.cluster import images, settings, trust
from tools.cluster.cards import Cards
from tools.cluster.init import BOUND
from tools.cluster.node import Node, NodeError
from tools.cluster.programs import ROOT, Programs, found, program
from tools.cluster.running import Running, inside

_CONTROL = ("api-server", "scheduler", "controller-manager", "proxy")


class NamespaceNode(Node):
    """One node, from etcd to the kubelet. Used as ``with NamespaceNode(warboys=4) as node:``.

    Attributes:
        folder: everything that the node writes.
    """

    name = settings.NODE

    def __init__(
        self,
        *,
        warboys: int = 4,
        rngds: int = 0,
        services: bool = True,
        programs: Programs | None = None,
        tell: Callable[[str], None] = lambda _: None,
        **kubelet: object,
    ) -> None:
        """A node that is not up yet.

        Args:
            warboys: Warboy cards of the host.
            rngds: RNGD cards of the host.
            services: whether the project's images are there, so that :meth:`install` works.
            programs: the programs of the node; if None, the environment variables choose them.
            tell: gets a line for each step of the way.
            kubelet: settings of the kubelet by their own names, ``topologyManagerPolicy="best-effort"``.

        Raises:
            MissingError: if something that a node needs is not there.
        """
        super().__init__(programs or found(services=services), tell)
        self.folder = Path("/")
        self._counts = (warboys, rngds)
        self._services = services
        self._kubelet = {"topologyManagerPolicy": "best-effort", **kubelet}
        self._keeper: subprocess.Popen[str] | None = None
        self._first = 0
        self._running: dict[str, Running] = {}
        self._cards: Cards | None = None

    @property
    def first(self) -> int:
        return self._first

    @property
    def group(self) -> str:
        return self.folder.name

    @property
    def kubelet_settings(self) -> str:
        return f"{self.folder}/kubelet.yaml"

    @property
    def static_pods(self) -> str:
        return f"{self.folder}/manifests"

    # -- up and down ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tools.cluster.keeper"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._prepare()
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        if self._cards is not None:
            self._cards.end()
        if self._keeper is not None and self._keeper.stdin is not None and self._keeper.stdout is not None:
            self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper.stdout.close()
            for each in self._running.values():
                each.stop(signal.SIGKILL)
            self._keeper = None

    def _prepare(self) -> None:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        self.folder = Path(self._keeper.stdout.readline().strip())
        if not self.folder.name:
            raise NodeError("the keeper of the node did not start")
        for name in ("logs", "trust", "manifests", "etcd", "home", "kubelet-certificates", *BOUND):
            (self.folder / name).mkdir(mode=0o700 if name == "etcd" else 0o755)
        self._cards = Cards(self.folder / "host", *self._counts)
        self._cards.start()
        trust.write(self.folder / "trust", settings.NAMES)
        settings.write_containerd(self.folder, self.programs.containerd_major)
        settings.write_kubelet(self.folder, self.folder.name, **self._kubelet)
        self._running = {
            name: Running(name, command, self._environment(), self.folder / f"logs/{name}.log")
            for name, command in settings.commands(self.folder).items()
        }

    def boot(self) -> None:
        """Bring the node up: its namespaces, and every program. The node is Ready after it.

        Raises:
            NodeError: if it is not in time.
        """
        self._begun = time.monotonic()
        self._first = int(self._order("boot"))
        if not self._first:
            raise NodeError(f"no namespaces:\n{self.log_end('init')}")
        with ThreadPoolExecutor() as pool:
            runtime = pool.submit(self._start_runtime)
            self._start("etcd")
            self.start_api_server()
            self._report("API server ready")
            for name in _CONTROL[1:]:
                self._start(name)
            runtime.result()
        self._report("containerd ready, images imported")
        self.start_kubelet()
        self._await("kubelet", lambda: self.condition("Ready") == "True")
        self._await("kubelet", lambda: "not-ready" not in str(self.node()["spec"].get("taints")))
        self._report("node Ready")

    def halt(self) -> None:
        """Let all of the node's processes end at once, as if the power went."""
        self._order("halt")
        for each in self._running.values():
            each.stop(signal.SIGKILL)

    def reboot(self) -> None:
        self.halt()
        self.boot()

    def _start_runtime(self) -> None:
        self._start("containerd")
        ctr = ["ctr", "--namespace", "k8s.io"]
        self._await("containerd", lambda: self.run(*ctr, "version", check=False).returncode == 0)
        there = self.run(*ctr, "images", "list", "--quiet").stdout.split()
        if images.PAUSE not in there:
            for archive in [*images.of_pods(), *(images.of_services(self.programs) if self._services else [])]:
                self.run(*ctr, "images", "import", str(archive))

    def _order(self, word: str) -> str:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        return self._keeper.stdout.readline().strip()

    def _start(self, name: str) -> None:
        self._running[name].start(self._first)

    def _await(self, name: str, look: Callable[[], bool]) -> None:
        """Wait for something that a program does, unless it ends."""
        deadline = time.monotonic() + PATIENCE
        while not look():
            if not self._running[name].alive or time.monotonic() > deadline:
                raise NodeError(f"{name} does not do its work:\n{self.log_end(name)}")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": self.programs.path,
            "HOME": str(self.folder / "home"),
            "KUBECONFIG": str(self.folder / "trust/admin.kubeconfig"),
        }

    # -- its programs ---------------------------------------------------------------------------------------------

    def stop_kubelet(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._running["kubelet"].stop(number)

    def start_kubelet(self) -> None:
        self._kubelet_log_begins = len(self.log("kubelet"))
        self._start("kubelet")

    def set_kubelet(self, **changes: object) -> None:
        """Change settings of the kubelet, by their own names. The next start of the kubelet uses the changes."""
        self._kubelet.update(changes)
        settings.write_kubelet(self.folder, self.folder.name, **self._kubelet)

    @property
    def api_server_lives(self) -> bool:
        """Whether the API server's process is there."""
        return self._running["api-server"].alive

    def stop_api_server(self) -> None:
        self._running["api-server"].stop()

    def start_api_server(self) -> None:
        self._start("api-server")
        self._await("api-server", lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok")
        # In a cluster, the scheduler and the controller manager end when they cannot renew their lease, and are started
        # again. Without a restart, the DaemonSet controller may wait for minutes until it sees its own last write.
        for name in ("scheduler", "controller-manager"):
            if self._running[name].alive:
                self._running[name].stop()
                self._start(name)

    def stop_containerd(self) -> None:
        self._running["containerd"].stop()

    def start_containerd(self) -> None:
        self._start("containerd")
        self._await("containerd", lambda: self.run("ctr", "version", check=False).returncode == 0)

    def revive_programs(self) -> None:
        if not self.api_server_lives:
            self.start_api_server()
        for each in self._running.values():
            if not each.alive:
                each.start(self._first)

    @property
    def kubelet_lives(self) -> bool:
        return self._running["kubelet"].alive

    def log(self, name: str) -> str:
        path = self.folder / f"logs/{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def cards(self) -> Cards:
        assert self._cards is not None
        return self._cards

    def run(
        self, *command: str, stdin: str = "", check: bool = True, seconds: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*inside(self._first), program("env"), *command],
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done
