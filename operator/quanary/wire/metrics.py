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

# Of an INT8 server alone, over the requests of users and of twins: inputs against the calibration of its artifact.
INPUTS_CHECKED: Final = "quanary_inputs_checked_total"  # requests; each row of a batch is one
INPUTS_OUT_OF_RANGE: Final = "quanary_inputs_out_of_range_total"  # of those: any value of any input out of range
INPUT_WINDOWS: Final = "quanary_input_windows_total"  # stretches of requests whose distribution was judged
INPUT_WINDOWS_DRIFTED: Final = "quanary_input_windows_drifted_total"  # of those: PSI of any input over its threshold
# Of an INT8 server alone, over users' requests.
ESCALATED: Final = "quanary_escalated_total"  # answered by float instead, or sent to review
ESCALATIONS_REFUSED: Final = "quanary_escalations_refused_total"  # confidence was low, but the answer not escalated

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
    INPUTS_CHECKED,
    INPUTS_OUT_OF_RANGE,
    INPUT_WINDOWS,
    INPUT_WINDOWS_DRIFTED,
    ESCALATED,
    ESCALATIONS_REFUSED,
)

# For people, on `/metrics` beside the counters.
REQUEST_DURATION: Final = "quanary_request_duration_seconds"
EXECUTION_DURATION: Final = "quanary_execution_duration_seconds"
MODEL_INFO: Final = "quanary_model_info"
CPU_FEATURES_DIFFER: Final = "quanary_cpu_features_differ"  # 1: certified on another kind of CPU; absent if unknown

EXECUTION_OF_TWIN: Final = "quanary_twin_execution_duration_seconds"  # label twin; on the same inputs as compared
DIVERGENCE: Final = "quanary_divergence"  # label twin; histogram with an edge at the limit
MISMATCHED_BEFORE_ESCALATION: Final = "quanary_mismatched_before_escalation_total"  # label twin; INT8's own answers
PREDICTIONS: Final = "quanary_predictions_total"  # label class: the 20 first seen and `other`
INPUT_OUT_OF_RANGE: Final = "quanary_input_out_of_range_total"  # label input: requests
INPUT_PSI: Final = "quanary_input_psi_ratio"  # label input: PSI of the newest window over its threshold
ESCALATION_REFUSALS: Final = "quanary_escalation_refusals_total"  # label reason: of escalations_refused
REVIEWS_LOST: Final = "quanary_reviews_lost_total"  # label reason: past the bound of the spool, or refused by the sink
REVIEWS_WAITING: Final = "quanary_reviews_waiting"  # in memory and in the spool
BATCH_SIZE: Final = "quanary_batch_size_requests"  # of one inference
QUEUED: Final = "quanary_queued_requests"  # wait for the model now
CPU_SECONDS: Final = "quanary_cpu_seconds_total"  # of the process: per request, divide by requests
ENERGY: Final = "quanary_energy_joules_total"  # label source: rapl (of the whole CPU package) or estimated
COST: Final = "quanary_cost_total"  # in the currency of the configured price of a core-hour

# The label on comparison counters: the first 10 hex digits of the twin's digest, from its answer's header.
TWIN_LABEL: Final = "twin"
INPUT_LABEL: Final = "input"
CLASS_LABEL: Final = "class"
SOURCE_LABEL: Final = "source"
REASON_LABEL: Final = "reason"

# Identity of a series: labels that the scrape puts on the target, never what a pod says of itself.
NAMESPACE: Final = "namespace"
POD: Final = "pod"
MODEL: Final = "quanary_model"
DIGEST: Final = "quanary_digest"
VARIANT: Final = "quanary_variant"


def divergence_edges(limit: float) -> tuple[float, ...]:
    """Histogram edges around the limit: `limit * 2**j`, j = -10..3; the limit itself is an edge."""
    return tuple(limit * 2.0**j for j in range(-10, 4))


def latency_edges(budget_seconds: float) -> tuple[float, ...]:
    """Histogram edges around the budget: `budget * 1.25**j`, j = -8..6; the budget itself is an edge."""
    return tuple(round(budget_seconds * 1.25**j, 9) for j in range(-8, 7))
