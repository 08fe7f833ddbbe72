"""Names of the series a serving pod exports and the controller reads. Base units, bounded labels."""

from typing import Final

# Counters on `/gates`. All are monotonic; k and n of a gate come from one scrape.
# `requests` counts outcomes: a request is counted when its answer leaves or its deadline passes, whichever is first.
# Critical requests (always float) are in none of them.
REQUESTS: Final = "quanary_requests_total"
ERRORS: Final = "quanary_errors_total"  # of requests: answered 5xx, or no answer at the deadline
OVER_BUDGET: Final = "quanary_over_budget_total"  # of requests: slower than the p99 budget
COMPARED: Final = "quanary_compared_total"  # label twin; every sampled pair
MISMATCHED: Final = "quanary_mismatched_total"  # of compared; label twin
COMPARED_DISTINCT: Final = "quanary_compared_distinct_total"  # label twin; each input once in an hour
MISMATCHED_DISTINCT: Final = "quanary_mismatched_distinct_total"  # of compared_distinct; label twin
SLOWER_THAN_TWIN: Final = "quanary_slower_than_twin_total"  # of compared, by model execution time; label twin
COMPARISONS_DROPPED: Final = "quanary_comparisons_dropped_total"  # sampled, but the queue was full or the twin failed

GATE_COUNTERS: Final = (
    REQUESTS,
    ERRORS,
    OVER_BUDGET,
    COMPARED,
    MISMATCHED,
    COMPARED_DISTINCT,
    MISMATCHED_DISTINCT,
    SLOWER_THAN_TWIN,
    COMPARISONS_DROPPED,
)

# For people, on `/metrics` beside the counters.
REQUEST_DURATION: Final = "quanary_request_duration_seconds"
EXECUTION_DURATION: Final = "quanary_execution_duration_seconds"
MODEL_INFO: Final = "quanary_model_info"
CPU_FEATURES_DIFFER: Final = "quanary_cpu_features_differ"  # 1: certified on another kind of CPU; absent if unknown

# The label on comparison counters: the first 10 hex digits of the twin's digest, from its answer's header.
TWIN_LABEL: Final = "twin"

# Identity of a series: labels that the scrape puts on the target, never what a pod says of itself.
NAMESPACE: Final = "namespace"
POD: Final = "pod"
MODEL: Final = "quanary_model"
DIGEST: Final = "quanary_digest"
VARIANT: Final = "quanary_variant"


def latency_edges(budget_seconds: float) -> tuple[float, ...]:
    """Histogram edges around the budget: `budget * 1.25**j`, j = -8..6; the budget itself is an edge."""
    return tuple(round(budget_seconds * 1.25**j, 9) for j in range(-8, 7))
