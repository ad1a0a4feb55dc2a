"""Every sound and picture format, from files made here by PyAV and Pillow. Films are in test_clip."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_edge.models.errors import MediaError
from omni_edge.runtime.audio_file import AudioClip, read_audio
from omni_edge.runtime.picture import read_picture


def write_audio(path: Path, codec: str, samples: npt.NDArray[Any], rate: int, form: str = "s16") -> Path:
    """Encode samples, [N, channels]."""
    layout = {1: "mono", 2: "stereo", 3: "3.0"}[samples.shape[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format=form, layout=layout)
            frame.sample_rate, frame.pts = rate, 0  # without a time, the silence an encoder puts first is kept
            container.mux(stream.encode(frame))
        else:
            container.start_encoding()
        container.mux(stream.encode(None))
    return path


def tones(seconds: float, rate: int) -> npt.NDArray[np.int16]:
    """Stereo, int16 [N, 2]: the left channel rises from 200 Hz to 1 kHz, the right one holds 330 Hz."""
    time = np.arange(int(seconds * rate)) / rate
    left = np.sin(2 * np.pi * (200 + 400 * time / seconds) * time)
    return (np.stack([left, np.sin(2 * np.pi * 330 * time)], axis=1) * 12000).astype(np.int16)


def listen(source: str | Path | bytes, seconds: float = 300) -> AudioClip:
    return read_audio(source, 16000, seconds)


# --- sound


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac")])
def test_lossless_sound_is_exact(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    stereo = tones(0.5, rate)
    path = write_audio(tmp_path / name, codec, stereo, rate)
    mono = (stereo.astype(np.float32) / 32768).mean(axis=1)
    np.testing.assert_array_equal(read_audio(path, rate, 300).samples, mono)
    clip = listen(path)
    assert clip.samples.dtype == np.float32
    assert clip.seconds == 0.5
    truth = (tones(0.5, 16000).astype(np.float32) / 32768).mean(axis=1)
    np.testing.assert_allclose(clip.samples[800:-800], truth[800:-800], atol=2e-4)


@pytest.mark.parametrize(
    ("codec", "form", "kind", "zero", "scale"),
    [
        ("pcm_u8", "u8", np.uint8, 128, 128),
        ("pcm_s16le", "s16", np.int16, 0, 2**15),
        ("pcm_s32le", "s32", np.int32, 0, 2**31),
        ("pcm_f32le", "flt", np.float32, 0, 1),
        ("pcm_f64le", "dbl", np.float64, 0, 1),
    ],
)
def test_samples_are_scaled_by_their_range(
    tmp_path: Path, codec: str, form: str, kind: type[np.generic], zero: int, scale: int
) -> None:
    loud = 3 if scale == 1 else 0.99  # floats may pass full scale, and stay as they are
    raw = (np.random.default_rng(0).uniform(-loud, loud, (999, 3)) * scale + zero).astype(kind)
    path = write_audio(tmp_path / "a.wav", codec, raw, 16000, form)
    np.testing.assert_allclose(listen(path).samples, ((raw.astype(np.float64) - zero) / scale).mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44100),
        ("a.mp3", "libmp3lame", 22050),
        ("a.m4a", "aac", 44100),
        ("a.m4a", "aac", 8000),
        ("a.ogg", "libopus", 48000),
    ],
)
def test_lossy_sound_is_alike(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    truth = (tones(1.0, 16000).astype(np.float32) / 32768).mean(axis=1)
    clip = listen(write_audio(tmp_path / name, codec, tones(1.0, rate), rate))
    assert 0.9 < clip.seconds < 1.2  # a whole last block of 1024 samples
    size = min(clip.samples.size, truth.size)
    assert np.corrcoef(clip.samples[:size], truth[:size])[0, 1] > 0.95


def test_sound_from_bytes_and_from_odd_names(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a:b é #1.wav", "pcm_s16le", tones(0.5, 16000), 16000)
    data = path.read_bytes()
    for source in (path, str(path), data):
        assert listen(source).samples.size == 8000
    tagged = write_audio(tmp_path / "t.wav", "pcm_s16le", tones(0.5, 16000), 16000).read_bytes()
    assert b"Lavf" in tagged
    assert listen(tagged.replace(b"Lavf", b"\xe9\xff\xfe\xe8")).samples.size == 8000


@settings(max_examples=25, deadline=None)
@given(size=st.integers(321, 5000), rate=st.sampled_from([16000, 8000, 11025, 48000]))
def test_sound_keeps_its_length(tmp_path_factory: pytest.TempPathFactory, size: int, rate: int) -> None:
    raw = np.zeros((size * rate // 16000 + 1, 1), np.int16)
    clip = listen(write_audio(tmp_path_factory.getbasetemp() / "length.wav", "pcm_s16le", raw, rate))
    assert clip.samples.size == round(len(raw) * 16000 / rate)


# --- pictures


@pytest.mark.parametrize(("name", "lossless"), [("a.png", True), ("a.webp", True), ("a.jpg", False), ("b.webp", False)])
def test_pictures(tmp_path: Path, name: str, lossless: bool) -> None:
    rows, columns = np.mgrid[0:60, 0:90]
    rgb = np.stack([rows * 4, columns * 2, 255 - rows - columns], axis=2).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / name, lossless=lossless, quality=95)
    for source in (tmp_path / name, str(tmp_path / name), (tmp_path / name).read_bytes(), Image.open(tmp_path / name)):
        ours = read_picture(source)
        assert (ours.shape, ours.dtype) == ((60, 90, 3), np.uint8)
        if lossless:
            np.testing.assert_array_equal(ours, rgb)
        else:
            assert np.corrcoef(ours.ravel(), rgb.ravel())[0, 1] > 0.99


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 51))
    np.testing.assert_array_equal(read_picture(png(half)), np.full((2, 2, 3), (255, 204, 204)))
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([9, 9, 9, 10, 20, 30])
    np.testing.assert_array_equal(read_picture(png(palette)), np.full((2, 2, 3), (10, 20, 30)))
    np.testing.assert_array_equal(read_picture(png(palette, transparency=1)), np.full((2, 2, 3), 255))
    np.testing.assert_array_equal(read_picture(png(Image.new("LA", (2, 2), (0, 0)))), np.full((2, 2, 3), 255))
    np.testing.assert_array_equal(read_picture(png(Image.new("L", (2, 2), 7))), np.full((2, 2, 3), 7))
    np.testing.assert_array_equal(read_picture(png(Image.new("1", (2, 2), 1))), np.full((2, 2, 3), 255))
    deep = Image.fromarray(np.array([[0, 257 * 200], [65535, 128]], np.uint16))
    np.testing.assert_array_equal(read_picture(png(deep))[:, :, 1], [[0, 200], [255, 0]])
    np.testing.assert_array_equal(read_picture(Image.new("CMYK", (2, 2), (0, 0, 0, 255))), np.zeros((2, 2, 3)))
    with pytest.raises(MediaError, match="the picture has floating-point pixels"):
        read_picture(Image.new("F", (2, 2)))


def test_the_orientation_tag_is_obeyed(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: turn clockwise
    ours = read_picture(png(image, exif=exif))
    assert ours.shape == (30, 20, 3)
    assert ours[0, 19, 0] == 255


def test_one_pixel_is_a_picture() -> None:
    assert read_picture(png(Image.new("RGB", (1, 2), (1, 2, 3)))).tolist() == [[[1, 2, 3]], [[1, 2, 3]]]
