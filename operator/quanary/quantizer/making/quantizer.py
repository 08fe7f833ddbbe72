"""ONNX Runtime's quantizer for a search, that makes dozens of models of one graph: it works nothing out twice.

Every byte of what it makes is as it would be.
"""

from copy import deepcopy
from typing import Any, Final

from onnxruntime.quantization import QDQQuantizer
from typing_extensions import override

# Scales and zero points of weights, that every candidate with the same types shares: found channel by channel in
# Python, they take most of the time. Of one graph; by what else they follow from.
Known = dict[tuple[object, ...], Any]

_TYPES: Final = ("weight_qType", "activation_qType", "per_channel", "reduce_range", "is_activation_symmetric")


class Quantizer(QDQQuantizer):  # type: ignore[misc]
    """Scales of weights are looked up in `known`, and added to it."""

    def __init__(self, known: Known, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known = known
        self._settings = tuple(getattr(self, name) for name in _TYPES)

    @override
    def _calc_initializer_quant_params(self) -> dict[str, Any]:
        wanted: dict[str, Any] = self.tensors_to_quantize  # type: ignore[has-type]
        keys = {name: (name, info.tensor_type, info.axis, *self._settings) for name, info in wanted.items()}
        self.tensors_to_quantize = {name: info for name, info in wanted.items() if keys[name] not in self._known}
        try:
            found = super()._calc_initializer_quant_params()
        finally:
            self.tensors_to_quantize = wanted
        self._known.update({keys[name]: each for name, each in found.items()})
        # Copies: the library adjusts scales to the biases of the model at hand.
        return {name: deepcopy(self._known[key]) for name, key in keys.items() if key in self._known}
