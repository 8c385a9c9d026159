"""The HTTP server of all three services: probes, scrapes and pages.

:mod:`.messages` has what is asked and answered, :mod:`.pages` the pages of a service, :mod:`.room` the rule which
client makes room for a new one, :mod:`.connection` one client's connection, :mod:`.server` the listeners,
:mod:`.preferences` what a client takes, :mod:`.traffic` what is counted.
"""
