"""Evidence out of Prometheus: against an HTTP server on loopback that answers as Prometheus does."""

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typing_extensions import override

from quanary.api.v1alpha1 import Divergence, Escalation, Gates, InferenceServer
from quanary.controller.decision import ModelKey
from quanary.controller.evidence import Evidence, Scrape
from quanary.controller.evidence.proof import Proof
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Prometheus, Subject, Telemetry
from quanary.controller.telemetry.prometheus import PrometheusError
from quanary.controller.telemetry.series import batches, counters_query, p99_query
from quanary.wire.metrics import COMPARED, COMPARED_DISTINCT, MISMATCHED, MISMATCHED_DISTINCT, REQUESTS
from tests.controller.simulation import START, Rates, history, input_history

FLOAT, INT8, OTHER = "f" * 64, "a" * 64, "b" * 64
KEY = ModelKey("shop", "classifier")
SUBJECT = Subject(KEY, "uid-1", FLOAT, INT8, Gates(), mismatch=0.1, steps=5)
SETTINGS = Settings(tick=timedelta(seconds=2))
OF_A_TWIN = {COMPARED, MISMATCHED, COMPARED_DISTINCT, MISMATCHED_DISTINCT}
GOOD = Rates(requests=20, compared=20)
Labels = tuple[tuple[str, str], ...]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


