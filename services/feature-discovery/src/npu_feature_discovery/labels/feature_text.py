"""The text of an NFD feature file, such that every nfd-worker since v0.11 reads the same labels from it.

Source: source/local of Node Feature Discovery. Workers before v0.14 neither trim lines nor know comments, so there is
none but the expiry time, which the operator has to ask for; keys are in order, so equal labels are equal bytes.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from npu_feature_discovery.labels.table import Labels

MAX_BYTES = 65536
"""Workers from v0.14 on ignore a larger file as a whole."""

_EXPIRY = "# +expiry-time="


@dataclass(frozen=True, slots=True)
class FeatureText:
    """What a feature file says.

    Attributes:
        labels: full keys to values, in key order.
        expires: from when on workers take the labels for gone, in UTC and whole seconds; None for never.
    """

    labels: Labels = field(default_factory=dict)
    expires: datetime | None = None


def render(labels: Labels, expires: datetime | None = None) -> bytes:
    """The file: a line ``key=value`` each, in key order, every one with its line end; ASCII, as valid labels are.

    Args:
        labels: valid keys and values.
        expires: an aware time, written in UTC as the first line, without its fraction of a second. Only workers
            from v0.14 on understand it.
    """
    directive = () if expires is None else (_EXPIRY + _rfc3339(expires),)
    lines = (*directive, *(f"{key}={labels[key]}" for key in sorted(labels)))
    return "".join(f"{line}\n" for line in lines).encode()


def parse(content: bytes) -> FeatureText | None:
    """Read back what :func:`render` wrote; None if it is anything that :func:`render` would not write.

    So a file that somebody touched never passes for ours, not even by an added blank.
    """
    try:
        text = _parse_lines(content.decode("ascii").splitlines())
    except ValueError:
        return None
    return text if render(text.labels, text.expires) == content else None


def _parse_lines(lines: list[str]) -> FeatureText:
    expires = None
    if lines and lines[0].startswith(_EXPIRY):
        expires = datetime.fromisoformat(lines[0].removeprefix(_EXPIRY)).replace(tzinfo=UTC)
        lines = lines[1:]
    labels = {key: value for key, _, value in (line.partition("=") for line in lines)}
    return FeatureText(labels, expires)


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
