"""Frames overlap by their context, and recordings double their rate."""

import io
import wave

import numpy as np

from e2e.demo import speech


def test_frames_begin_with_the_end_of_the_frame_before() -> None:
    signal = np.arange(1, 1200, dtype=np.float32)
    found = list(speech.frames(signal))
    assert [each.shape for each in found] == [(1, 576), (1, 576)]
    assert not found[0][0, :64].any()
    assert np.array_equal(found[0][0, 64:], signal[:512])
    assert np.array_equal(found[1][0], signal[448:1024])


def test_recording_is_doubled_by_linear_interpolation() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(np.array([0, 16384, -16384], "<i2").tobytes())
    assert np.allclose(speech.to_16_khz(buffer.getvalue()), [0, 0.25, 0.5, 0, -0.5, -0.5])