@dataclass
class FakePrometheus:
    """Instant queries of range selectors over stored samples; everything else answers `p99`."""

    url: str
    samples: dict[Labels, list[tuple[float, float]]] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    p99: list[dict[str, Any]] = field(default_factory=list)
    body: bytes | None = None  # instead of an answer
    status: int = 200
    drip_seconds: float = 0.0  # between the bytes of `body`
    sent: int = 0

    def store(self, scrapes: list[Scrape], key: ModelKey = KEY, int8: str = INT8, **labels: str) -> None:
        for scrape in scrapes:
            own, twin = (FLOAT, int8) if scrape.variant == "float" else (int8, FLOAT)
            for name, value in scrape.counters.items():
                of = {
                    "__name__": name,
                    "namespace": key.namespace,
                    "pod": scrape.pod,
                    "quanary_model": key.name,
                    "quanary_digest": own[:10],
                    "quanary_variant": scrape.variant,
                    "job": "quanary-gates",
                    **({"twin": twin[:10]} if name in OF_A_TWIN else {}),
                    **labels,
                }
                self.samples.setdefault(tuple(sorted(of.items())), []).append((scrape.at, value))

    def counter_queries(self) -> list[str]:
        return [query for query in self.queries if not query.startswith("histogram_quantile")]

    def answer(self, query: str, at: float) -> list[dict[str, Any]]:
        selector = re.fullmatch(r"\{(.*)\}\[(\d+)s\]", query, re.DOTALL)
        if selector is None:
            return self.p99
        matchers = [
            (name, json.loads(f'"{text}"')) for name, text in re.findall(r'(\w+)=~"((?:[^"\\]|\\.)*)"', selector[1])
        ]
        found = []
        for labels, samples in self.samples.items():
            first, last = (bisect_right(samples, (limit, inf)) for limit in (at - int(selector[2]), at))
            values = [[ts, str(value)] for ts, value in samples[first:last]]
            if values and all(re.fullmatch(pattern, dict(labels).get(name, "")) for name, pattern in matchers):
                found.append({"metric": dict(labels), "values": values})
        return found


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            fake.queries.append(asked["query"][0])
            body = fake.body
            if body is None:
                result = fake.answer(asked["query"][0], float(asked["time"][0]))
                body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
            self.send_response(fake.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.send_body(body)

        def send_body(self, body: bytes) -> None:
            try:
                for piece in [body[i : i + 1] for i in range(len(body))] if fake.drip_seconds else [body]:
                    self.wfile.write(piece)
                    fake.sent += 1
                    stopped.wait(fake.drip_seconds)
            except OSError:
                # The client had enough: that is what some tests want.
                self.close_connection = True

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake = FakePrometheus(f"http://127.0.0.1:{server.server_port}/")
    yield fake
    stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(fake: FakePrometheus) -> Iterator[Prometheus]:
    with closing(Prometheus(fake.url)) as client:
        yield client


@pytest.fixture
def telemetry(client: Prometheus) -> Telemetry:
    return Telemetry(client, SETTINGS)


def pods(rates: Rates, seconds: int = 60, *, float_pod: str = "float-0", int8_pod: str = "int8-0") -> list[Scrape]:
    return [
        *history(float_pod, "float", seconds, lambda _: GOOD, seed=1),
        *history(int8_pod, "int8", seconds, lambda _: rates, seed=2),
    ]


async def run(telemetry: Telemetry, seconds: int, *, start: int = 0, every: int = 1) -> dict[int, set[ModelKey]]:
    """Tick by tick; the changes by second."""
    return {second: await telemetry.tick(moment(second)) for second in range(start, seconds + 1, every)}


def reading(telemetry: Telemetry, key: ModelKey = KEY) -> Evidence:
    evidence = telemetry.reading(key)
    assert evidence is not None
    return evidence


def samples(evidence: Evidence) -> dict[str, int]:
    return {each.name: each.samples for each in evidence.gates}


async def test_a_good_artifact_is_proven_and_a_bad_one_condemned(fake: FakePrometheus, telemetry: Telemetry) -> None:
    bad = ModelKey("shop", "detector")
    fake.store(pods(GOOD, 180))
    fake.store(pods(replace(GOOD, errors=0.5), 180), bad)
    telemetry.track(SUBJECT, moment(0))
    telemetry.track(replace(SUBJECT, key=bad, uid="uid-2"), moment(0))
    changes = await run(telemetry, 180)
    assert reading(telemetry).proven
    assert reading(telemetry).condemned_by == ""
    assert reading(telemetry, bad).condemned_by == "errors"
    assert reading(telemetry, bad).retreat_by == "errors"
    assert {bad} in changes.values()


async def test_a_key_is_named_when_its_outcome_changes_and_not_again(
    fake: FakePrometheus, telemetry: Telemetry
) -> None:
    fake.store(pods(replace(GOOD, errors=0.5), 30))
    telemetry.track(SUBJECT, moment(0))
    changes = await run(telemetry, 30)
    assert 1 <= sum(bool(keys) for keys in changes.values()) <= 4


async def test_enough_comparisons_wake_the_model(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD, 60))
    telemetry.track(replace(SUBJECT, compared_wanted=500), moment(0))
    changes = await run(telemetry, 60)
    woken = [second for second, keys in changes.items() if keys and second > 5]
    assert len(woken) == 1
    assert reading(telemetry).compared_distinct > 500
    # 32 distinct comparisons a second of both pods together.
    assert 12 <= woken[0] <= 22


async def test_inputs_that_hold_wake_the_model_and_so_does_the_end_of_it(
    fake: FakePrometheus, telemetry: Telemetry
) -> None:
    fake.store(list(input_history(lambda second: 0.5 if second <= 300 else 0.0, lambda _: 0.0, seconds=2400)))
    telemetry.track(replace(SUBJECT, input_range=0.025, input_drift=0.05), moment(0))
    changes = await run(telemetry, 2400, every=5)
    assert reading(telemetry).holding == ()
    woken = [second for second, keys in changes.items() if keys]
    assert len([second for second in woken if 5 < second <= 60]) == 1
    assert len([second for second in woken if second > 600]) == 1
    assert samples(reading(telemetry))["input-range"] > 20_000


async def test_all_models_share_one_query(fake: FakePrometheus, telemetry: Telemetry) -> None:
    keys = [ModelKey("shop", f"model-{i}") for i in range(100)]
    for key in keys:
        fake.store(history("int8-0", "int8", 4, lambda _: GOOD, seed=1), key)
        telemetry.track(replace(SUBJECT, key=key, uid=key.name), moment(0))
    await telemetry.tick(moment(4))
    assert len(fake.counter_queries()) == 1
    assert {samples(reading(telemetry, key))["errors"] for key in keys} == {
        samples(reading(telemetry, keys[0]))["errors"]
    }
    assert samples(reading(telemetry, keys[0]))["errors"] > 0


