"""Train a digit classifier, fine-tune it with fake quantization, and write what `quanary quantize` judges.

python train.py OUT     writes OUT/float.onnx, OUT/int8.onnx and OUT/validation/digits.npz
"""

import sys
from pathlib import Path

import numpy as np
from digits import load
from export import save_float, save_int8
from network import initialize, tops_of, train

TRAIN, SEALED = 7000, 2000


def main(out: Path) -> None:
    """Everything; two minutes on one core."""
    (images, labels), (sealed_images, sealed_labels) = load(TRAIN, SEALED)
    floats = train(initialize(seed=1), images, labels, epochs=4, rate=1e-3)
    tops = tops_of(floats, images[:1000])
    int8s = train(floats, images, labels, epochs=2, rate=1e-4, tops=tops, seed=1)
    (out / "validation").mkdir(parents=True, exist_ok=True)
    save_float(floats, out / "float.onnx")
    save_int8(int8s, tops, out / "int8.onnx")
    np.savez(out / "validation" / "digits.npz", image=sealed_images, label=sealed_labels)
    print(f"written to {out}: float.onnx, int8.onnx, validation/")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
