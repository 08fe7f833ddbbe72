"""The recipe that measured best by hand, with ONNX Runtime's own tools: Conv, MatMul and Gemm, unsigned activations,
signed weights of 7 bits by channel.

python -m bench.quantizer.by_hand MODEL CALIBRATION OUT.onnx     CALIBRATION: a folder of shards
"""

import sys
from pathlib import Path
from typing import Any

from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from typing_extensions import override

from quanary.quantizer.data import digest_of_data, open_data
from quanary.quantizer.inference import open_model

SAMPLES = 40  # the library keeps every activation of all of them in memory


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Samples of a folder."""

    def __init__(self, folder: Path, model: Path) -> None:
        inputs = open_model(model, "model").inputs
        self._samples = open_data(folder, digest_of_data(folder), "calibration", inputs).read(SAMPLES)

    @override
    def get_next(self) -> dict[str, Any] | None:
        sample = next(self._samples, None)
        return None if sample is None else sample.feed


def main(model: Path, calibration: Path, out: Path) -> None:
    """Prepare, calibrate, write."""
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(out),
        Reader(calibration, model),
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        extra_options={"QDQDisableWeightAdjustForInt32Bias": True},
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
