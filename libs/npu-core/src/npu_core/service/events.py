"""The events that this library logs in every service; each service has its own beside them.

docs/operations.md explains them.
"""

from enum import StrEnum


class SharedEvent(StrEnum):
    """The words of a log line that never change. What differs from line to line is in the fields."""

    # -- the settings file
    SETTING_CHANGED = "setting changed"
    SETTING_NEEDS_RESTART = "setting changed, needs a restart"
    CONFIGURATION_APPLIED = "configuration applied"
    CONFIGURATION_REFUSED = "configuration refused, the last good one stays"
    CONFIGURATION_UNREADABLE = "configuration cannot be read, the last good one stays"
    CONFIGURATION_READABLE = "configuration can be read again"
    # -- the HTTP server
    TOO_MANY_CLIENTS = "too many clients, those that wait longest are cut off"
    NO_CLIENT_CUT_OFF = "no client is cut off any more"
    CANNOT_TAKE_CONNECTIONS = "cannot take connections for a moment"
    CAN_TAKE_CONNECTIONS = "can take connections again"
    CLIENT_COULD_NOT_CONNECT = "a client could not connect"
    CONNECTION_FAILED = "a connection could not be made, as none should"
    PAGE_FAILED = "a page could not be made"
    # -- the process
    DIRECTORY_REMOVED = "directory was removed on the node, restart this pod to get the new one"
    LINES_DROPPED = "log lines dropped"
