"""Neural Compressor's accuracy-aware quantization with its defaults, in an environment of its own.

python peer.py MODEL CALIBRATION OUT.onnx MAX_DROP     prints one line of JSON
"""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from neural_compressor import PostTrainingQuantConfig, quantization
from neural_compressor.config import AccuracyCriterion

Feed = dict[str, np.ndarray]


class Loader:
    """Samples one at a time, as the peer wants to see them: (inputs, label) with a batch size."""

    batch_size = 1

    def __init__(self, samples: list[tuple[Feed, np.ndarray]]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[tuple[Feed | np.ndarray, np.ndarray]]:
        for feed, label in self.samples:
            yield (next(iter(feed.values())) if len(feed) == 1 else feed), label

    def __len__(self) -> int:
        return len(self.samples)


def read(folder: Path, names: list[str], ranks: dict[str, int]) -> list[Feed]:
    """One sample of each row of each shard."""
    feeds = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as shard:
            arrays = {name: shard[name] for name in names}
        rows = range(len(arrays[names[0]]))
        feeds += [{name: _row(array, row, ranks[name]) for name, array in arrays.items()} for row in rows]
    return feeds


def _row(array: np.ndarray, row: int, rank: int) -> np.ndarray:
    return array[row] if array.ndim == rank + 1 else array[row : row + 1]


def answer(output: np.ndarray) -> np.ndarray:
    """The top-1 class, or with one score whether it is above a half."""
    return output > 0.5 if output.shape[-1] == 1 else output.argmax(axis=-1)


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """On one thread, as the other side of the comparison."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main(model: Path, calibration: Path, out: Path, max_drop: float) -> None:
    """Tune, save, say how it went."""
    logging.getLogger("neural_compressor").setLevel(logging.ERROR)
    session = open_session(onnx.load(model))
    ranks = {each.name: len(each.shape) for each in session.get_inputs()}
    feeds = read(calibration, list(ranks), ranks)
    samples = [(feed, answer(session.run(None, feed)[0])) for feed in feeds]
    evaluations = 0

    def evaluate(candidate: onnx.ModelProto) -> float:
        nonlocal evaluations
        evaluations += 1
        judged = open_session(candidate)
        return float(np.mean([np.array_equal(answer(judged.run(None, feed)[0]), label) for feed, label in samples]))

    criterion = AccuracyCriterion(criterion="absolute", tolerable_loss=max_drop)
    config = PostTrainingQuantConfig(approach="static", accuracy_criterion=criterion)
    found = quantization.fit(str(model), config, calib_dataloader=Loader(samples), eval_func=evaluate)
    if found is not None:
        onnx.save(found.model, out)
    print(json.dumps({"evaluations": evaluations, "found": found is not None}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
