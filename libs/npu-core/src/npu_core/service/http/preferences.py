"""What a client takes and how much it likes it: headers as ``Accept`` and ``Accept-Encoding``. Pure."""

from collections.abc import Iterator


def preferences(header: str) -> Iterator[tuple[str, float]]:
    """Each clause of a header, in lower case and without spaces and quotes, and its weight ``q``.

    Parameters stay in the clause. The weight is from 0 to 1; 0 is a refusal, and so is a weight that is no such number.

    Source: RFC 9110, 12.4.2
    """
    for clause in "".join(header.lower().replace('"', "").split()).split(","):
        given = [parameter.removeprefix("q=") for parameter in clause.split(";")[1:] if parameter.startswith("q=")]
        yield clause, _weight(given[0]) if given else 1.0


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
