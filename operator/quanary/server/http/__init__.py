"""HTTP/1.1 with little of its own between a socket and a model.

It stands where a framework and its server would, which cost several times as much as a tiny model itself. It takes no
more than our applications give: an answer is one body of known length.
"""
