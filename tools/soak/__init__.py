"""``make soak``: the three services for as long as asked on one live simulated node, on which everything goes wrong.

`trend`, `verdict`, `messages` and `truth` decide, on frozen values, and do no I/O; `acts` and `draw` say what happens;
`site` is the node with its three services, `watch` looks at them and `scrapers` ask them; `rounds` lets it all happen,
and `report` tells what came of it.
"""