async def test_a_proof_that_breaks_stops_no_other(
    fake: FakePrometheus, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, advance = replace(SUBJECT, key=ModelKey("shop", "broken"), int8_digest=OTHER), Proof.advance

    def advance_all_but_one(proof: Proof, scrapes: list[Scrape]) -> None:
        if proof.pair == broken.pair:
            raise RuntimeError("broken")
        advance(proof, scrapes)

    monkeypatch.setattr(Proof, "advance", advance_all_but_one)
    fake.store(history("int8-0", "int8", 4, lambda _: GOOD, seed=1))
    for each in (broken, SUBJECT):
        telemetry.track(each, moment(0))
    await telemetry.tick(moment(4))
    assert telemetry.reading(broken.key) is None
    assert samples(reading(telemetry))["errors"] > 0


async def test_two_scrape_jobs_count_a_pod_once(fake: FakePrometheus, telemetry: Telemetry, client: Prometheus) -> None:
    fake.store(pods(GOOD))
    alone = Telemetry(client, SETTINGS)
    alone.track(SUBJECT, moment(0))
    await run(alone, 60, every=4)
    # Sees the same counters slightly later, and less often.
    fake.store([each._replace(at=each.at + 0.37) for each in pods(GOOD)][::2], job="another")
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 60, every=4)
    assert samples(reading(telemetry)) == samples(reading(alone))


@pytest.mark.parametrize(
    "stranger",
    [{"namespace": "elsewhere"}, {"quanary_digest": OTHER[:10]}, {"quanary_model": "another"}, {"pod": ""}],
    ids=lambda labels: next(iter(labels)),
)
async def test_series_of_others_are_no_evidence(
    fake: FakePrometheus, telemetry: Telemetry, stranger: dict[str, str]
) -> None:
    fake.store(pods(GOOD))
    fake.store(history("int8-1", "int8", 60, lambda _: replace(GOOD, errors=1.0), seed=3), KEY, INT8, **stranger)
    # The names it matches too well are asked for because another model bears them.
    for i, key in enumerate((ModelKey("elsewhere", "x"), ModelKey("y", "another"))):
        telemetry.track(replace(SUBJECT, key=key, uid=f"uid-{i}"), moment(0))
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 60, every=4)
    assert all(each.bad == 0 for each in reading(telemetry).gates)
    assert samples(reading(telemetry))["errors"] > 0


async def test_comparisons_with_a_third_model_are_no_evidence(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(history("float-0", "float", 60, lambda _: replace(GOOD, mismatched=1.0), seed=3), int8=OTHER)
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 60, every=4)
    assert samples(reading(telemetry))["mismatch"] == 0


async def test_a_restart_goes_on_from_the_checkpoint(
    fake: FakePrometheus, telemetry: Telemetry, client: Prometheus
) -> None:
    fake.store(pods(replace(GOOD, mismatched=0.02, errors=0.0005), 200))
    telemetry.track(replace(SUBJECT, step=1, since=moment(10)), moment(0))
    await run(telemetry, 100, every=2)
    checkpoint = reading(telemetry).checkpoint
    await run(telemetry, 200, start=102, every=2)
    restarted = Telemetry(client, SETTINGS)
    restarted.track(replace(SUBJECT, step=1, since=moment(10), checkpoint=checkpoint), moment(150))
    assert restarted.reading(KEY) is None
    await run(restarted, 200, start=150, every=2)
    assert reading(restarted) == reading(telemetry)
    assert samples(reading(restarted))["errors"] > 3000


async def test_a_damaged_checkpoint_begins_the_proof_anew(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD))
    telemetry.track(replace(SUBJECT, checkpoint='{"version": 9}'), moment(30))
    await run(telemetry, 60, start=30)
    assert 0 < samples(reading(telemetry))["errors"] < 700


