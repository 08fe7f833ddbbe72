"""What a decision may depend on, and what it is: an `Observation` in, a `Decision` out. Pure.

An observation is one of these scenes, and every rule must bear each of them:

    spec invalid          whatever is there keeps serving
    nothing there yet     no Deployment, no route                         -> start with float
    float serves          no artifact for the present inputs              -> quantize
    artifact handed over  weight 0, compared with float on live answers   -> prove in shadow
    canary                candidate carries its step's share              -> advance, hold, retreat or roll back
    promoted              `stable` carries everything, float stays warm   -> watch
    condemned             weight 0; a safer one of the same front, if asked  -> prove in shadow
    candidate on stable   the stable INT8 is the incumbent, not float
    new source model      old pair serves until the new float is Available
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quanary.api.names import Variant
from quanary.api.v1alpha1 import (
    Artifact,
    Condemned,
    FrontArtifact,
    Progress,
    Provenance,
    QuantizedModelSpec,
    QuantizedModelStatus,
    SealOpening,
    Source,
    Stage,
)
from quanary.controller.evidence import Evidence
from quanary.wire.report import Handover

WHOLE: Final = 1000  # weights are thousandths


@dataclass(frozen=True)
class ModelKey:
    """A QuantizedModel by name."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Backend:
    """One variant's pods as they are now."""

    variant: Variant
    digest: str
    desired: int
    ready: int
    # Deployment Available at its newest template: the precondition of any weight.
    available: bool
    # Restarts of its containers since the pods were made, all pods together.
    restarts: int = 0
    # Why pods cannot start (refused by the fetch container, image not pulled); empty if nothing is wrong.
    failure: str = ""
    # What the server of a pod that is not Ready refuses, until a person changes it; empty if nothing.
    refusal: str = ""
    # By the name of each of its pods: the gates that it counts by an older spec, and `answers` if its answers to a
    # twin are of one.
    outdated: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class JobSeen:
    """The quantizer Job of the present inputs."""

    finished: bool
    handover: Handover | None = None
    # Without a handover: what Kubernetes says of its failure or, while it is not finished, of why it cannot start.
    failure: str = ""


@dataclass(frozen=True)
class RouteSeen:
    """The HTTPRoute as it is now."""

    weights: Mapping[str, int]  # by the first 10 hex digits of the digest, in thousandths
    accepted: bool  # by every parent, at the present generation
    age: timedelta = timedelta(0)
    refusal: str = ""  # what a parent that refuses it says
    has_parents: bool = True  # whether any gateway has spoken of it yet
    condemned: tuple[tuple[str, str], ...] = ()  # (digest, reason) out of the rollback annotation


@dataclass(frozen=True)
class Need:
    """An extended feature of the Gateway API that a field of the spec asks for."""

    feature: str
    field: str
    value: str  # what the field says
    is_asked: bool = True  # so that leaving it out is refused; what merely comes along is left out


@dataclass(frozen=True)
class RouteSupport:
    """What the route needs beyond the core, and what the classes of its Gateways declare."""

    needs: tuple[Need, ...] = ()
    lacking: tuple[tuple[Need, str], ...] = ()  # each with the GatewayClass that declares others, but not this
    silent: tuple[str, ...] = ()  # why nothing is known of a Gateway, in a few words


@dataclass(frozen=True)
class Observation:
    """Everything a decision may depend on, parsed; no dict survives `observe`."""

    now: datetime
    key: ModelKey
    uid: str
    generation: int
    spec: QuantizedModelSpec | None
    spec_error: str
    memory: QuantizedModelStatus
    inputs: str  # digest of what the wanted artifact is made from
    backends: Mapping[str, Backend]  # by full digest
    job: JobSeen | None
    route: RouteSeen | None
    evidence: Evidence | None
    switched_off: bool = False  # the ConfigMap `quanary-switch` says FloatOnly
    name_taken: str = ""  # a child's name is held by somebody else
    openings: tuple[SealOpening, ...] = ()  # of sealed data, by any Job of ours, older inputs included
    support: RouteSupport = field(default_factory=RouteSupport)


@dataclass(frozen=True)
class Running:
    """A variant whose Deployment and Service should exist."""

    variant: Variant
    digest: str
    uri: str
    cpu_features: tuple[str, ...] = ()  # those it was certified on
    portable: bool = True  # whether its certificate holds on other CPUs too


@dataclass(frozen=True)
class Share:
    """Traffic that a variant should get, in thousandths."""

    variant: Variant
    digest: str
    weight: int


@dataclass(frozen=True)
class Target:
    """What should exist, in domain words. Anything of ours that is not named here is removed, route first."""

    running: tuple[Running, ...] = ()
    shares: tuple[Share, ...] = ()  # empty: leave the route as it is
    float_digest: str = ""  # whom `<name>-float` selects, and where critical requests go
    twin_digest: str = ""  # whom `<name>-twin` selects; empty for nobody
    quantize: bool = False  # whether the quantizer Job of the present inputs should exist
    keep_all: bool = False  # remove nothing (an invalid spec, a taken name)
    lacking: frozenset[str] = frozenset()  # features that a Gateway lacks: the route is written without them


@dataclass(frozen=True)
class Memory:
    """What nothing else in the cluster holds; written to the status before it is acted on."""

    source: Source | None = None
    candidate: Artifact | None = None
    stable: Artifact | None = None
    condemned: tuple[Condemned, ...] = ()
    progress: Progress = field(default_factory=Progress)
    provenance: Provenance | None = None
    front: tuple[FrontArtifact, ...] = ()
    seal: tuple[SealOpening, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The stage, why, what should exist, what to remember, and when to look again."""

    stage: Stage
    because: str
    target: Target
    memory: Memory
    look_again_after: timedelta = timedelta(seconds=60)
    # One CamelCase word for the conditions and the event; the stage's own name if empty.
    reason: str = ""


Rule = Callable[[Observation], Decision | None]
