"""Every event that the feature discovery logs, apart from those of npu_core. docs/operations.md explains them."""

from enum import StrEnum


class Event(StrEnum):
    """The words of a log line that never change. What differs from line to line is in its fields."""

    # -- the process
    STARTING = "starting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    LOOKING_AGAIN = "asked to look again"
    PART_ENDED = "a part that never ends has ended"
    LISTENING = "listening"
    CANNOT_LISTEN = "cannot listen"
    ENDPOINT_ENDED = "the endpoint has ended"
    # -- the host
    CARDS_FOUND = "cards found"
    NO_CARD = "no NPU found, waiting for one"
    CARD_NOT_COUNTED = "card not counted"
    CARD_SILENT = "card does not answer"
    CARD_ANSWERS = "card answers again"
    CARD_NOT_ASKED = "cannot ask the card, its labels stay as they were"
    CARD_FAILED = "a look at a card failed"
    MACHINE_UNKNOWN = "cannot read what machine this is"
    CANNOT_LOOK = "cannot look at the host"
    CAN_LOOK = "can look at the host again"
    LOOK_FAILED = "a look failed as none should"
    # -- the labels
    PUBLISHED = "published"
    ALREADY_PUBLISHED = "already published"
    CANNOT_PUBLISH = "cannot publish"
    CAN_PUBLISH = "can publish again"
    PUBLICATION_FAILED = "a publication failed as none should"
    REMOVED = "removed"
    NOTHING_TO_REMOVE = "nothing to remove"
    CANNOT_REMOVE = "cannot remove the labels"
    OTHER_SINK_REMOVED = "removed what another sink left behind"
    OTHER_SINK_STAYS = "cannot remove what another sink left behind"
    OTHER_NAMESPACES = "NodeFeatures of other namespaces"
    CHILD_SAID = "the process that publishes said"
    CANNOT_REMIND = "cannot remind readers of the feature file"
    LEFTOVER_STAYS = "leftover stays"