async def test_another_artifact_or_a_retry_begins_anew(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(replace(GOOD, errors=0.5), 30))
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 30)
    assert reading(telemetry).condemned_by == "errors"
    telemetry.track(replace(SUBJECT, int8_digest=OTHER), moment(30))
    assert telemetry.reading(KEY) is None
    checkpoint = '{"pair": "another"}'
    telemetry.track(replace(SUBJECT, retried=True, checkpoint=checkpoint), moment(31))
    await telemetry.tick(moment(32))
    assert reading(telemetry).condemned_by == ""


async def test_the_longest_rule_fits_a_checkpoint(fake: FakePrometheus, telemetry: Telemetry) -> None:
    divergence = Divergence(measure="KullbackLeibler", limit=1.2345678901234567e-05, output="o" * 200)
    gates = SUBJECT.gates.model_copy(update={"divergence": divergence})
    fake.store(pods(GOOD))
    telemetry.track(replace(SUBJECT, gates=gates, escalation=Escalation(below=0.6)), moment(0))
    await run(telemetry, 30)
    assert reading(telemetry).checkpoint


async def test_tracking_again_goes_on(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD))
    for second in range(61):
        telemetry.track(replace(SUBJECT, checkpoint="whatever the status says by now"), moment(second))
        await telemetry.tick(moment(second))
    assert samples(reading(telemetry))["errors"] > 1000


@pytest.mark.parametrize(
    "divergence",
    [
        Divergence(measure="Cosine", limit=0.1),
        Divergence(measure="Cosine", limit=0.2),
        Divergence(measure="Tolerance", limit=0.1),
        Divergence(output="another"),
    ],
)
async def test_what_counts_as_a_mismatch_begins_its_gate_anew_and_no_other(
    fake: FakePrometheus, telemetry: Telemetry, divergence: Divergence
) -> None:
    fake.store(pods(GOOD))
    first = replace(
        SUBJECT, gates=SUBJECT.gates.model_copy(update={"divergence": Divergence(measure="Cosine", limit=0.3)})
    )
    telemetry.track(first, moment(0))
    await run(telemetry, 30)
    telemetry.track(first, moment(30))
    await telemetry.tick(moment(31))
    before = samples(reading(telemetry))
    telemetry.track(replace(first, gates=first.gates.model_copy(update={"divergence": divergence})), moment(31))
    await telemetry.tick(moment(32))
    after = samples(reading(telemetry))
    assert before["mismatch"] > 100
    assert after["mismatch"] < 50
    assert after["errors"] >= before["errors"]


@pytest.mark.parametrize(
    ("given", "begins_anew"),
    [
        (Escalation(below=0.6), True),
        (Escalation(below=0.5, budget=0.2), True),
        (Escalation(below=0.5), False),
        (None, True),
        (Escalation(below=0.5, to="Review", sink="http://reviews"), True),
    ],
)
async def test_so_does_what_float_answers_instead(
    fake: FakePrometheus, telemetry: Telemetry, given: Escalation | None, begins_anew: bool
) -> None:
    fake.store(pods(GOOD))
    telemetry.track(replace(SUBJECT, escalation=Escalation(below=0.5)), moment(0))
    await run(telemetry, 30)
    before = samples(reading(telemetry))
    telemetry.track(replace(SUBJECT, escalation=given), moment(30))
    await telemetry.tick(moment(31))
    assert before["mismatch"] > 100
    assert (samples(reading(telemetry))["mismatch"] < before["mismatch"]) == begins_anew
    assert samples(reading(telemetry))["errors"] >= before["errors"]


