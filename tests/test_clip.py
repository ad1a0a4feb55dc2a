"""Video files to chosen frames, from films made here by PyAV in every container and codec that is promised."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

from omni_edge.models.errors import MediaError
from omni_edge.models.manifest import VisionFrontEnd
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.clip import choose_frames, read_clip
from omni_edge.runtime.pixels import clip_patches, clip_size

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
    video_min_pixels=56 * 56,
    video_max_pixels=112 * 112,
    video_total_pixels=90316800,
)


def write_video(
    path: Path,
    codec: str = "libx264",
    frames: int = 30,
    size: tuple[int, int] = (64, 96),
    sound: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Ten frames a second. Frame i is grey of level 8i; its top left corner is white. The sound is 3 s of 440 Hz."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if sound:
            voice = container.add_stream(sound, rate=48000, layout="stereo")
        for level in range(frames):
            picture = np.full((*size, 3), 8 * level % 256, np.uint8)
            picture[: size[0] // 4, : size[1] // 4] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        if sound:
            tone = 12000 * np.sin(2 * np.pi * 440 * np.arange(3 * 48000) / 48000)
            samples = np.repeat(tone, 2).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48000, 0
            container.mux([*voice.encode(frame), *voice.encode(None)])
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "silent.mp4")
    write_video(folder / "sound.mp4", sound="aac", options={"movflags": "faststart"})
    write_video(folder / "mpeg4.mp4", "mpeg4", sound="aac")
    write_video(folder / "sound.mkv", sound="libmp3lame")
    write_video(folder / "vp8.webm", "libvpx", frames=21)
    write_video(folder / "vp9.webm", "libvpx-vp9", frames=21, sound="libopus")
    return folder


@pytest.mark.parametrize("name", ["silent.mp4", "sound.mp4", "mpeg4.mp4", "sound.mkv", "vp8.webm", "vp9.webm"])
def test_clips(films: Path, name: str) -> None:
    clip = read_clip(films / name, VISION)
    total = 21 if name.endswith("webm") else 30
    indices = [0, 7, 13, 20] if total == 21 else [0, 6, 12, 17, 23, 29]
    assert clip.frames.shape == (len(indices), *clip_size(len(indices), 64, 96, VISION), 3)
    assert clip.frames.dtype == np.uint8
    assert clip.duration == pytest.approx(total / 10)
    assert clip.fps == pytest.approx(len(indices) / clip.duration)
    assert clip.has_sound == (name not in ("silent.mp4", "vp8.webm"))
    np.testing.assert_allclose(clip.frames[:, -8, -8, 1], [8 * index for index in indices], atol=4)
    assert (clip.frames[:, 4, 4] > 240).all()
    height, width = clip.frames.shape[1:3]
    assert clip_patches(clip.frames, clip.fps, VISION).grid == (len(indices) // 2, height // 14, width // 14)


@pytest.mark.parametrize("name", ["sound.mp4", "mpeg4.mp4", "sound.mkv", "vp9.webm"])
def test_the_sound_of_a_film(films: Path, name: str) -> None:
    clip = read_audio(films / name, 16000, 300)
    assert 2.9 < clip.seconds < 3.1
    spectrum = abs(np.fft.rfft(clip.samples[8000:40000])) ** 2
    assert spectrum[870:891].sum() > 0.98 * spectrum.sum()  # bins of half a hertz


def test_a_clip_is_turned_as_the_camera_was_held(films: Path) -> None:
    data = (films / "silent.mp4").read_bytes()
    upright = b"".join(value.to_bytes(4, "big", signed=True) for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    # x' = 64 - y, y' = x: what a telephone held upright writes.
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    start = data.index(upright, data.index(b"tkhd"))
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    clip = read_clip(data[:start] + matrix + data[start + 36 :], VISION)
    assert clip.frames.shape[1] > clip.frames.shape[2]
    assert (clip.frames[-1, 4, -5] > 240).all()
    assert (clip.frames[-1, 4, 4] < 240).all()


@settings(max_examples=100, deadline=None)
@given(total=st.integers(2, 5000), fps=st.floats(0.5, 240))
def test_the_choice_of_frames(total: int, fps: float) -> None:
    indices = choose_frames(total, fps, VISION, "clip")
    count = min(max(total / fps * 2, 4), 768 if total > 768 else total // 2 * 2)
    assert len(indices) == int(count) // 2 * 2
    assert indices[0] == 0
    assert indices[-1] == total - 1
    assert (np.diff(indices) > 0).all()
    assert np.ptp(np.diff(indices)) <= 1


@pytest.mark.torch
def test_the_choice_of_frames_is_the_reference_s() -> None:
    torch = pytest.importorskip("torch")
    for total in range(2, 9000, 37):
        indices = choose_frames(total, 29.97, VISION, "clip")
        assert indices.tolist() == torch.linspace(0, total - 1, len(indices)).round().long().tolist()


def test_a_frame_count_that_is_one_too_high_is_corrected(films: Path) -> None:
    path = films / "count.mp4"
    write_video(path, options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        last = max(packet.pos for packet in container.demux(video=0) if packet.pos is not None)
    clip = read_clip(path.read_bytes()[:last], replace(VISION, video_fps=10))
    assert clip.duration == pytest.approx(2.9)
    assert len(clip.frames) == 28
    assert (np.diff(clip.frames[:, -8, -8, 1].astype(int)) > 0).all()


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    cover = b"\0image/png\0\3\0" + picture.getvalue()
    frame = b"APIC" + len(cover).to_bytes(4, "big") + b"\0\0" + cover
    tag = b"ID3\3\0\0" + bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0)) + frame
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        song = container.add_stream("libmp3lame", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        silence.sample_rate = 16000
        container.mux([*song.encode(silence), *song.encode(None)])
    data = tag + (tmp_path / "song.mp3").read_bytes()
    with av.open(io.BytesIO(data)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(MediaError, match="has no video track"):
        read_clip(data, VISION)
    assert read_audio(data, 16000, 300).samples.size > 15000
