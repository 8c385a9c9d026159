"""Every interleaving of steps up to a depth, states that are alike taken for one."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from tools.explore.model import Node
from tools.explore.steps import Step


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to.

    Attributes:
        states: how many different nodes were seen.
        steps: how many steps were tried.
        depth: up to how many steps from the start.
        story: the shortest way to a node on which something is wrong; empty if there is none.
        problems: what is wrong there.
    """

    states: int
    steps: int
    depth: int
    story: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        counted = f"{self.states} states, {self.steps} steps, up to {self.depth} steps from the start"
        if not self.problems:
            return f"{counted}: nothing is wrong"
        return "\n".join((f"{counted}: wrong", *(f"  {step}" for step in self.story), *self.problems))


def explore(
    first: Node,
    follow: Callable[[Node], Iterator[Step]],
    depth: int,
    check: Callable[[Node], Iterable[str]] = Node.problems,
    progress: Callable[[str], None] = lambda _: None,
) -> Found:
    """Search breadth first, so that the first problem found has the shortest story.

    Args:
        first: the node to start from.
        follow: the steps that can follow.
        depth: how many steps from the start.
        check: what is wrong with a node.
        progress: told after each depth.
    """
    came_from: dict[Hashable, tuple[Hashable, str] | None] = {first.key(): None}
    if problems := tuple(check(first)):
        return Found(1, 0, 0, (), problems)
    nodes, tried = [(first, first.key())], 0
    for level in range(1, depth + 1):
        reached: list[tuple[Node, Hashable]] = []
        for node, origin in nodes:
            for name, after in follow(node):
                tried += 1
                key = after.key()
                if key in came_from:
                    continue
                came_from[key] = origin, name
                if problems := tuple(check(after)):
                    return Found(len(came_from), tried, level, _story(came_from, key), problems)
                reached.append((after, key))
        nodes = reached
        progress(f"{level} steps: {len(came_from)} states")
        if not nodes:
            break
    return Found(len(came_from), tried, depth)


def _story(came_from: dict[Hashable, tuple[Hashable, str] | None], key: Hashable) -> tuple[str, ...]:
    story: list[str] = []
    while (step := came_from[key]) is not None:
        key, name = step
        story.append(name)
    return tuple(reversed(story))
