"""What is asked of PortAudio and what its answers become, with one that is made up."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omni_edge.models.errors import DeviceError
from omni_edge.runtime.live import portaudio, sound_devices, sound_streams
from omni_edge.runtime.live.sound_streams import open_input, open_output


class PortAudioError(Exception):
    pass


class FakePortAudio:
    """Two devices; `refusal` is what opening runs into."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.refusal: PortAudioError | None = None
        self.rates = {16000, 48000}
        self.looked = 0
        self.opened: list[Any] = []

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [
            {"name": "OSS", "default_input_device": -1, "default_output_device": -1},
            {"name": "ALSA", "default_input_device": 0, "default_output_device": 1},
        ]

    def query_devices(self) -> list[dict[str, Any]]:
        rest = {"hostapi": 1, "default_samplerate": 48000.0}
        return [
            {"index": 0, "name": "Array", "max_input_channels": 8, "max_output_channels": 0, **rest},
            {"index": 1, "name": "Box", "max_input_channels": 0, "max_output_channels": 2, **rest},
        ]

    def check_output_settings(self, _: int, __: int, ___: str, *, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)

    def InputStream(self, rate: float, _: int, device: int, channels: int, *rest: Any, callback: Any) -> Any:  # noqa: N802
        if self.refusal is not None and not self.refusal.args[0].startswith("start"):
            raise self.refusal
        self.opened.append(
            SimpleNamespace(
                samplerate=rate,
                device=device,
                channels=channels,
                callback=callback,
                latency=0.05,
                active=True,
                start=self._start,
                close=lambda ignore_errors: None,
            )
        )
        return self.opened[-1]

    OutputStream = InputStream

    def _start(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def _terminate(self) -> None:
        self.looked += 1

    def _initialize(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch):
    library = FakePortAudio()
    for module in (sound_devices, sound_streams):
        monkeypatch.setattr(module, "portaudio", lambda: library)
    monkeypatch.setattr(portaudio.Host, "streams", 0)
    monkeypatch.setattr(portaudio.Host, "fresh", True)
    return library


def test_what_c_writes_is_kept_from_the_screen(capfd):
    with portaudio.quiet():
        os.write(2, b"Expression failed")
        with portaudio.quiet():
            os.write(2, b"again")
        os.write(2, b"and again")
    os.write(2, b"an error")
    assert capfd.readouterr().err == "an error"


ALOUD = """
import os, sys
from omni_edge.runtime.live.portaudio import quiet
{before}
with quiet():
    print("one", file=sys.stderr)
    with quiet():
        os.write(2, b"Expression failed")
        print("two", file=sys.stderr)
    os.write(2, b"and again")
print("three", file=sys.stderr)
"""


@pytest.mark.parametrize(("before", "expected"), [("", ["one", "two", "three"]), ("sys.stderr = sys.stdout", [])])
def test_what_python_writes_arrives_while_c_is_silent(before, expected):
    done = subprocess.run([sys.executable, "-c", ALOUD.format(before=before)], capture_output=True, check=True)
    assert done.stderr.decode().split() == expected


def test_without_a_stderr_there_is_nothing_to_silence():
    script = "import os; os.close(2)\nfrom omni_edge.runtime.live.portaudio import quiet\nwith quiet(): print('on')"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"on"


def test_defaults_are_those_of_the_first_system_that_has_any(fake):
    array, box = sound_devices.sound_devices()
    assert (array.default_input, array.default_output, array.system) == (True, False, "ALSA")
    assert (box.default_input, box.default_output, box.rate) == (False, True, 48000)


@pytest.mark.parametrize("first_is_flagged", [False, True])
def test_a_microphone_is_opened_at_its_own_rate_and_averaged(fake, first_is_flagged):
    got = []
    stream = open_input(None, lambda *block: got.append(block))
    made = fake.opened[0]
    assert (made.device, made.channels, stream.rate, stream.latency) == (0, 2, 48000, 0.05)
    assert stream.name == "the microphone Array"
    block = np.stack([np.full(480, 0.5), np.full(480, -0.1)], axis=1).astype(np.float32)
    for begin, dropped in ((7.0, first_is_flagged), (7.01, False), (7.27, True)):
        times = SimpleNamespace(inputBufferAdcTime=begin, currentTime=begin + 0.012)
        made.callback(block, 480, times, SimpleNamespace(input_overflow=dropped))
    samples, age, gap = got[0]
    np.testing.assert_allclose(samples, 0.2, rtol=1e-6)
    assert samples.shape == (480,)
    assert (age, gap) == (pytest.approx(0.002), 0)
    assert [gap for *_, gap in got[1:]] == [0, pytest.approx(0.25)]


@pytest.mark.parametrize(("wanted", "rate"), [(16000, 16000), (24000, 48000)])
def test_a_loudspeaker_runs_at_the_wanted_rate_or_its_own(fake, wanted, rate):
    asked = []

    def fill(count: int, ahead: float) -> np.ndarray:
        asked.append((count, ahead))
        return np.arange(count, dtype=np.float32)

    assert open_output("Box", wanted, fill).rate == rate
    data = np.zeros((64, 2), np.float32)
    fake.opened[0].callback(data, 64, SimpleNamespace(outputBufferDacTime=3.04, currentTime=3.0), None)
    fake.opened[0].callback(data, 64, SimpleNamespace(outputBufferDacTime=0.0, currentTime=3.0), None)
    assert asked == [(64, pytest.approx(0.04)), (64, 0.05)]
    np.testing.assert_array_equal(data[:, 0], data[:, 1])
    assert data[63, 0] == 63


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PortAudioError("Device unavailable", -9985),
            "Array is in use by another program",
        ),
        (PortAudioError("Unanticipated host error", -9999), r"Array cannot be opened \(Unanticipated host error\)"),
        (PortAudioError("start failed", -9999), r"Array does not start \(start failed\). Unplug it"),
    ],
    ids=["busy", "broken", "does not start"],
)
def test_refusals_become_sentences(fake, error, words):
    fake.refusal = error
    with pytest.raises(DeviceError, match=words):
        open_input(None, lambda *_: None)
    assert portaudio.Host.streams == 0


def test_the_list_is_read_again_while_nothing_is_open(fake):
    stream = open_input(None, lambda *_: None)
    assert fake.looked == 0
    open_output(None, 48000, lambda *_: np.zeros(0)).close()
    assert fake.looked == 0
    stream.close()
    stream.close()
    assert not stream.active
    sound_devices.sound_devices()
    assert fake.looked == 1
