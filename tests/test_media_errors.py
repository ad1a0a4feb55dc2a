"""Every input that cannot be used ends in one MediaError of one line that names it, and nothing else is printed."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from omni_edge.models.errors import MediaError
from omni_edge.models.manifest import VisionFrontEnd
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.clip import read_clip
from omni_edge.runtime.picture import read_picture
from omni_edge.runtime.pixels import picture_patches

VISION = VisionFrontEnd(
    patch=14,
    temporal_patch=2,
    merge=2,
    window=112,
    min_pixels=3136,
    max_pixels=12845056,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    video_fps=2.0,
    video_min_frames=4,
    video_max_frames=768,
    video_min_pixels=3136,
    video_max_pixels=12544,
    video_total_pixels=90316800,
)
Reader = Callable[[str | bytes], object]


def hear(source: str | bytes) -> object:
    return read_audio(source, 16000, 300)


def watch(source: str | bytes) -> object:
    return read_clip(source, VISION)


READERS: list[Reader] = [hear, watch, read_picture]


def complaint(reader: Reader, source: str | bytes) -> str:
    with pytest.raises(MediaError) as caught:
        reader(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("the given data" if isinstance(source, bytes) else source)
    return message


def wav(samples: int, rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * samples))
    return buffer.getvalue()


def mp4(path: Path, frames: int = 40, width: int = 64, height: int = 64, index_first: bool = False) -> bytes:
    """Noise at ten frames a second."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            noise = rng.integers(0, 256, (height, width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def nothing_printed(capfd: pytest.CaptureFixture[str]) -> object:
    yield
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.parametrize("reader", READERS)
def test_paths(reader: Reader, tmp_path: Path) -> None:
    assert "does not exist. Check the path" in complaint(reader, str(tmp_path / "nothing.wav"))
    assert "is a folder" in complaint(reader, str(tmp_path))
    (tmp_path / "empty.wav").touch()
    assert "is empty (0 bytes)" in complaint(reader, str(tmp_path / "empty.wav"))
    assert "is empty (0 bytes)" in complaint(reader, b"")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"This is a shopping list.\n" * 40,
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        b"[Script Info]\n",
        bytes(5000),
        bytes(range(256)) * 30,
        b"RIFF",
    ],
)
def test_text_and_rubbish(reader: Reader, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    message = complaint(reader, str(tmp_path / "a.wav"))
    assert "not a sound or video file" in message or "is not a picture" in message


def test_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(wav(16000))
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile 'secret.wav'\n", encoding="utf-8")
    assert "not a sound or video file" in complaint(hear, str(tmp_path / "list.wav"))


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (0, "holds no samples"),
        (1, "lasts 0 ms"),
        (320, "lasts 20 ms; more than 20 ms"),
        (40 * 60 * 16000, r"lasts 2400 s (40.0 min); at most 300 s can be heard at once. Cut it: ffmpeg"),
        (300 * 16000 + 1, "lasts longer; at most 300 s"),
    ],
)
def test_sounds_too_short_or_too_long(samples: int, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(samples))
    assert reason in complaint(hear, str(tmp_path / "a.wav"))


def test_the_longest_and_the_shortest_sound_are_heard() -> None:
    assert read_audio(wav(300 * 16000), 16000, 300).samples.size == 300 * 16000
    assert read_audio(wav(321), 16000, 300).samples.size == 321


def test_samples_that_are_not_numbers(tmp_path: Path) -> None:
    path = str(tmp_path / "a.wav")
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 2000), np.nan, np.float32), format="flt", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert "samples that are not numbers" in complaint(hear, path)


def test_a_track_of_the_other_kind(tmp_path: Path) -> None:
    assert "has no sound track" in complaint(hear, mp4(tmp_path / "a.mp4", 4))
    assert "has no video track" in complaint(watch, wav(16000))
    assert "is not a picture" in complaint(read_picture, wav(16000))
    assert "not a sound or video file" in complaint(hear, png(40, 40))
    assert "not a sound or video file" in complaint(watch, png(40, 40))


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.97])
def test_a_film_without_its_index(part: float, tmp_path: Path) -> None:
    whole = mp4(tmp_path / "whole.mp4")
    (tmp_path / "a.mp4").write_bytes(whole[: int(part * len(whole))])
    assert "is damaged, or not a sound or video file" in complaint(watch, str(tmp_path / "a.mp4"))
    assert "is damaged, or not a sound or video file" in complaint(hear, str(tmp_path / "a.mp4"))


def test_a_film_cut_short_after_its_index(tmp_path: Path) -> None:
    whole = mp4(tmp_path / "a.mp4", index_first=True)
    assert "is cut short: it should last 4.0 s and ends after" in complaint(watch, whole[: len(whole) // 2])
    assert "is damaged" in complaint(watch, whole[: whole.index(b"mdat") + 8])


def test_films_too_short_or_too_thin(tmp_path: Path) -> None:
    assert "has 1 video frame(s); at least 2 are needed" in complaint(watch, mp4(tmp_path / "a.mp4", 1))
    assert "measures 3220x16 pixels" in complaint(watch, mp4(tmp_path / "b.mp4", 2, width=3220, height=16))


def test_pictures(tmp_path: Path) -> None:
    whole = png(300, 200)
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert "is damaged or too large" in complaint(read_picture, str(tmp_path / "a.png"))
    assert "measures 20000x50 pixels, but one side may be at most 200" in complaint(read_picture, png(20000, 50))
    with pytest.raises(MediaError, match="the picture measures 20000x50"):
        read_picture(Image.new("RGB", (20000, 50)))
    assert "is a single pixel" in complaint(read_picture, png(1, 1))
    assert picture_patches(read_picture(png(2, 2)), VISION).grid == (1, 4, 4)


def test_a_picture_past_the_safety_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert "is damaged or too large" in complaint(read_picture, png(20, 20))
