from typing import Any

import pytest

from quanary.quantizer.recipe import Activations, Approach, Granularity, Method, Recipe, Scope
from quanary.quantizer.search.space import first, further
from tests.quantizer.search.scene import arguments


def given(**choices: Any) -> tuple[Recipe, ...]:
    auto = {"activations": "auto", "method": "auto", "objective": "latency"}
    words = arguments(**(auto | choices))
    return (*first(words), *further(words))


def test_the_likeliest_comes_first_and_the_grid_is_small() -> None:
    recipes = given()
    assert recipes[0] == Recipe()
    assert len(recipes) == len(set(recipes)) <= 8
    assert {each.approach for each in recipes} == set(Approach)
    assert {each.method for each in recipes} == set(Method)
    assert recipes[-1].activations == Activations.UINT16


def test_everything_fixed_leaves_the_core_and_all_operators() -> None:
    recipes = given(strategy="static", activations="uint8", granularity="pertensor", method="entropy")
    assert {each.scope for each in recipes} == {Scope.CORE, Scope.ALL}
    assert {(each.granularity, each.method) for each in recipes} == {(Granularity.PER_TENSOR, Method.ENTROPY)}


def test_a_dynamic_strategy_tries_nothing_static() -> None:
    assert {each.approach for each in given(strategy="dynamic")} == {Approach.DYNAMIC}


@pytest.mark.parametrize("full_range", [False, True])
def test_weights_have_seven_bits_unless_asked_or_harmless(full_range: bool) -> None:
    for recipe in given(full_range=full_range):
        wide = recipe.activations == Activations.UINT16
        assert recipe.reduce_range == (not full_range and not wide)
        assert recipe.portable == (not full_range or wide)


def test_size_as_objective_tries_one_scale_a_tensor() -> None:
    assert Granularity.PER_TENSOR in {each.granularity for each in given(objective="size")}


def test_what_the_user_keeps_in_float_is_in_every_recipe() -> None:
    assert {each.kept_float for each in given(keep_float=("head*",))} == {("head*",)}
