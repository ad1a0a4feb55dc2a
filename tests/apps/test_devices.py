"""omni-edge devices: lists what there is, says what there is not, and shows how loud it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from omni_edge.apps.level import Level, drawn
from omni_edge.models.errors import DeviceError, OmniError
from omni_edge.runtime.live import capture, opening, sound_devices
from omni_edge.runtime.live.capture import CameraDevice
from omni_edge.runtime.live.clock import RealClock, VirtualClock
from omni_edge.runtime.live.sound_devices import SoundDevice, choose_device
from omni_edge.runtime.live.speaker_file import FileSpeaker

DEVICES = [
    SoundDevice(0, "Built-in Audio", "ALSA", 2, 2, 48000, False, True),
    SoundDevice(1, "USB Headset", "ALSA", 1, 2, 16000, True, False),
    SoundDevice(2, "USB Camera", "ALSA", 1, 0, 8000, False, False),
    SoundDevice(3, "HDMI", "ALSA", 0, 8, 44100, False, False),
]


@pytest.fixture
def listed(monkeypatch):
    found = [CameraDevice(0, "USB Camera"), CameraDevice(2, "Desk")]
    for module in (sound_devices, opening):
        monkeypatch.setattr(module, "sound_devices", lambda: DEVICES)
    for module in (capture, opening):
        monkeypatch.setattr(module, "cameras", lambda: found)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Two seconds, the second of which is silent."""
    samples = np.zeros(32000, np.int16)
    samples[:16000] = np.round(16384 * np.sin(np.arange(16000) / 3))
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return tmp_path / "tone.wav"


class TestChoice:
    @pytest.mark.parametrize(
        ("which", "kind", "index"),
        [
            (None, "microphone", 1),
            (None, "loudspeaker", 0),
            ("2", "microphone", 2),
            ("usb camera", "microphone", 2),
            ("USB", "loudspeaker", 1),
            ("hdmi", "loudspeaker", 3),
        ],
    )
    def test_found(self, which, kind, index):
        assert choose_device(DEVICES, which, kind).index == index

    @pytest.mark.parametrize("which", ["3", "HDMI", "9", "Nothing"])
    def test_not_found_lists_the_names(self, which):
        with pytest.raises(DeviceError, match=r"0 Built-in Audio, 1 USB Headset, 2 USB Camera$") as caught:
            choose_device(DEVICES, which, "microphone")
        assert f"no microphone goes by '{which}'" in str(caught.value)

    def test_more_than_one(self):
        with pytest.raises(DeviceError, match="more than one microphone goes by 'USB'"):
            choose_device(DEVICES, "USB", "microphone")

    def test_the_first_where_the_system_names_no_default(self):
        assert choose_device(DEVICES[2:], None, "microphone").index == 2

    def test_none(self):
        with pytest.raises(DeviceError, match="there is no microphone here"):
            choose_device(DEVICES[3:], None, "microphone")

    @pytest.mark.usefixtures("listed")
    def test_cameras(self):
        assert [capture.find_camera(which).index for which in (None, "2", "desk")] == [0, 2, 2]
        with pytest.raises(DeviceError, match=r"no camera goes by '1'. Choose one of: 0 USB Camera, 2 Desk"):
            capture.find_camera("1")

    @pytest.mark.usefixtures("listed")
    def test_a_name_that_is_none_is_refused_at_once(self):
        with pytest.raises(DeviceError, match="no microphone goes by 'x'"):
            opening.open_microphone("x", RealClock())
        with pytest.raises(DeviceError, match="no loudspeaker goes by 'x'"):
            opening.open_speaker("x", RealClock(), lambda: 0, 24000)
        with pytest.raises(DeviceError, match=r"no camera goes by 'x'"):
            opening.open_camera("x", 2, lambda: 0)

    def test_devices_have_real_time(self):
        with pytest.raises(DeviceError, match=r"a microphone cannot run faster than real time. Leave --fast out"):
            opening.open_microphone(None, VirtualClock())

    def test_files_in_their_place(self, tone, tmp_path):
        microphone = opening.open_microphone(str(tone), VirtualClock())
        assert sum(event.samples.size for event in microphone.read(1)) == 320
        for which in ("none", str(tmp_path / "out.wav")):
            speaker = opening.open_speaker(which, VirtualClock(), microphone.position, 24000)
            assert isinstance(speaker, FileSpeaker)
            speaker.close()
        with pytest.raises(OmniError, match="cannot be written"):
            opening.open_speaker(str(tmp_path / "missing" / "out.wav"), VirtualClock(), microphone.position, 24000)


