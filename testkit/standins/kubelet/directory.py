"""The plugin directory at a kubelet's start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from testkit.standins.kubelet.checkpoint import CHECKPOINT_NAME
from testkit.standins.kubelet.settings import WipeRule

KUBELET_SOCKET = "kubelet.sock"
DEPRECATION = "DEPRECATION"
"""An empty file the kubelet leaves there for plugins that know a newer way to register."""


def prepare(directory: Path, rule: WipeRule) -> tuple[str, ...]:
    """Make it, or clean it; one that is there keeps its mode. Returns the names of the files removed."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    removed = wipe(directory, rule)
    (directory / DEPRECATION).touch()
    return removed


def wipe(directory: Path, rule: WipeRule, keep: Iterable[str] = ()) -> tuple[str, ...]:
    """Remove what the rule says.

    Args:
        directory: The plugin directory.
        rule: Which files; the checkpoint and directories are never among them.
        keep: Names that stay whatever the rule says.

    Returns:
        The names of the files removed.
    """
    kept = {CHECKPOINT_NAME, *keep}
    doomed = [path for path in sorted(directory.iterdir()) if path.name not in kept and _falls_under(path, rule)]
    for path in doomed:
        path.unlink(missing_ok=True)
    return tuple(path.name for path in doomed)


def _falls_under(path: Path, rule: WipeRule) -> bool:
    return path.is_socket() if rule is WipeRule.ONLY_SOCKETS else not path.is_dir()