async def test_what_a_changed_spec_takes_back_is_told_at_once(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD, 120))
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 120, every=2)
    before = reading(telemetry)
    assert before.proven
    assert telemetry.revise(SUBJECT) is before
    fake.status, fake.body = 503, b"out of order"
    revised = telemetry.revise(replace(SUBJECT, mismatch=0.05))
    assert revised is telemetry.reading(KEY)
    assert revised
    assert not revised.proven
    assert json.loads(revised.checkpoint)["proven"] is False
    assert (revised.int8_silent, revised.float_silent) == (False, False)
    assert samples(revised)["errors"] == samples(before)["errors"]
    assert await telemetry.tick(moment(121)) == {KEY}


COSINE = replace(
    SUBJECT, gates=SUBJECT.gates.model_copy(update={"divergence": Divergence(measure="Cosine", limit=0.1)})
)
NONE = frozenset[str]()


async def test_pods_of_an_older_measure_say_nothing_though_the_operator_restarts_while_they_go(
    fake: FakePrometheus, telemetry: Telemetry, client: Prometheus
) -> None:
    fake.store(pods(replace(GOOD, mismatched=0.5), 90, int8_pod="int8-old"))
    fake.store(history("int8-new", "int8", 200, lambda _: GOOD, seed=3, start=START + 40))
    telemetry.track(replace(SUBJECT, mismatch=0.9, outdated={"float-0": NONE, "int8-old": NONE}), moment(0))
    await run(telemetry, 30)
    older = {each: frozenset({"mismatch"}) for each in ("float-0", "int8-old")}
    telemetry.track(replace(COSINE, outdated=older), moment(30))
    await run(telemetry, 40, start=31)
    assert samples(reading(telemetry))["mismatch"] == 0
    telemetry.track(replace(COSINE, outdated=older | {"int8-new": NONE}), moment(40))
    await run(telemetry, 70, start=41)
    assert samples(reading(telemetry))["mismatch"] > 400
    restarted = Telemetry(client, SETTINGS)
    checkpoint = reading(telemetry).checkpoint
    restarted.track(replace(COSINE, outdated={"int8-new": NONE}, checkpoint=checkpoint), moment(100))
    await run(restarted, 240, start=100, every=2)
    (mismatch, *_) = reading(restarted).gates
    assert (mismatch.bad, reading(restarted).condemned_by) == (0, "")
    assert reading(restarted).proven
    assert samples(reading(restarted))["errors"] > 20 * 190


async def test_the_same_server_by_another_name_goes_on(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD))
    server = InferenceServer(image=f"triton@sha256:{'a' * 64}")
    telemetry.track(replace(SUBJECT, server=server), moment(0))
    await run(telemetry, 30)
    before = samples(reading(telemetry))
    mirrored = server.model_copy(update={"image": f"mirror.example.com/triton@sha256:{'a' * 64}", "port": 8004})
    assert telemetry.revise(replace(SUBJECT, server=mirrored))
    assert samples(reading(telemetry))["mismatch"] == before["mismatch"] > 100


@pytest.mark.parametrize(
    "server",
    [
        None,
        InferenceServer(image=f"triton@sha256:{'b' * 64}"),
        InferenceServer(image=f"triton@sha256:{'a' * 64}", args=("serve",)),
    ],
    ids=["front", "image", "arguments"],
)
async def test_another_server_begins_its_proof_anew_and_no_other(
    fake: FakePrometheus, telemetry: Telemetry, server: InferenceServer | None
) -> None:
    fake.store(pods(GOOD))
    before = replace(SUBJECT, server=InferenceServer(image=f"triton@sha256:{'a' * 64}"))
    telemetry.track(before, moment(0))
    await run(telemetry, 30)
    known = samples(reading(telemetry))
    assert telemetry.revise(replace(before, server=server))
    after = samples(reading(telemetry))
    assert known["mismatch"] > 100
    assert after == {**known, "mismatch": 0}


async def test_a_pair_that_is_not_tracked_has_no_evidence(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD, 30))
    assert telemetry.revise(SUBJECT) is None
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 30)
    before = reading(telemetry)
    assert telemetry.revise(replace(SUBJECT, int8_digest=OTHER)) is None
    assert telemetry.revise(replace(SUBJECT, uid="another")) is None
    assert telemetry.reading(KEY) is before, "nothing was dropped"


