"""INT8's unsure answers for others to look at again: `policy` picks them, `event` writes them as CloudEvents,
`delivery` takes them over the `spool` to the `sink`.
"""

from quanary.server.review.delivery import Reviews
from quanary.server.review.event import Origin
from quanary.server.review.policy import SendToReview
from quanary.server.review.sink import Sink
from quanary.server.review.spool import Spool

__all__ = ["Origin", "Reviews", "SendToReview", "Sink", "Spool"]
