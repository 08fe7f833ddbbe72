"""Word and character error of models that are decoded by CTC."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from quanary.quantizer.certify.metrics.fits import DifferenceOfMeans
from quanary.quantizer.certify.metrics.metric import Fit, Resampled, Row, label_of, refuse
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array


def edits(truth: Sequence[Hashable], answer: Sequence[Hashable]) -> int:
    """Least insertions, deletions and substitutions (Levenshtein, 1966)."""
    numbers: dict[Hashable, int] = {}
    first, second = (np.array([numbers.setdefault(each, len(numbers)) for each in side]) for side in (truth, answer))
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for place, token in enumerate(first):
        best = np.concatenate(([place + 1], np.minimum(row[1:] + 1, row[:-1] + (second != token))))
        # Insertions run along the row: the least of what came before plus the way from there.
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


def decode(scores: Array, blank: int) -> list[int]:
    """Greedy CTC: the top class of each step, repeats merged, blanks dropped (Graves and others, 2006)."""
    best = scores.argmax(axis=-1)
    kept = np.concatenate(([True], best[1:] != best[:-1])) & (best != blank) if len(best) else best.astype(bool)
    return [int(each) for each in best[kept]]


class _ErrorRate(Resampled):
    """Rows: edits of float's answer, of the artifact's, tokens in the label; the drop is the absolute increase."""

    needs_label = True

    def __init__(self, vocabulary: tuple[str, ...] = (), blank: int = 0) -> None:
        self.vocabulary, self.blank = vocabulary, blank

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: float's edits, the artifact's, tokens."""
        outputs = [self._steps(each[0], sample) for each in (float_outputs, int8_outputs)]
        label = label_of(sample)
        texts = [decode(each, self.blank) for each in outputs]
        if label.dtype.kind in "iu":
            tokens: Sequence[Hashable] = [each for each in label.ravel().tolist() if each >= 0 and each != self.blank]
            answers: list[Sequence[Hashable]] = [*texts]
        elif label.dtype.kind in "USO" and label.size == 1:
            characters = self._characters(outputs[0].shape[-1], sample)
            tokens = self.split(_text(label))
            answers = [self.split("".join(characters[each] for each in text)) for text in texts]
        else:
            found = f"a label {label.dtype}{list(label.shape)}"
            raise refuse(sample, found, f"one text, or class numbers padded with -1, for {self.name}")
        return float(edits(tokens, answers[0])), float(edits(tokens, answers[1])), float(len(tokens))

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Edits over tokens; NaN where no label has any."""
        return DifferenceOfMeans(np.asarray(rows, np.float64), sign=-1)

    def split(self, text: str) -> list[str]:
        """Tokens of a text."""
        raise NotImplementedError

    def _steps(self, output: Array, sample: Sample) -> Array:
        steps = output[0] if output.ndim == 3 and output.shape[0] == 1 else output
        if steps.dtype.kind != "f" or steps.ndim != 2 or steps.shape[1] <= self.blank:
            found = f"a first output {output.dtype}{list(output.shape)}"
            raise refuse(sample, found, f"scores [time, classes] or [1, time, classes] for {self.name}")
        return np.asarray(np.where(np.isnan(steps), -np.inf, steps))

    def _characters(self, classes: int, sample: Sample) -> list[str]:
        """Text of each class; a vocabulary without the blank gets it, and one a class short a space at its end."""
        missing = classes - len(self.vocabulary)
        if not self.vocabulary or missing not in {0, 1, 2}:
            found = f"a label of text, {classes} classes and a vocabulary of {len(self.vocabulary)}"
            raise refuse(sample, found, "a vocabulary in the model's metadata, or labels of class numbers")
        characters = [*self.vocabulary, " "] if missing == 2 else [*self.vocabulary]
        if missing:
            characters.insert(self.blank, "")
        return characters


def _text(label: Array) -> str:
    value: Any = label.ravel()[0]
    return value.decode() if isinstance(value, bytes) else str(value)


class CharacterErrorRate(_ErrorRate):
    """Edits of characters over characters of the labels; runs of white space count as one space."""

    name = "cer"
    sentence = (
        "character error rate of CTC scores [time, classes], greedily decoded, blank class 0 (`label`: a text, or class"
        " numbers padded with -1). maxDrop 0.005: at most 0.5 percentage points above float's rate."
    )

    @override
    def split(self, text: str) -> list[str]:
        """Characters."""
        return list(" ".join(text.split()))


class WordErrorRate(_ErrorRate):
    """Edits of words over words of the labels, words parted by white space; class numbers are words of their own."""

    name = "wer"
    sentence = (
        "word error rate of CTC scores [time, classes], greedily decoded, blank class 0 (`label`: a text, or class"
        " numbers padded with -1, each a word). maxDrop 0.01: at most 1 percentage point above float's rate."
    )

    @override
    def split(self, text: str) -> list[str]:
        """Words."""
        return text.split()
