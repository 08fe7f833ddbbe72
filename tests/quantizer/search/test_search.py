import contextlib
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from quanary.artifacts.verify import digest_of
from quanary.quantizer.certify.metrics import open_metric
from quanary.quantizer.graph import normalize
from quanary.quantizer.inference import open_model
from quanary.quantizer.recipe import Activations, Approach, Scope
from quanary.quantizer.search import Found, search
from quanary.wire.report import RefusedError
from tests.quantizer.models import CLASSES, model_of, weights
from tests.quantizer.search.scene import POISONED, Scene, arguments, journalled, poisoned, start

# Of the tuning samples the poisoned layer costs most, and the others in INT8 a tenth.
BUDGET = 0.3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene")).prepare(poisoned())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(scene: Scene, cache: Path) -> Found:
    return scene.search(cache, max_drop=BUDGET)


def outcome(found: Found) -> list[Any]:
    """What must not differ between searches of the same: everything but the looks at speed, and what follows from them
    (roles, and which of two equally small ones is in the front).
    """
    smallest = min(found.front, key=lambda each: each.size_ratio).sha256
    return [smallest, *((each.recipe, each.sha256, each.drop, each.divergence) for each in found.trials)]


def test_exactly_the_layer_that_int8_ruins_must_stay_in_float(found: Found) -> None:
    fewest = min((each for each in found.trials if each.in_budget), key=lambda each: len(each.recipe.kept_float))
    assert fewest.recipe.kept_float == (POISONED,)
    assert all(POISONED in each.recipe.kept_float for each in found.front)


def test_the_layer_table_names_it_first(found: Found) -> None:
    assert found.layers[0].node == POISONED
    assert found.layers[0].kept_float
    assert found.layers[0].divergence > 100 * found.layers[1].divergence
    # The head is so small that in float it takes less room than its scales would.
    assert {each.node for each in found.layers if each.kept_float} <= {POISONED, "head"}


def test_the_likeliest_candidate_is_tried_first_and_is_ruined(found: Found) -> None:
    first = found.trials[0]
    assert (first.recipe.approach, first.recipe.scope, first.recipe.kept_float) == (Approach.STATIC, Scope.CORE, ())
    assert first.drop > BUDGET
    assert not first.in_budget


def test_the_front_goes_from_the_safest_to_the_least_safe(found: Found) -> None:
    drops = [each.drop for each in found.front]
    assert drops == sorted(drops)
    assert 1 <= len(found.front) <= 4
    assert len({each.role for each in found.front} & {"safest", "fastest", "smallest"}) >= 1
    for each in found.front:
        assert each.path is not None
        assert digest_of(each.path) == each.sha256


def test_a_tighter_budget_leaves_more_in_float(scene: Scene, cache: Path) -> None:
    tighter = scene.search(cache, max_drop=0.1)
    best = min((each for each in tighter.trials if each.in_budget), key=lambda each: each.size_ratio)
    assert POISONED in best.recipe.kept_float
    assert len(best.recipe.kept_float) > 1
    assert all(each.drop <= 0.1 for each in tighter.front)


def test_evaluations_are_bounded_and_counted(scene: Scene, tmp_path: Path) -> None:
    few = scene.search(tmp_path, max_drop=BUDGET, max_evaluations=4)
    assert few.evaluations <= 4
    assert len(journalled(tmp_path)) == few.evaluations
    assert "4 evaluations" in few.warnings[0]


def test_a_search_ends_in_time_with_what_it_has(scene: Scene, tmp_path: Path) -> None:
    late = scene.search(tmp_path, max_drop=BUDGET, search_seconds=1e-6)
    assert len(late.trials) == 1
    assert late.front
    assert "stopped at 1e-06 s, after 1 evaluations" in late.warnings[0]


def test_layers_are_sought_for_16_bit_activations_too_if_they_are_fixed(scene: Scene, tmp_path: Path) -> None:
    def wide() -> Path:
        samples = list(scene.data.read(4))
        return normalize(open_model(scene.folder / "model.onnx", "f"), tmp_path, samples, 21).path

    words = arguments(max_drop=BUDGET, activations="uint16")
    subject = replace(scene.subject(), wide=wide)
    found = search(subject, words, open_metric("agreement"), tmp_path, cache=tmp_path)
    assert {each.recipe.activations for each in found.trials} == {Activations.UINT16}
    assert not found.trials[0].in_budget
    assert any(each.in_budget and POISONED in each.recipe.kept_float for each in found.trials)


def test_with_nothing_in_budget_the_best_attempt_is_handed_on(scene: Scene, tmp_path: Path) -> None:
    (attempt,) = scene.search(tmp_path, max_drop=0.001, max_evaluations=3).front
    assert attempt.drop > 0.001
    assert not attempt.in_budget


