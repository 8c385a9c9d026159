"""The repository's documents, and what stands in them: blocks of code, headings, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PLACES = (
    "*.md",
    *(f"{folder}/**/*.md" for folder in ("docs", "deployments", "testkit", "tests", "tools")),
    *(f"{folder}/*/*.md" for folder in ("libs", "services")),
)
PAGES = tuple(sorted(path.relative_to(ROOT).as_posix() for place in _PLACES for path in ROOT.glob(place)))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_MARKUP = re.compile(r"\[([^\]]*)\]\([^)]*\)|[`*]")
_NO_PART_OF_AN_ANCHOR = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: the document, from the root of the repository.
        line: where it begins.
        language: the first word after the fence, or nothing.
        mark: the second one, or nothing.
        text: what is in it, without the indentation of its fence.
    """

    page: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    """The whole document."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """The document's blocks of code, in order."""
    text = text_of(page)
    for match in _FENCE.finditer(text):
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True))
        language, _, mark = match["info"].strip().partition(" ")
        yield Block(page, text.count("\n", 0, match.start()) + 1, language, mark.strip(), body)


def prose(page: str) -> str:
    """The document without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def anchors(page: str) -> frozenset[str]:
    """What links may name after ``#``, as the web sites that show repositories make it of headings."""
    found: list[str] = []
    for heading in _HEADING.findall(prose(page)):
        plain = _MARKUP.sub(lambda match: match[1] or "", heading).strip().lower()
        anchor = _NO_PART_OF_AN_ANCHOR.sub("", plain).replace(" ", "-")
        taken = sum(1 for other in found if other == anchor)
        found.append(f"{anchor}-{taken}" if taken else anchor)
    return frozenset(found)


def links(page: str) -> Iterator[tuple[str, str]]:
    """Links to other places of the repository: the path from its root, and the anchor or nothing."""
    for target in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        yield place.resolve().relative_to(ROOT).as_posix(), anchor
