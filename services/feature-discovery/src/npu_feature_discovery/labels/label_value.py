"""Values of Kubernetes labels: any text becomes one, and one that is one already stays as it is."""

import re

MAX_LENGTH = 63
"""Characters in a label's value, and in its name after the slash."""

UNKNOWN = "unknown"
"""What a text becomes that has nothing a label could hold."""

_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?", re.ASCII)
_RUN = re.compile(r"[^A-Za-z0-9_.]+", re.ASCII)
_NOT_AT_AN_END = "-_."


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes ``text`` as a label's value; the empty text is one.

    Source: Kubernetes, "Labels and Selectors", syntax; Node Feature Discovery drops any other value with a log line.
    """
    return len(text) <= MAX_LENGTH and _VALUE.fullmatch(text) is not None


def sanitise(text: str) -> str:
    """The label value that says ``text``: ``Dell Inc.`` -> ``Dell-Inc``. Total, and never empty.

    Each run of characters that a value cannot hold, with the dashes around it, becomes one dash; the ends lose what
    is not alphanumeric; what is longer than :data:`MAX_LENGTH` is cut. If nothing is left, :data:`UNKNOWN`.
    A text that is a value already, and not empty, comes back unchanged.
    """
    dashed = _RUN.sub(_dashes, text).strip(_NOT_AT_AN_END)
    return dashed[:MAX_LENGTH].rstrip(_NOT_AT_AN_END) or UNKNOWN


def _dashes(run: re.Match[str]) -> str:
    return run[0] if not run[0].strip("-") else "-"