class TestList:
    @pytest.mark.usefixtures("listed")
    def test_pipe(self, inside):
        result = inside("devices")
        assert result.err == ""
        rows = [line.split("\t") for line in result.out.splitlines()]
        assert rows[0] == ["microphones", "", "index", "name", "system", "rate", "channels"]
        assert rows[2] == ["microphones", "*", "1", "USB Headset", "ALSA", "16000", "1"]
        assert ["loudspeakers", "*", "0", "Built-in Audio", "ALSA", "48000", "2"] in rows
        assert rows[-2:] == [["cameras", "*", "0", "USB Camera"], ["cameras", "", "2", "Desk"]]

    @pytest.mark.usefixtures("listed")
    def test_json(self, inside):
        data = json.loads(inside("devices", "--json").out)
        assert [entry["index"] for entry in data["microphones"] if entry["default"]] == [1]
        assert [entry["name"] for entry in data["loudspeakers"]] == ["Built-in Audio", "USB Headset", "HDMI"]
        assert data["cameras"][0] == {"index": 0, "name": "USB Camera", "default": True}

    def test_nothing_there(self, inside, monkeypatch):
        monkeypatch.setattr(sound_devices, "sound_devices", list)
        monkeypatch.setattr(capture, "cameras", list)
        result = inside("devices")
        assert (result.code, result.out) == (0, "")
        kinds = ("microphone", "loudspeaker", "camera")
        assert result.err.splitlines() == [f"notice: there is no {kind} here" for kind in kinds]

    @pytest.mark.parametrize(
        ("failure", "words"),
        [
            ("raise OSError('PortAudio library not found')", "PortAudio is not installed.*apt install libportaudio2"),
            (
                "raise ModuleNotFoundError(name='sounddevice')",
                r"sounddevice is not installed.*pip install 'omni-edge\[audio\]'",
            ),
        ],
        ids=["no PortAudio", "no sounddevice"],
    )
    def test_what_is_missing_is_named(self, tmp_path, failure, words):
        """In a process of its own: what was imported once stays."""
        (tmp_path / "sounddevice.py").write_text(failure)
        (tmp_path / "cv2.py").write_text("raise ModuleNotFoundError(name='cv2')")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        command = [sys.executable, "-m", "omni_edge.apps.cli", "devices"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0
        assert result.stdout == ""
        sound, camera = result.stderr.splitlines()
        assert re.search(words, sound)
        assert "opencv-python is not installed; it is needed to use a camera" in camera
        result = subprocess.run([*command, "--level"], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1


class TestLevel:
    def test_lines(self, inside, tone):
        result = inside("devices", "--level", "--mic", tone)
        assert result.out.splitlines() == ["  -9.0 dB, peak   -6.0 dB", "silence, peak silence"]

    def test_json_and_seconds(self, inside, tone):
        (line,) = inside("devices", "--level", "--mic", tone, "--json", "--seconds", "1").out.splitlines()
        assert json.loads(line) == {"second": 1, "mean_db": -9.0, "peak_db": -6.0}

    def test_no_microphone(self, inside, monkeypatch):
        for module in (sound_devices, opening):
            monkeypatch.setattr(module, "sound_devices", list)
        result = inside("devices", "--level", "--seconds", "1")
        assert result.code == 0
        assert result.out == "silence, peak silence\n"
        assert result.err.startswith("notice: there is no microphone here. Plug one in. Going on without")

    def test_window(self):
        level = Level(0.1)
        assert (level.mean, level.peak) == (-float("inf"), -float("inf"))
        level.step(np.ones(16000, np.float32))
        level.step(np.full(800, 0.1, np.float32))
        assert level.peak == 0
        level.step(np.full(800, 0.1, np.float32))
        assert level.mean == pytest.approx(-20)
        assert [drawn(value, 4) for value in (-99, -60, -30, 0, 3)] == ["----", "----", "##--", "####", "####"]