def test_nodes_kept_by_the_user_are_in_every_candidate(scene: Scene, tmp_path: Path) -> None:
    kept = scene.search(tmp_path, max_drop=BUDGET, keep_float=("hea*", POISONED))
    assert all(each.recipe.kept_float[:2] == ("hea*", POISONED) for each in kept.trials)
    assert all(each.node not in ("head", POISONED) for each in kept.layers)
    assert kept.trials[0].in_budget


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        ({"keep_float": ("konv",)}, "spec.quantization.keepFloat"),
        ({"strategy": "guess"}, "spec.quantization.strategy"),
        ({"method": "median"}, "spec.quantization.calibration.method"),
        ({"granularity": "perrow"}, "spec.quantization.granularity"),
        ({"activations": "int4"}, "spec.quantization.activations"),
        ({"objective": "fame"}, "spec.quantization.objective"),
        ({"max_evaluations": 0}, "spec.quantization.maxEvaluations"),
        ({"strategy": "dynamic", "activations": "uint16"}, "spec.quantization.activations"),
        ({"strategy": "dynamic"}, "spec.model.uri"),  # it has Conv alone
    ],
)
def test_what_cannot_be_searched_is_refused(scene: Scene, tmp_path: Path, choices: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        scene.search(tmp_path, **choices)
    assert caught.value.refusal.field == field


def test_a_graph_that_does_not_reach_opset_21_loses_one_candidate(scene: Scene, tmp_path: Path) -> None:
    def refuse() -> Path:
        raise RefusedError("spec.model.uri", "no way to opset 21", "another")

    words = arguments(max_drop=0.001, activations="auto", max_evaluations=12)
    found = search(replace(scene.subject(), wide=refuse), words, open_metric("agreement"), tmp_path, cache=tmp_path)
    (wide,) = (each for each in found.trials if each.recipe.activations == Activations.UINT16)
    assert "no way to opset 21" in wide.failure
    assert found.front


def test_a_search_again_recalls_everything_and_finds_the_same(scene: Scene, cache: Path, found: Found) -> None:
    again = scene.search(cache, max_drop=BUDGET)
    assert again.recalled == again.evaluations == found.evaluations
    assert again.front == found.front


def test_another_search_from_nothing_makes_the_same_bytes(scene: Scene, tmp_path: Path, found: Found) -> None:
    other = scene.search(tmp_path, max_drop=BUDGET)
    assert other.recalled == 0
    assert outcome(other) == outcome(found)
    (one,), (another,) = ([each for each in all_.front if each.sha256 == outcome(found)[0]] for all_ in (found, other))
    assert one.path
    assert another.path
    assert one.path.read_bytes() == another.path.read_bytes()


def test_a_killed_search_goes_on_where_it_was(scene: Scene, tmp_path: Path, found: Found) -> None:
    process = start(scene.folder, tmp_path, str(BUDGET))
    deadline = time.monotonic() + 120
    while len(journalled(tmp_path)) < 3:
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            pytest.fail("it ended before it was killed")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    known = len(journalled(tmp_path))
    resumed = scene.search(tmp_path, max_drop=BUDGET)
    assert known <= resumed.recalled < resumed.evaluations
    assert resumed.evaluations == found.evaluations
    assert outcome(resumed) == outcome(found)
    assert len(journalled(tmp_path)) == resumed.evaluations


def test_a_line_that_a_kill_tore_is_evaluated_again(scene: Scene, cache: Path, tmp_path: Path, found: Found) -> None:
    (journal,) = cache.glob("search-*.jsonl")
    torn = tmp_path / journal.name
    lines = journal.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    resumed = scene.search(tmp_path, max_drop=BUDGET)
    assert resumed.recalled == 2
    assert outcome(resumed) == outcome(found)
    assert scene.search(tmp_path, max_drop=BUDGET).recalled == found.evaluations


def test_a_journal_of_other_data_is_not_believed(scene: Scene, cache: Path, found: Found) -> None:
    other = scene.search(cache, max_drop=BUDGET, other_key=True)
    assert other.recalled == 0
    assert len(list(cache.glob("search-*.jsonl"))) == 2


def test_a_graph_of_one_layer_has_no_layers_to_choose_among(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["c"], "only", kernel_shape=[10, 10]),
        onnx.helper.make_node("Flatten", ["c"], ["scores"], "flat"),
    ]
    model = model_of(nodes, {"w": weights(CLASSES, 3, 10, 10, seed=1)}, {"image": ["n", 3, 10, 10]})
    found = Scene(tmp_path).prepare(model).search(tmp_path / "cache", max_drop=0.1)
    assert found.layers == ()
    assert found.front[-1].in_budget
