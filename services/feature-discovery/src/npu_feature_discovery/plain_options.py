"""Command lines that need no parser: long options, each once, and nothing else.

The library for command lines takes longer to load than a look at the host and a write of its labels together. So what
ends by itself, as ``--oneshot`` does, is read here where it is plain, and everything else by the library.
"""

from collections.abc import Iterable, Iterator, Mapping

OPTIONS = (
    "sink",
    "interval",
    "oneshot",
    "print",
    "remove",
    "output-file",
    "mixed",
    "extra-labels",
    "expiry",
    "nfd-version",
    "cleanup-on-exit",
    "start-jitter",
    "namespace",
    "kubeconfig",
    "service-account-dir",
    "api-timeout",
    "listen-address",
    "sysfs",
    "devfs",
    "log-level",
    "log-format",
)
"""Every option of the program, without dashes."""

FLAGS = ("oneshot", "print", "remove", "cleanup-on-exit")
"""Options without a value; their environment variables say ``true`` or ``false``."""

_ENDING = ("oneshot", "print", "remove")


def parse(arguments: Iterable[str]) -> dict[str, str] | None:
    """The options that were given, as the library would give them; None for whatever is not plain.

    ``arguments`` are those after the program's name; a flag is given as ``true``.
    """
    given: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, value = _option(word, words)
        if not word.startswith("--") or name not in OPTIONS or name in given or value is None:
            return None
        given[name] = value
    return given


def asks_for_an_end(given: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Whether these options, or the environment, may ask for a run that ends by itself."""
    return any(name in given or environment.get(f"NPU_{name.upper()}") for name in _ENDING)


def _option(word: str, following: Iterator[str]) -> tuple[str, str | None]:
    name, equals, value = word.removeprefix("--").partition("=")
    if name in FLAGS:
        return name, None if equals else "true"
    if not equals:
        value = next(following, "--")
    # Whether a word with dashes is a value or an option is for the library to say.
    return name, None if value.startswith("-") and value != "-" and not equals else value
