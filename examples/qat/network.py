"""A small convolutional network in JAX, float or with fake quantization, and how it is trained.

Fake quantization: values are rounded to the grid of INT8 on the way forward; the way back passes through as if they
were not (straight-through estimator: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018). Weights: 7 bits, one scale a channel. Activations: unsigned 8 bits.
"""

from collections.abc import Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

Parameters = dict[str, jax.Array]

CHANNELS: Final = (32, 64)
CLASSES: Final = 10
WEIGHT_STEPS: Final = 63  # 7 bits: sums of pairs fit the 16 bits of CPUs without VNNI
ACTIVATION_STEPS: Final = 255
# Largest value of what flows into each layer: images end at 1, the others are measured.
LAYERS: Final = ("conv1", "conv2", "dense")


def initialize(seed: int) -> Parameters:
    """He initialisation."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = {
        "conv1": (CHANNELS[0], 1, 3, 3),
        "conv2": (CHANNELS[1], CHANNELS[0], 3, 3),
        "dense": (CLASSES, CHANNELS[1] * 7 * 7),
    }
    parameters = {}
    for key, (name, shape) in zip(keys, shapes.items(), strict=True):
        parameters[f"{name}.weight"] = jax.random.normal(key, shape) * np.sqrt(2 / np.prod(shape[1:]))
        parameters[f"{name}.bias"] = jnp.zeros(shape[0])
    return parameters


def weight_scale(weight: jax.Array) -> jax.Array:
    """One scale for each output channel [channels]."""
    return jnp.maximum(jnp.abs(weight).reshape(weight.shape[0], -1).max(axis=1), 1e-8) / WEIGHT_STEPS


def forward(parameters: Parameters, images: jax.Array, tops: Mapping[str, float] | None = None) -> jax.Array:
    """Scores [n, 10]. With `tops`, the largest activation into each layer, everything is fake-quantized."""

    def layer(name: str, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = parameters[f"{name}.weight"]
        if tops is None:
            return values, weight
        scale = weight_scale(weight).reshape((-1,) + (1,) * (weight.ndim - 1))
        return _fake(values, tops[name] / ACTIVATION_STEPS, 0, ACTIVATION_STEPS), _fake(
            weight, scale, -WEIGHT_STEPS, WEIGHT_STEPS
        )

    values = images
    for name in ("conv1", "conv2"):
        values, weight = layer(name, values)
        values = (
            jax.lax.conv_general_dilated(values, weight, (1, 1), "SAME") + parameters[f"{name}.bias"][:, None, None]
        )
        values = _max_pool(jax.nn.relu(values))
    values, weight = layer("dense", values.reshape(len(values), -1))
    return values @ weight.T + parameters["dense.bias"]


def tops_of(parameters: Parameters, images: jax.Array) -> dict[str, float]:
    """The largest value that flows into each layer on `images`."""
    tops, values = {"conv1": 1.0}, images
    for name, following in (("conv1", "conv2"), ("conv2", "dense")):
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        values = _max_pool(
            jax.nn.relu(jax.lax.conv_general_dilated(values, weight, (1, 1), "SAME") + bias[:, None, None])
        )
        tops[following] = float(values.max())
    return tops


def train(
    parameters: Parameters,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    rate: float,
    tops: Mapping[str, float] | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Parameters:
    """Adam on the cross entropy; deterministic for a seed on one machine."""

    def loss(trained: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(forward(trained, x, tops))
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    @jax.jit
    def update(state: tuple[Parameters, Parameters, Parameters], step: jax.Array, x: jax.Array, y: jax.Array):
        trained, first, second = state
        gradients = jax.grad(loss)(trained, x, y)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        size = rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        moved = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) + 1e-8), trained, first, second)
        return moved, first, second

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state, draw, step = (parameters, zeros, zeros), np.random.default_rng(seed), 0
    for epoch in range(epochs):
        order = draw.permutation(len(labels))
        for start in range(0, len(order) - batch + 1, batch):
            step += 1
            chosen = order[start : start + batch]
            state = update(state, jnp.float32(step), images[chosen], labels[chosen])
        print(f"epoch {epoch + 1} of {epochs}{' with fake quantization' if tops else ''}", flush=True)
    return state[0]


def _fake(values: jax.Array, scale: jax.Array | float, low: int, high: int) -> jax.Array:
    rounded = jnp.clip(jnp.round(values / scale), low, high) * scale
    return values + jax.lax.stop_gradient(rounded - values)


def _max_pool(values: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
