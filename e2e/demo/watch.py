"""What happened, with the time it happened: weights of routes and stages of models, from watches."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from e2e.cluster import paths
from e2e.cluster.kubectl import client
from quanary.api import names

ROUTES: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
MODELS: Final = f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.PLURAL}"
WHOLE: Final = 1000


@dataclass(frozen=True)
class WeightSeen:
    """The INT8 share of a model's route, in thousandths, from a moment on (Unix seconds)."""

    at: float
    model: str
    weight: int


@dataclass(frozen=True)
class StageSeen:
    """A model's stage from a moment on."""

    at: float
    model: str
    stage: str
    weight: str
    because: str


class Watch:
    """A list path of the API server, followed; each object goes to `tell` with the time it came."""

    def __init__(self, path: str, tell: Callable[[float, Mapping[str, Any]], None]) -> None:
        """Follow `path` once started."""
        self._path = path
        self._tell = tell
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, name=f"watch {path}", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(10)

    def _follow(self) -> None:
        # The server ends a watch after a while; a new one begins with everything there is.
        while not self._stop.is_set():
            url = f"{self._path}?watch=true"
            command = [str(client("kubectl")), f"--kubeconfig={paths.kubeconfig()}", "get", "--raw", url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
                self._process = process
                for line in process.stdout or ():
                    event = json.loads(line)
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        self._tell(time.time(), event["object"])
            self._stop.wait(1)


class Chronicle:
    """All that was seen in a namespace, and a word to whoever listens when something changes."""

    def __init__(self, namespace: str, listen: Callable[[StageSeen], None] = lambda _: None) -> None:
        """Follow the routes and models of `namespace` once entered."""
        self.weights: list[WeightSeen] = []
        self.stages: list[StageSeen] = []
        self._listen = listen
        self._watches = (
            Watch(ROUTES.format(namespace=namespace), self._see_route),
            Watch(MODELS.format(namespace=namespace), self._see_model),
        )

    def __enter__(self) -> Self:
        """Start."""
        for watch in self._watches:
            watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        for watch in self._watches:
            watch.__exit__(kind, error, trace)

    def weights_of(self, model: str, since: float = 0.0) -> list[WeightSeen]:
        """Changes of a model's INT8 share, oldest first."""
        return [each for each in list(self.weights) if each.model == model and each.at >= since]

    def stages_of(self, model: str, since: float = 0.0) -> list[StageSeen]:
        """Changes of a model's stage or weight, oldest first."""
        return [each for each in list(self.stages) if each.model == model and each.at >= since]

    def weight_of(self, model: str) -> int:
        """Its INT8 share now."""
        seen = self.weights_of(model)
        return seen[-1].weight if seen else 0

    def _see_route(self, at: float, route: Mapping[str, Any]) -> None:
        model, weight = route["metadata"]["name"], int8_weight(route)
        seen = self.weights_of(model)
        if not seen or seen[-1].weight != weight:
            self.weights.append(WeightSeen(at, model, weight))

    def _see_model(self, at: float, model: Mapping[str, Any]) -> None:
        status = model.get("status", {})
        stage = StageSeen(
            at, model["metadata"]["name"], status.get("stage", ""), status.get("weight", ""), status.get("because", "")
        )
        seen = self.stages_of(stage.model)
        if stage.stage and (not seen or (seen[-1].stage, seen[-1].weight) != (stage.stage, stage.weight)):
            self.stages.append(stage)
            self._listen(stage)


def int8_weight(route: Mapping[str, Any]) -> int:
    """Thousandths that INT8 gets in the last rule of an HTTPRoute: the split. The first is for critical requests."""
    prefix = f"{route['metadata']['name']}-int8-"
    refs = route["spec"]["rules"][-1].get("backendRefs", [])
    total = sum(ref.get("weight", 1) for ref in refs)
    int8 = sum(ref.get("weight", 1) for ref in refs if ref["name"].startswith(prefix))
    return round(int8 * WHOLE / total) if total else 0
