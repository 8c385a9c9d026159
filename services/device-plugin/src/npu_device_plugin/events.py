"""Every event that the device plugin logs, apart from those of npu_core. docs/operations.md explains them."""

from enum import StrEnum


class Event(StrEnum):
    """The words of a log line that never change. What differs from line to line is in its fields."""

    # -- the process
    STARTING = "starting"
    STOPPED = "stopped"
    LOOKING_AGAIN = "looking again, as asked"
    PART_ENDED = "a part that never ends has ended"
    LISTENING = "listening"
    CANNOT_LISTEN = "cannot listen"
    # -- the cards
    NO_CARD = "no NPU found, waiting for one"
    CARD_FOUND = "card found"
    CARD_FORGOTTEN = "lost card forgotten"
    CARD_NOT_OFFERED = "card not offered"
    CARD_HEALTHY = "card is healthy"
    CARD_UNHEALTHY = "card is unhealthy"
    CARD_KEEPS_UNITS = "card keeps its units for now"
    CARD_CUT = "card is cut anew"
    ANOTHER_CARD = "another card has this number now"
    ANOTHER_NUMBER = "card has another number now"
    FILES_AWAITED = "waiting for device files"
    LOOK_FAILED = "a look at a card failed"
    CANNOT_ASK_CARDS = "cannot ask the cards, their health stays as it was"
    CARDS_ASKED_AGAIN = "cards can be asked again"
    CANNOT_LIST_CARDS = "cannot list the cards"
    CARDS_LISTED_AGAIN = "cards can be listed again"
    # -- what is offered
    OFFERING = "offering"
    OFFER_CHANGED = "offer changed"
    UNKNOWN_DEVICE = "a disabled device is not on this host"
    SECOND_FAMILY = "the node has a second family of cards, offered under a name of its own"
    SECOND_FAMILY_REFUSED = "a second family of cards cannot be offered, shorten its names"
    WISH_DOES_NOT_FIT = "defaultPe does not fit the family, offering whole cards"
    UNITS_ALLOCATED = "units allocated"
    CDI_FILES_REMOVED = "CDI files of an earlier configuration removed"
    CANNOT_WRITE_CDI = "cannot write CDI files"
    # -- the kubelet
    SERVING = "serving"
    REGISTERED = "registered with the kubelet"
    CANNOT_REGISTER = "cannot register"
    REGISTRATION_LOST = "registration lost"
    KUBELET_LISTENS = "the kubelet listens"
    ANOTHER_CLIENT = "another client listens"
    # -- what containers hold
    CANNOT_ASK_KUBELET = "cannot ask the kubelet who holds what"
    KUBELET_ANSWERS = "kubelet answers who holds what again"
    CANNOT_READ_CHECKPOINT = "cannot read the kubelet checkpoint"
    CHECKPOINT_READABLE = "kubelet checkpoint readable again"
    WAITING_FOR_CHECKPOINT = "waiting for the kubelet checkpoint before offering units"
    HOLDERS_UNKNOWN = "offering units without knowing what containers hold"
    UNMAPPED_DEVICE = "a container holds a device id that may mean any card: no free unit is given out"
    MORE_UNMAPPED_DEVICES = "containers hold more such device ids"
