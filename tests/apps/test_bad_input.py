"""Whatever cannot be used ends in one line on stderr that names it, a status other than 0, and nothing half-written."""

from __future__ import annotations

import re
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from .conftest import CHEAP, tone


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def forty_minutes(path: Path) -> Path:
    write_wav(path, np.zeros(0))
    length = 2 * 16000 * 60 * 40
    header = bytearray(path.read_bytes())
    header[4:8], header[40:44] = (36 + length).to_bytes(4, "little"), length.to_bytes(4, "little")
    with path.open("wb") as file:  # sparse: silence that takes no room
        file.write(header)
        file.truncate(44 + length)
    return path


def text_file(path: Path) -> Path:
    path.write_text("This is no media file.\n" * 40)
    return path


def picture(path: Path, width: int, height: int) -> Path:
    Image.new("RGB", (width, height), "green").save(path)
    return path


def without_frames(path: Path) -> Path:
    """A clip whose video track is declared and never filled."""
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray((tone(1) * 9000).astype(np.int16)[None], format="s16", layout="mono")
        frame.rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


MEDIA: dict[str, tuple[str, Callable[[Path, Callable[..., Path]], Path], str]] = {
    "missing": ("--audio", lambda at, _: at / "absent.wav", "does not exist"),
    "folder": ("--image", lambda at, _: at, "folder"),
    "empty": ("--audio", lambda at, _: _touch(at / "empty.wav"), "empty"),
    "text": ("--audio", lambda at, _: text_file(at / "speech.wav"), "not a sound"),
    "text as picture": ("--image", lambda at, _: text_file(at / "photo.jpg"), "not a picture"),
    "text as clip": ("--video", lambda at, _: text_file(at / "clip.mp4"), "not a sound or video"),
    "no samples": ("--audio", lambda at, _: write_wav(at / "none.wav", np.zeros(0)), "no samples"),
    "19 ms": ("--audio", lambda at, _: write_wav(at / "click.wav", tone(0.019)), "19 ms"),
    "40 minutes": ("--audio", lambda at, _: forty_minutes(at / "talk.wav"), "300 s"),
    "one pixel": ("--image", lambda at, _: picture(at / "dot.png", 1, 1), "single pixel"),
    "20000x50": ("--image", lambda at, _: picture(at / "strip.png", 20000, 50), "20000x50"),
    "truncated": ("--video", lambda at, clip: half(clip(at / "cut.mp4", 3)), "damaged"),
    "no frames": ("--video", lambda at, _: without_frames(at / "blank.mkv"), "frame"),
    "sound as clip": ("--video", lambda at, _: write_wav(at / "song.wav", tone(1)), "no video"),
    "clip without sound": ("--audio", lambda at, clip: clip(at / "mute.mp4", 1, sound=False), "no sound"),
}


def _touch(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize("case", MEDIA)
def test_media(case, asked, clip, tmp_path):
    option, make, words = MEDIA[case]
    folder = tmp_path / "input"
    folder.mkdir()
    source = make(folder, clip)
    (tmp_path / "reply.wav").write_bytes(b"older")
    complaint = asked("--text", "What is it?", option, source).complaint
    assert str(source) in complaint
    assert words in complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "reply.wav"]
    assert (tmp_path / "reply.wav").read_bytes() == b"older"


def test_a_small_picture_is_fine(asked, tmp_path):
    assert asked("--image", picture(tmp_path / "dots.png", 2, 1), "--text", "?").code == 0


REQUESTS: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "--text"),
    "voice": (("--text", "x", "--voice", "Nobody"), "no voice 'Nobody' .*Chelsie, Ethan"),
    "steps": (("--text", "x", "--flow-steps", "77"), "77 steps"),
    "guidance": (("--text", "x", "--guidance", "-1"), "guidance -1"),
    "guided until": (("--text", "x", "--guided-until", "2"), "guidance until 2"),
    "tokens": (("--text", "x", "--max-tokens", "0"), "0 tokens"),
    "codes": (("--text", "x", "--max-codes", "0"), "0 codes"),
    "seed": (("--text", "x", "--seed", "-5"), "seed -5"),
    "bytes": (("--text", "a\udcff"), "UTF-8"),
    "context": (("--text", "word " * 9000), r"\d{5} positions; this model has 8192"),
    "folder": (("--text", "x", "--out", "."), "folder or a device; name a file"),
    "no folder": (("--text", "x", "--out", "absent/reply.wav"), "absent/reply.wav cannot be written"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests(case, asked, tmp_path):
    arguments, words = REQUESTS[case]
    outcome = asked(*arguments)
    assert re.search(words, outcome.complaint), outcome.complaint
    assert outcome.out == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "value"), [("--max-pixels", "0"), ("--max-pixels", "-4"), ("--threads", "-1")])
def test_limits_of_the_machine(option, value, inside, bundle):
    assert value in inside("run", "--model", bundle, "--text", "x", option, value).complaint


@pytest.mark.parametrize("name", ["8b", "no/such/thing", "", "../nano", "Qwen/Qwen2.5-Omni-3", "nan0"])
def test_unknown_models(name, inside):
    complaint = inside("run", "--model", name, "--text", "x").complaint
    assert name in complaint


def test_a_known_model_that_is_not_here_says_how_to_get_it(inside, monkeypatch, tmp_path):
    monkeypatch.setenv("OMNI_EDGE_HOME", str(tmp_path / "home"))
    assert "omni-edge pull 7b" in inside("run", "--model", "7b", "--text", "x").complaint


def test_a_folder_that_is_no_bundle(inside, tmp_path, tiny):
    assert "manifest.json" in inside("run", "--model", tmp_path, "--text", "x").complaint
    assert "omni-edge export" in inside("run", "--model", tiny.checkpoint("like-3b"), "--text", "x").complaint


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def alter(path: Path) -> None:
    """One bit, the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["thinker.onnx.data", "voices.npz", "tokenizer.json", "flow_tables.npz"])
@pytest.mark.parametrize("harm", ["missing", "cut", "altered"])
def test_bundles_that_are_not_whole(name, harm, copy, inside):
    path = copy / name
    {"missing": Path.unlink, "cut": half, "altered": alter}[harm](path)
    complaint = inside("run", "--model", copy, "--text", "x").complaint
    assert name in complaint
    assert str(copy) in complaint
    assert "xport the checkpoint again" in complaint


def test_a_bundle_of_another_schema(copy, inside):
    manifest = copy / "manifest.json"
    values = msgspec.json.decode(manifest.read_bytes())
    manifest.write_bytes(msgspec.json.encode({**values, "schema": 99}))
    assert "schema 99" in inside("run", "--model", copy, "--text", "x").complaint
    manifest.write_text("{")
    assert str(manifest) in inside("run", "--model", copy, "--text", "x").complaint


def test_as_real_processes(omni, bundle, clip, tmp_path):
    """What the tests above see inside one process holds for the program."""
    ask = ("run", "--model", bundle, *CHEAP, "--text", "x")
    assert "absent.wav" in omni(*ask, "--audio", "absent.wav").complaint
    assert "cut.mp4" in omni(*ask, "--video", half(clip(tmp_path / "cut.mp4", 3))).complaint
    assert "absent/x.wav" in omni(*ask, "--out", "absent/x.wav").complaint
    assert "UTF-8" in omni("run", "--model", bundle, "--text", "-", stdin=b"a\xff").complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mp4"]
