"""Files as people have them, through the command line: a spoken question, a photo, a clip."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from .conftest import CHEAP

pytestmark = pytest.mark.slow
QUESTION = "What is the capital of France?"


def answer(result) -> dict:
    assert result.code == 0, result.err
    return json.loads(result.out.splitlines()[-1])


@pytest.fixture(scope="module")
def question(tmp_path_factory) -> Path:
    """A spoken question as .wav."""
    path = tmp_path_factory.mktemp("spoken") / "question.wav"
    if espeak := shutil.which("espeak-ng"):
        subprocess.run([espeak, "-w", str(path), QUESTION], check=True)
    elif flite := shutil.which("flite"):
        subprocess.run([flite, "-t", QUESTION, "-o", str(path)], check=True)
    else:
        pytest.skip("neither espeak-ng nor flite is installed")
    return path


def mp3(source: Path) -> Path:
    target = source.with_suffix(".mp3")
    with av.open(source) as read, av.open(target, "w") as write:
        stream = write.add_stream("mp3", rate=read.streams.audio[0].rate)
        for frame in read.decode(audio=0):
            write.mux(stream.encode(frame))
        write.mux(stream.encode(None))
    return target


def test_a_spoken_question_as_wav_and_as_mp3(omni, bundle, question):
    rows = []
    for path in (question, mp3(question)):
        done = answer(omni("run", "--model", bundle, "--audio", path, "--json", *CHEAP))
        assert done["samples"] > 0
        rows.append(done["stats"]["prompt_rows"])
    assert rows[0] > 210  # about 200 of the prompt itself and 25 a second
    assert abs(rows[0] - rows[1]) <= 3  # mp3 adds a little silence


def test_a_photo(omni, bundle, tmp_path):
    across, down = np.meshgrid(np.arange(4000), np.arange(3000))
    pixels = np.stack([across % 256, down % 256, (across + down) // 3 % 256], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    arguments = ("--image", "photo.jpg", "--text", "What is this?", "--max-pixels", "200000", "--json")
    done = answer(omni("run", "--model", bundle, *arguments, *CHEAP))
    tokens = 200_000 / 28**2
    assert 0.85 * tokens < done["stats"]["prompt_rows"] - 200 < 1.15 * tokens
    assert done["samples"] > 0


def test_a_clip_with_sound(omni, bundle, clip, tmp_path):
    path = clip(tmp_path / "clip.mp4", 4)
    ask = ("run", "--model", bundle, "--video", path, "--text", "What is said?", "--json", *CHEAP)
    heard, silent = answer(omni(*ask)), answer(omni(*ask, "--no-use-audio-in-video"))
    assert heard["stats"]["prompt_rows"] - silent["stats"]["prompt_rows"] in range(100, 106)  # 25 a second, bos, eos
    assert heard["samples"] > 0
