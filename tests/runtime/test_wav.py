"""A .wav file appears complete or not at all, and an older one stays until then."""

from __future__ import annotations

import errno
import wave
from pathlib import Path

import numpy as np
import pytest

from omni_edge.models.errors import OmniError
from omni_edge.runtime.wav import WavWriter, pcm16

TONE = np.linspace(-1, 1, 480, dtype=np.float32)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "reply.wav"
    path.write_bytes(b"an older reply")
    return path


def alone(path: Path) -> bool:
    return list(path.parent.iterdir()) == [path]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_pieces_become_one_mono_file(target):
    with WavWriter(target, 24000) as writer:
        writer.write(TONE[:100])
        assert target.read_bytes() == b"an older reply"
        writer.write(TONE[100:])
    assert alone(target)
    with wave.open(str(target), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 24000, 480)
        assert file.readframes(480) == pcm16(TONE)


def test_samples_beyond_full_scale_are_clipped():
    values = np.frombuffer(pcm16(np.array([-3, -1, 0, 0.5, 1, 3], np.float32)), "<i2")
    assert values.tolist() == [-32767, -32767, 0, 16384, 32767, 32767]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_the_older_file(error, target):
    with pytest.raises(error), WavWriter(target, 24000) as writer:
        writer.write(TONE)
        raise error
    assert target.read_bytes() == b"an older reply"
    assert alone(target)


def test_nothing_written_leaves_the_older_file(target):
    with WavWriter(target, 24000):
        pass
    assert target.read_bytes() == b"an older reply"
    assert alone(target)


@pytest.mark.parametrize("where", ["write", "close"])
def test_a_full_disk(where, target, monkeypatch):
    writer = WavWriter(target, 24000)
    with pytest.raises(OmniError, match=rf"{target} cannot be written: No space left"), writer:
        writer.write(TONE)
        monkeypatch.setattr(writer._file, "_ensure_header_written", full_disk)  # part of writing and of closing
        if where == "write":
            writer.write(TONE)
    assert target.read_bytes() == b"an older reply"
    assert alone(target)


@pytest.mark.parametrize("place", ["", ".", "/", "missing/reply.wav"])
def test_places_that_are_none(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OmniError, match="--out"):
        WavWriter(Path(place), 24000)
    assert not any(tmp_path.iterdir())


def test_a_device_is_not_replaced():
    with pytest.raises(OmniError, match="/dev/null is a folder or a device"):
        WavWriter(Path("/dev/null"), 24000)
    assert Path("/dev/null").is_char_device()