async def test_a_new_weight_clears_the_retreat(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(replace(GOOD, errors=0.5), 30))
    telemetry.track(replace(SUBJECT, step=1, since=moment(0)), moment(0))
    await run(telemetry, 30)
    assert reading(telemetry).retreat_by == "errors"
    telemetry.track(replace(SUBJECT, step=0, since=moment(31)), moment(31))
    await telemetry.tick(moment(31))
    assert reading(telemetry).retreat_by == ""


async def test_a_promoted_artifact_is_read_once_a_minute(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD, 240))
    telemetry.track(replace(SUBJECT, in_progress=False), moment(0))
    await run(telemetry, 240)
    assert len(fake.counter_queries()) == 4
    assert samples(reading(telemetry))["errors"] > 180 * 18


async def test_prometheus_gone_holds_what_is_known_and_says_so(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD))
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 20)
    before = reading(telemetry)
    fake.status, fake.body = 503, b"out of order"
    changes = await run(telemetry, 40, start=21)
    assert [second for second, keys in changes.items() if keys] == [32]
    assert reading(telemetry) == replace(before, prometheus_gone=True)
    assert telemetry.seconds_since_success(moment(40)) == 20
    fake.status, fake.body = 200, None
    assert await telemetry.tick(moment(41)) == {KEY}
    assert not reading(telemetry).prometheus_gone
    assert samples(reading(telemetry))["errors"] > 700


async def test_prometheus_gone_is_told_even_if_it_never_answered() -> None:
    with closing(Prometheus("http://127.0.0.1:9", timeout_seconds=0.5)) as nobody:
        telemetry = Telemetry(nobody, SETTINGS)
        telemetry.track(SUBJECT, moment(0))
        assert await telemetry.tick(moment(0)) == set()
        assert telemetry.reading(KEY) is None
        assert await telemetry.tick(moment(11)) == {KEY}
    assert reading(telemetry).prometheus_gone
    assert not reading(telemetry).proven


async def test_a_promoted_model_alone_does_not_look_like_prometheus_gone(
    fake: FakePrometheus, telemetry: Telemetry
) -> None:
    fake.store(pods(GOOD, 130))
    telemetry.track(replace(SUBJECT, in_progress=False), moment(0))
    await run(telemetry, 130)
    assert not reading(telemetry).prometheus_gone


async def test_a_silent_canary_is_told(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store([each for each in pods(GOOD) if each.variant == "float" or each.at < START + 30])
    telemetry.track(SUBJECT, moment(0))
    changes = await run(telemetry, 60)
    assert reading(telemetry).int8_silent
    assert not reading(telemetry).float_silent
    assert [second for second, keys in changes.items() if keys and second > 20] == [33]


async def test_a_forgotten_model_costs_no_query(fake: FakePrometheus, telemetry: Telemetry) -> None:
    telemetry.track(SUBJECT, moment(0))
    telemetry.forget(KEY)
    telemetry.forget(KEY)
    assert await telemetry.tick(moment(0)) == set()
    assert fake.queries == []
    assert telemetry.reading(KEY) is None


@pytest.mark.parametrize(("int8", "expected"), [("0.012", 0.012), ("NaN", 0.034)])
async def test_the_99th_percentile_is_the_artifacts_or_else_floats(
    fake: FakePrometheus, telemetry: Telemetry, int8: str, expected: float
) -> None:
    of = {"namespace": KEY.namespace, "quanary_model": KEY.name}
    fake.p99 = [
        {"metric": {**of, "quanary_digest": INT8[:10]}, "value": [START, int8]},
        {"metric": {**of, "quanary_digest": FLOAT[:10]}, "value": [START, "0.034"]},
    ]
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 29)
    assert reading(telemetry).p99_seconds == expected
    assert len(fake.queries) - len(fake.counter_queries()) == 2


