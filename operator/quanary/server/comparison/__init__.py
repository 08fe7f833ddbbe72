"""The comparison with the twin: which answers are compared, how far two are apart, and who asks whom.

`sampler` picks, `pairs` wait, `comparison` asks the `twin`, `tally` counts what `verdict` reads out of its answers, by
`measure` and `divergence`; `predictions` counts what the model says by class.
"""

from quanary.server.comparison.comparison import TURN_SHARE, Comparison, Relay, TwinSettings
from quanary.server.comparison.measure import Measure
from quanary.server.comparison.predictions import Predictions
from quanary.server.comparison.sampler import Sampler
from quanary.server.comparison.twin import origin_of

__all__ = ["TURN_SHARE", "Comparison", "Measure", "Predictions", "Relay", "Sampler", "TwinSettings", "origin_of"]
