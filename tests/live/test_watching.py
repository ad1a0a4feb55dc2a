"""Sound and pictures of no use are mentioned once, wherever the blocks are cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.live.watching import BLACK_FRAMES, PATIENCE, PictureWatch, SoundWatch

SECOND = 16000
SPEECH = (0.3 * np.sin(np.arange(SECOND) / 9)).astype(np.float32)
CLIPPED = np.clip(9 * SPEECH, -1, 1)
SILENCE = np.zeros(SECOND, np.float32)


def said(watch: SoundWatch, *seconds: np.ndarray) -> list[str]:
    return [trouble.text for second in seconds for trouble in watch.step(second)]


def test_ten_minutes_of_silence_are_said_once():
    watch = SoundWatch("mic")
    (text,) = said(watch, *[SILENCE] * 600)
    assert text == "mic has given silence for 60 s. Check that it is not muted, and its level"
    assert not said(watch, SPEECH, *[SILENCE] * (PATIENCE - 1))
    assert said(watch, SILENCE) == [text]


def test_ten_minutes_of_clipping_are_said_once():
    watch = SoundWatch("mic")
    (text,) = said(watch, *[CLIPPED] * 600)
    assert text.startswith("mic is too loud and distorts")
    assert not said(watch, *[SPEECH] * (PATIENCE - 1), CLIPPED, *[SPEECH] * PATIENCE)
    assert said(watch, CLIPPED) == [text]


def test_good_sound_and_single_knocks_are_not_mentioned():
    knock = SPEECH.copy()
    knock[5] = 1
    assert not said(SoundWatch("mic"), *[SPEECH, knock] * 60)
    assert not said(SoundWatch("mic"), *[SILENCE + 0.002] * 120)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3 * SECOND), max_size=20))
def test_cuts_do_not_matter(cuts):
    sound = np.concatenate([SPEECH, CLIPPED, SILENCE])
    assert len(said(SoundWatch("mic"), *np.split(sound, sorted(cuts)))) == 1


def test_black_frames():
    watch = PictureWatch("cam")
    black, light = np.full((4, 6, 3), 9, np.uint8), np.full((4, 6, 3), 90, np.uint8)
    assert not [t for frame in [black] * (BLACK_FRAMES - 1) + [light] for t in watch.step(frame)]
    (trouble,) = [t for frame in [black] * 100 for t in watch.step(frame)]
    assert trouble.text == "cam gives black pictures. Check that it is not covered or in use elsewhere"