async def test_a_failing_percentile_leaves_the_gates_alone(fake: FakePrometheus, telemetry: Telemetry) -> None:
    fake.store(pods(GOOD))
    fake.p99 = [{"metric": {}, "value": "nonsense"}]
    telemetry.track(SUBJECT, moment(0))
    await run(telemetry, 30)
    assert samples(reading(telemetry))["errors"] > 0
    assert reading(telemetry).p99_seconds is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b'{"status": "success"}',
        b'{"data": {"result": {"a": 1}}}',
        b'{"data": {"result": [1, 2]}}',
        b'{"data": {"result": [{"metric": []}]}}',
        b'{"data": {"result": [{"metric": {"namespace": "shop"}}]}}',
        json.dumps(
            {
                "data": {
                    "result": [
                        {
                            "metric": {
                                "__name__": REQUESTS,
                                "namespace": "shop",
                                "quanary_model": "classifier",
                                "quanary_digest": "a" * 10,
                                "pod": "p",
                            },
                            "values": [[1, "x"]],
                        }
                    ]
                }
            }
        ).encode(),
    ],
)
async def test_an_answer_of_another_shape_counts_as_none(
    fake: FakePrometheus, telemetry: Telemetry, body: bytes
) -> None:
    fake.body = body
    telemetry.track(SUBJECT, moment(0))
    await telemetry.tick(moment(0))
    assert telemetry.reading(KEY) is None
    assert await telemetry.tick(moment(12)) == {KEY}
    assert reading(telemetry).prometheus_gone


def test_impossible_values_are_passed_over(fake: FakePrometheus, client: Prometheus) -> None:
    fake.store([Scrape(START, "p", "int8", {REQUESTS: 5})])
    (labels,) = fake.samples
    fake.samples[labels] += [(START + 1, float("nan")), (START + 2, float("inf")), (START + 3, -1.0)]
    series = client.query(counters_query([KEY], 10), START + 5)
    assert len(series[0]["values"]) == 4


def test_an_answer_too_large_is_cut_off(fake: FakePrometheus) -> None:
    fake.body = b" " * 200_000
    with closing(Prometheus(fake.url, answer_bytes=100_000)) as client, pytest.raises(PrometheusError, match="100000"):
        client.query("up", START)


def test_an_answer_that_drips_is_cut_off(fake: FakePrometheus) -> None:
    fake.body, fake.drip_seconds = b" " * 5000, 0.05
    with (
        closing(Prometheus(fake.url, timeout_seconds=0.3)) as client,
        pytest.raises(PrometheusError, match="query failed"),
    ):
        client.query("up", START)
    assert 0 < fake.sent < 2500


def test_an_error_of_prometheus_is_passed_on(fake: FakePrometheus, client: Prometheus) -> None:
    fake.status, fake.body = 400, b'{"status":"error","error":"parse error: unexpected end of input"}'
    with pytest.raises(PrometheusError, match="unexpected end of input"):
        client.query("{", START)
    assert len(fake.queries) == 1


@pytest.mark.parametrize("name", ['x"} or vector(1) #', "a|b", ".*", "\\", 'é"\n', "a-b.c"])
def test_a_name_matches_only_itself(name: str) -> None:
    for query in (counters_query([ModelKey("n", name)], 5), p99_query([ModelKey("n", name)])):
        matched = re.search(r'quanary_model=~"((?:[^"\\\n]|\\.)*)"\}\[', query)
        assert matched is not None
        pattern = json.loads(f'"{matched[1]}"')
        assert re.fullmatch(pattern, name)
        assert not re.fullmatch(pattern, "a")
        assert not re.fullmatch(pattern, name + "x")


def test_queries_stay_short_enough_for_proxies() -> None:
    keys = [ModelKey(f"namespace-{i:04}", f"{'m' * 30}-{i:04}") for i in range(500)]
    groups = list(batches(keys))
    assert sorted(key.name for group in groups for key in group) == [key.name for key in keys]
    assert all(len(counters_query(group, 5)) < 6000 for group in groups)
