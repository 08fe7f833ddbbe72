"""Names of kinds, labels and children: the one place where they are spelled."""

from typing import Final, Literal

GROUP: Final = "quanary.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "QuantizedModel"
PLURAL: Final = "quantizedmodels"
FIELD_MANAGER: Final = "quanary"

LABEL_MODEL: Final = f"{GROUP}/model"
LABEL_VARIANT: Final = f"{GROUP}/variant"
LABEL_DIGEST: Final = f"{GROUP}/digest"
# On the quantizer's Job and its pod instead of the model label, so that nobody scrapes it as a server.
LABEL_JOB_OF: Final = f"{GROUP}/job-of"
# On every child; the operator watches its children by it.
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "quanary"

# On the HTTPRoute: `<digest>=<reason>`, written in the very patch that rolls back.
ANNOTATION_CONDEMNED: Final = f"{GROUP}/condemned"
# On the Job: the full digest of its inputs.
ANNOTATION_INPUTS: Final = f"{GROUP}/inputs"
# On every child: hash of the manifest that was last applied.
ANNOTATION_APPLIED: Final = f"{GROUP}/applied"

# The ConfigMap whose data `mode: FloatOnly` sends every model of its namespace (or of all, in the operator's) to float.
SWITCH: Final = "quanary-switch"

# A selector value that matches no pod: a twin Service without a twin refuses connections at once.
NO_DIGEST: Final = "none"

Variant = Literal["float", "int8"]


def short(digest: str) -> str:
    """The first 10 hex digits: enough for names, and a label value may not hold all 64."""
    return digest[:10]


def variant_name(model: str, variant: Variant, digest: str) -> str:
    """Deployment and Service of one variant."""
    return f"{model}-{variant}-{short(digest)}"


def float_service(model: str) -> str:
    """The Service an INT8 server asks for comparison."""
    return f"{model}-float"


def twin_service(model: str) -> str:
    """The Service a float server asks for comparison."""
    return f"{model}-twin"


def job_name(model: str, inputs: str) -> str:
    """The quantizer Job of one set of inputs."""
    return f"{model}-quantize-{short(inputs)}"
