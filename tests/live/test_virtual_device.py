"""Through PortAudio and ALSA to a private PulseAudio server and back: what we play is what we hear."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("pulseaudio") or not shutil.which("parec"), reason="needs pulseaudio"),
]
pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
RATE = 16000
ATTEMPTS = 5
"""A machine that is too busy for sound now and then is not what is tested."""
ALSA = """</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


class Room:
    """A sound server whose loudspeaker is a null sink, and whose microphone listens to that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "alsa.conf").write_text(ALSA)
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "ALSA_CONFIG_PATH": str(folder / "alsa.conf"),
            "PULSE_SERVER": f"unix:{folder}/socket",
            "PULSE_SINK": "room",
            "PULSE_SOURCE": "room.monitor",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        modules = [
            f"module-native-protocol-unix socket={self.folder}/socket auth-anonymous=1",
            "module-null-sink sink_name=room rate=48000 channels=2",
        ]
        loads = [part for module in modules for part in ("-L", module)]
        self._run("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", *loads)
        for _ in range(100):
            if (self.folder / "socket").exists():
                break
            if self.processes[-1].poll() is not None:
                break
            time.sleep(0.05)
        else:
            pytest.skip("pulseaudio does not start here")
        # A null sink that nobody hears works two seconds ahead; a listener in a hurry makes it a loudspeaker.
        self._run("parec", "--raw", "--latency-msec=10")
        time.sleep(2.5)
        if any(process.poll() is not None for process in self.processes):
            pytest.skip("pulseaudio does not run here")

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes.clear()
        (self.folder / "socket").unlink(missing_ok=True)

    def program(self, rate: int, channels: int, what: str) -> subprocess.Popen:
        script = Path(__file__).with_name("virtual_room.py")
        arguments = [sys.executable, str(script), str(rate), str(channels), what, str(self.result)]
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    @property
    def result(self) -> Path:
        return self.folder / "result.npz"

    def finished(self, program: subprocess.Popen) -> tuple[dict[str, np.ndarray], str]:
        said, errors = program.communicate("\n", timeout=60)
        assert program.returncode == 0, errors
        assert "ALSA lib" not in errors
        return dict(np.load(self.result)), said

    def _run(self, *command: str) -> None:
        nowhere = subprocess.DEVNULL
        self.processes.append(subprocess.Popen(command, env=self.environment, stdout=nowhere, stderr=nowhere))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    opened = Room(tmp_path_factory.mktemp("room"))
    opened.start()
    yield opened
    opened.stop()


def sweep() -> np.ndarray:
    time = np.arange(48000) / 24000
    return (0.5 * np.sin(2 * np.pi * (200 + 450 * time) * time)).astype(np.float32)


def compared(heard: np.ndarray) -> tuple[float, float, int]:
    """Correlation, level and place of the sweep in what was heard; a sample that is missing anywhere shows in the
    first. Eight times finer than the samples, because devices do not start on ours."""
    fine = soxr.resample(heard, RATE, 8 * RATE)
    wanted = soxr.resample(sweep(), 24000, 8 * RATE)
    size = fine.size + wanted.size
    spectrum = np.fft.rfft(fine, size) * np.conj(np.fft.rfft(wanted, size))
    at = int(np.fft.irfft(spectrum, size).argmax())
    part = fine[at : at + wanted.size]
    norms = np.linalg.norm(part), np.linalg.norm(wanted)
    return float(part @ wanted / np.prod(norms)), float(norms[0] / norms[1]), at // 8


@pytest.mark.parametrize(("rate", "channels"), [(0, 0), (48000, 2), (8000, 1)], ids=["as it is", "48 kHz", "8 kHz"])
def test_what_is_played_is_heard_intact(room, rate, channels):
    for _ in range(ATTEMPTS):
        result, said = room.finished(room.program(rate, channels, "play"))
        correlation, level, at = compared(result["heard"])
        if correlation > 0.999:
            break
    assert said == ""
    assert correlation > 0.999
    assert level == pytest.approx(1, abs=0.01)
    assert result["lost"] == 0
    assert result["played"] == 48000
    assert abs(at - result["at"]) < 0.1 * RATE  # what the canceller is told


def test_stop_is_heard_within_a_tenth_of_a_second(room):
    for _ in range(ATTEMPTS):
        result, _ = room.finished(room.program(0, 0, "stop"))
        heard, at = np.abs(result["heard"]) > 1e-3, result["at"]
        parts = [heard[moment - 3200 : moment + 5600] for moment in at]  # from 200 ms before to 350 ms after
        late = [np.flatnonzero(part)[-1] - 3200 for part in parts]
        if max(late) <= 0.1 * RATE:
            break
    assert max(late) <= 0.1 * RATE
    assert all(part[:3200].mean() > 0.9 for part in parts)  # it had been playing
    np.testing.assert_array_equal(result["played"], result["stopped"])
    assert result["stopped"] == pytest.approx(0.4 * 24000, abs=0.1 * 24000)


def test_devices_that_go_and_come_back(room):
    program = room.program(0, 0, "lose")
    assert program.stdout.readline() == "ready\n"
    room.stop()
    time.sleep(3)
    room.start()
    result, said = room.finished(program)
    assert said.count("Going on without; it is used again as soon as it is there") == 2
    assert said.count("is there again") == 2
    correlation, level, _ = compared(result["heard"])  # the best of several
    assert correlation > 0.999
    assert level == pytest.approx(1, abs=0.01)
