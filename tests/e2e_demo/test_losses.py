"""What counts as lost, what as a move, and when it was enough."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.serving import losses
from bench.serving.losses import Move, moves_of, report
from e2e.demo.load import Answer

ANSWERED, REFUSED = Answer("m", 1.0, 1.1, 200, 0), Answer("m", 12.0, 12.5, 503, 0, error="no healthy upstream")
SILENT = Answer("m", 30.0, 45.0, 0, 0, error="TimeoutError: ")


@dataclass
class Still:
    """A model on which every move succeeds at once."""

    answered: Sequence[Answer]
    asked: list[str] = field(default_factory=list)

    @property
    def stage(self) -> Any:
        return self

    @property
    def load(self) -> Any:
        return self

    @property
    def narrator(self) -> Any:
        return self

    def say(self, who: str, what: str) -> None: ...

    def answers(self, model: str, since: float) -> Sequence[Answer]:
        return self.answered

    def restart(self, variant: str) -> None:
        self.asked.append(f"restart {variant}")

    def scale(self, replicas: int) -> None:
        self.asked.append(f"scale to {replicas}")

    def shift(self, mode: str, weight: int) -> None:
        self.asked.append(f"weight {weight}")


def test_moves_go_on_until_there_were_enough_of_them_and_an_added_pod_is_none() -> None:
    model: Any = Still([ANSWERED])
    moves = list(moves_of(model, 8, 1, 0.0))
    assert [each.kind for each in moves].count("scale-up") == 1
    assert len(moves) - 1 == 8
    assert {"restart float", "restart int8", "scale to 1", "scale to 2", "weight 0", "weight 1000"} == set(model.asked)


def test_what_is_no_answer_of_200_is_lost_and_told_with_what_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(losses, "OUT", tmp_path / "losses.json")
    moves = [Move("restart", 10.0, 15.0), Move("weight", 20.0, 21.0), Move("scale-up", 40.0, 41.0)]
    assert report(moves, [ANSWERED, REFUSED, SILENT]) == 1
    written = json.loads((tmp_path / "losses.json").read_text())
    assert written["figures"] | {"losses.lost": 2, "losses.moves": 2, "losses.requests": 3} == written["figures"]
    assert [each["during"] for each in written["lost"]] == [
        "restart, 2.50 s after it began",
        "scale-up, 5.00 s after it began",
    ]
    assert "losses.lost is 2.000; it must be at most 0" in capsys.readouterr().out


def test_enough_of_everything_and_nothing_lost_is_in_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "OUT", tmp_path / "losses.json")
    assert report([Move("restart", 0.0, 1.0)] * 100, [ANSWERED] * 100_000) == 0
