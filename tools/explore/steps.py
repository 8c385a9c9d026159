"""Everything that may happen next on the small node, each with the node that it leads to."""

from collections.abc import Iterator

from npu_core.allocations import Sources
from npu_core.partition import FUSION, SINGLE
from tools.explore.model import PODS, Life, Node

Step = tuple[str, Node]
"""What happens, in words, and the node after it."""


def start(sources: Sources | None = None) -> Node:
    """A node with two whole cards, whose plugin has registered and sent its first list.

    Args:
        sources: what joins what the plugin is told; the real rule if None.
    """
    node = Node(sources=sources or Sources())
    return node.with_writing().with_answer(node.listing()).with_look().with_publishing()


def steps(node: Node) -> Iterator[Step]:
    """Every step that can follow, those that change nothing included."""
    yield from _admissions(node)
    yield from ((f"pod {pod} ends", _without(node, pod)) for pod, life in enumerate(node.lives) if life is Life.LIVE)
    yield from _kubelet(node)
    yield from _plugin(node)
    yield "defaultPe changes", node._replace(wish=SINGLE if node.wish == FUSION else FUSION)


def steps_with_disabling(node: Node) -> Iterator[Step]:
    """The same, on a node whose operator disables and enables card 0."""
    yield from steps(node)
    yield "card 0 is disabled or enabled", node._replace(disabled=not node.disabled)


def steps_with_losses(node: Node) -> Iterator[Step]:
    """The same, on a node whose card 0 falls off the bus and comes back."""
    yield from steps(node)
    back = node._replace(is_lost=False, knows_card=True)
    yield "card 0 is lost or back", back if node.is_lost else node._replace(is_lost=True)


def _without(node: Node, pod: int) -> Node:
    lives = tuple(Life.ENDED if place == pod else life for place, life in enumerate(node.lives))
    return node._replace(lives=lives, held=frozenset(entry for entry in node.held if entry.pod != pod))


# -- the kubelet ------------------------------------------------------------------------------------------------------


def _kubelet(node: Node) -> Iterator[Step]:
    yield "the kubelet restarts", _restarted(node, api_server=True)
    yield "the kubelet restarts without its API server", _restarted(node, api_server=False)
    if node.writing is not None:
        yield "the kubelet writes its checkpoint", node.with_writing()
    if not node.api_server:
        yield "the API server is back", node._replace(api_server=True, knows_pods=True)


def _restarted(node: Node, *, api_server: bool) -> Node:
    """The memory is what the checkpoint says; the plugin registers anew and sends the list that it has."""
    if node.writing is not None:
        # Its containers were not started yet: the kubelet admits the pod once more.
        lives = tuple(Life.NEVER if pod == node.writing else life for pod, life in enumerate(node.lives))
        held = frozenset(entry for entry in node.held if entry.pod != node.writing)
        node = node._replace(lives=lives, held=held, writing=None)
    after = node._replace(books=node.file, api_server=api_server, knows_pods=api_server, offered=(), answer=None)
    return after.with_list() if after.offer is not None else after


def _admissions(node: Node) -> Iterator[Step]:
    if not node.knows_pods or node.offer is None or node.writing is not None:
        return
    for pod, life in enumerate(node.lives):
        if life is Life.NEVER:
            lives = tuple(Life.LIVE if place == pod else each for place, each in enumerate(node.lives))
            yield from _admitted(node._replace(lives=lives).with_drops(), pod, 0, [])


def _admitted(node: Node, pod: int, place: int, chosen: list[str]) -> Iterator[Step]:
    """Container by container. The checkpoint is written when a container has what it asked for; the last one late."""
    if place == len(PODS[pod]):
        yield f"pod {pod} is admitted with {', '.join(chosen)}", node
        return
    is_last = place + 1 == len(PODS[pod])
    role = PODS[pod][place]
    refused = True
    for unit in node.choices(pod, role):
        if (after := node.with_allocation(pod, role, unit)) is not None:
            refused = False
            written = after._replace(writing=pod) if is_last else after.with_writing()
            yield from _admitted(written, pod, place + 1, [*chosen, unit])
    if refused:
        # The pod fails: what its first containers were given is given back when the pod is dropped.
        yield f"pod {pod} is refused", _without(node, pod)


# -- the plugin -------------------------------------------------------------------------------------------------------


def _plugin(node: Node) -> Iterator[Step]:
    dropped = node.with_drops()
    yield "the plugin asks, and is answered late", dropped._replace(answer=dropped.listing())
    yield "the plugin works", _round(dropped.with_answer(dropped.listing()))
    yield "the plugin works, and PodResources does not answer", _round(node.with_answer(None))
    if node.answer is not None:
        yield "the plugin works with the late answer", _round(node._replace(answer=None).with_answer(node.answer))
    yield "the plugin sends its list once more", node.with_list() if node.offer is not None else node
    # A process takes longer to start than the kubelet to write a file; what that leaves is in docs/kubelet.md.
    if node.writing is None:
        yield "the plugin restarts", _plugin_restarted(node)
        yield "the plugin restarts while PodResources does not answer", _plugin_restarted(node, is_answered=False)


def _round(node: Node) -> Node:
    return node.with_look().with_publishing()


def _plugin_restarted(node: Node, *, is_answered: bool = True) -> Node:
    """Another process, which knows nothing: it asks, reads the checkpoint, registers and sends its first list."""
    fresh = node._replace(
        sources=type(node.sources)(),
        partitionings=Node().partitionings,
        offer=None,
        offered=(),
        answer=None,
        knows_card=not node.is_lost,
    )
    if is_answered:
        fresh = fresh.with_drops()
    fresh = _round(fresh.with_answer(fresh.listing() if is_answered else None))
    return fresh.with_list()
