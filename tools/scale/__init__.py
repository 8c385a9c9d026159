"""What a cluster of thousands of nodes sees of these services: measured for one node, calculated for all of them.

``measure_*`` runs the real programs on simulated hosts and says what one node sends, writes and exposes. ``inputs``
names everything that is assumed. ``behaviour``, ``server`` and ``simulation`` play a restart of all nodes with the
product's own times; ``arithmetic`` multiplies. ``tables`` says it in the words of docs/scale.md, which ``page`` keeps.
"""
