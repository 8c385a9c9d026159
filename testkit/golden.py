"""Files that hold what a program prints, word by word: a change of the wording changes these files alone.

``make golden`` rewrites them; the difference is then read as any other change.
"""

import difflib
import os
from pathlib import Path


def compare(path: Path, found: str) -> None:
    """What was found is what the file holds. With ``GOLDEN=write`` in the environment, the file is written instead.

    Raises:
        AssertionError: if the two differ; has the lines that do.
    """
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(kept.splitlines(), found.splitlines(), path.name, "now", lineterm="")
    assert kept == found, "\n".join([*lines, "If this is meant: make golden"])
