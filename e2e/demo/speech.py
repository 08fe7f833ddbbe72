"""Real speech out of a pinned package, as the speech detector silero-vad wants to see it: frames with their state.

A client streams: it sends a frame of 32 ms with the state that the model gave it for the frame before. So every sample
is one frame with the state that the float model had reached there.
"""

import hashlib
import io
import os
import subprocess
import tarfile
import wave
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from e2e.demo.shards import Arrays, first

MODEL_SHA256: Final = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
MODEL_PATH: Final = "silero_vad/data/silero_vad_16k_sequence.onnx"
FRAME: Final = 512  # samples at 16 kHz
CONTEXT: Final = 64  # samples of the frame before, in front of each
STATE: Final = (1, 1, 128)
CALIBRATION_CLIPS, VALIDATION_CLIPS, LIVE_CLIPS = 40, 80, 80
CALIBRATION_SAMPLES: Final = 200
VALIDATION_SAMPLES: Final = 1500
LIVE_SAMPLES: Final = 4000

ANSWER: Final = "answer"  # an array beside the inputs: 1 where float says speech

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Sets:
    """Frames of different clips in different sets: neighbours in one clip are too much alike."""

    calibration: Arrays
    validation: Arrays
    live: Arrays


def read_model(wheels: Iterable[Path]) -> bytes:
    """The ONNX model's bytes, verified."""
    wheel = next(each for each in wheels if each.name.startswith("silero_vad-"))
    with zipfile.ZipFile(wheel) as archive:
        model = archive.read(MODEL_PATH)
    found = hashlib.sha256(model).hexdigest()
    if found != MODEL_SHA256:
        message = f"{MODEL_PATH} of {wheel.name}: sha256 is {found}; allowed: {MODEL_SHA256}"
        raise ValueError(message)
    return model


def read_clips(package: Path) -> list[Signal]:
    """Every recording of a Debian package as mono floats at 16 kHz, ordered by digest."""
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, Signal] = {}
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.name.endswith(".wav") else None
            if file is not None:
                content = file.read()
                found[hashlib.sha256(content).hexdigest()] = to_16_khz(content)
    return [found[digest] for digest in sorted(found)]


def to_16_khz(content: bytes) -> Signal:
    """A mono 16-bit recording of 8 kHz at twice that, by linear interpolation."""
    with wave.open(io.BytesIO(content)) as recording:
        raw = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
    signal = raw.astype(np.float32) / 32768
    return np.interp(np.arange(2 * len(signal)) / 2, np.arange(len(signal)), signal).astype(np.float32)


def frames(signal: Signal) -> Iterator[Signal]:
    """Frames [1, 576] of a signal: 512 samples after the last 64 of the frame before; what is left over is dropped."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), signal])
    for start in range(0, len(signal) - FRAME + 1, FRAME):
        yield padded[start : start + CONTEXT + FRAME][None]


def make_sets(model: bytes, clips: Sequence[Signal]) -> Sets:
    """Samples of the first clips, set by set."""
    rest = iter(clips)
    parts = [list(islice(rest, size)) for size in (CALIBRATION_CLIPS, VALIDATION_CLIPS, LIVE_CLIPS)]
    return Sets(
        first(_samples(model, parts[0]), CALIBRATION_SAMPLES),
        first(_samples(model, parts[1]), VALIDATION_SAMPLES),
        first(_samples(model, parts[2]), LIVE_SAMPLES),
    )


def _samples(model: bytes, clips: Sequence[Signal]) -> Arrays:
    """Arrays input [n, 1, 576], h and c [n, 1, 1, 128], well mixed, and float's own answer [n]."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415  slow to import, and seldom needed

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = [row for clip in clips for row in _stream(session, clip)]
    rows.sort(key=lambda row: hashlib.sha256(row[0].tobytes()).digest())
    return {name: np.stack([row[i] for row in rows]) for i, name in enumerate(("input", "h", "c", ANSWER))}


def _stream(session: Any, clip: Signal) -> Iterator[tuple[Signal, Signal, Signal, NDArray[np.int64]]]:
    h = c = np.zeros(STATE, np.float32)
    for frame in frames(clip):
        probability, next_h, next_c = session.run(None, {"input": frame, "h": h, "c": c})
        yield frame, h, c, np.array(probability[0] > 0.5, np.int64)
        h, c = next_h, next_c
