"""Command lines that need no parser: long options, each once, and nothing else.

The library for command lines takes longer to load than a service takes to be at work, and weighs more than some of
them. So a plain line, as manifests have it, is read here and the process goes on as the daemon; everything else, help
and mistakes included, is for the library.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping


def parse(arguments: Iterable[str], options: Collection[str], flags: Collection[str] = ()) -> dict[str, str] | None:
    """The options that were given, as the library would give them; None for whatever is not plain.

    Args:
        arguments: those after the program's name.
        options: every option of the program, without dashes.
        flags: those of them that have no value; one that was given is ``true``.
    """
    given: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, value = _option(word, words, flags)
        if not word.startswith("--") or name not in options or name in given or value is None:
            return None
        given[name] = value
    return given


def line(given: Mapping[str, str], flags: Collection[str] = ()) -> list[str]:
    """The plain command line that says this, whatever the values are: :func:`parse` reads it."""
    return [f"--{name}" if name in flags else f"--{name}={value}" for name, value in given.items()]


def _option(word: str, following: Iterator[str], flags: Collection[str]) -> tuple[str, str | None]:
    name, equals, value = word.removeprefix("--").partition("=")
    if name in flags:
        return name, None if equals else "true"
    if not equals:
        value = next(following, "--")
    # Whether a word with dashes is a value or an option is for the library to say.
    return name, None if value.startswith("-") and value != "-" and not equals else value
