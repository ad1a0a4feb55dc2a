"""A program that plays and listens at once; test_virtual_device.py runs it where the sound server is its own.

Arguments: rate and channels that the devices seem to have (0: as they are), what to do, and the file to write.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from omni_edge.runtime.live import sound_devices, sound_streams
from omni_edge.runtime.live.clock import RealClock
from omni_edge.runtime.live.microphone import DeviceMicrophone
from omni_edge.runtime.live.sources import Heard
from omni_edge.runtime.live.speaker import DeviceSpeaker

RATE = 24000
ATTEMPTS = 3
CLOCK = RealClock()


def sweep(seconds: float) -> np.ndarray:
    """200 Hz to 2 kHz, which an 8 kHz device carries well."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 900 * time / seconds) * time)).astype(np.float32)


class Ear(threading.Thread):
    """Keeps all that is heard, and prints what is said about devices."""

    def __init__(self, microphone: DeviceMicrophone, speaker: DeviceSpeaker) -> None:
        super().__init__(daemon=True)
        self.microphone, self.speaker = microphone, speaker
        self.pieces: list[np.ndarray] = []
        self.done = False

    def run(self) -> None:
        expected = 0
        while not self.done:
            for event in [*self.microphone.read(0.1), *self.speaker.troubles()]:
                if isinstance(event, Heard):
                    assert event.start == expected
                    expected += event.samples.size
                    self.pieces.append(event.samples)
                else:
                    print(event.text, flush=True)


def pause(seconds: float) -> None:
    CLOCK.wait_until(CLOCK.now() + seconds)


def play(speaker: DeviceSpeaker, _: DeviceMicrophone) -> dict[str, Any]:
    """A sweep, whole."""
    speaker.begin()
    speaker.write(sweep(2.0))
    speaker.drain()
    pause(0.3)
    return {"played": speaker.played, "at": speaker.far()[0].at}


def stop(speaker: DeviceSpeaker, microphone: DeviceMicrophone) -> dict[str, Any]:
    """A tone, stopped half-way, five times."""
    tone = 0.5 * np.sin(np.arange(RATE) / 8, dtype=np.float32)
    at, stopped, played = [], [], []
    for _ in range(5):
        writer = threading.Thread(target=speaker.write, args=(tone,))
        speaker.begin()
        writer.start()
        pause(0.4)
        at.append(microphone.position())
        stopped.append(speaker.stop())
        writer.join()
        pause(0.4)
        played.append(speaker.played)
    return {"at": at, "stopped": stopped, "played": played}


def lose(speaker: DeviceSpeaker, microphone: DeviceMicrophone) -> dict[str, Any]:
    """Goes on while the devices are taken away and given back; a line on stdin says that they are back."""
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(150):  # both look every second and a half
        pause(0.1)
        if microphone._recording is not None and speaker._output is not None:
            break
    pause(0.5)
    for _ in range(ATTEMPTS):
        numbers = play(speaker, microphone)
    return numbers


def main() -> None:
    # Where it is allowed, other work on the machine does not delay sound: that is not what is tested.
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    rate, channels, what, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    real = sound_devices.sound_devices
    if rate:
        sound_devices.sound_devices = lambda: [
            replace(device, rate=rate, inputs=channels, outputs=channels) for device in real()
        ]
    microphone = DeviceMicrophone(lambda put: sound_streams.open_input(None, put), CLOCK)
    speaker = DeviceSpeaker(
        lambda wanted, fill: sound_streams.open_output(None, rate or wanted, fill), CLOCK, microphone.position, RATE
    )
    ear = Ear(microphone, speaker)
    ear.start()
    pause(0.5)
    numbers = {"play": play, "stop": stop, "lose": lose}[what](speaker, microphone)
    ear.done = True
    ear.join()
    lost = microphone.lost
    speaker.close()
    microphone.close()
    np.savez(path, heard=np.concatenate(ear.pieces), lost=lost, **numbers)


if __name__ == "__main__":
    main()
