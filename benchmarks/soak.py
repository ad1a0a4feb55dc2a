"""Does a long conversation leak? `python -m benchmarks.soak [--rounds 500] [--minutes 60]`.

First as many rounds of question, reply and interruption; then so many minutes of microphone and camera files, in
virtual time. Both print threads, open files and memory at the beginning and on the way.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from omni_edge.apps.suite.asking import clip_file
from omni_edge.models.nano.world.hearing import RATE
from omni_edge.runtime import Options, load
from omni_edge.runtime.live.camera_file import FileCamera
from omni_edge.runtime.live.clock import VirtualClock
from omni_edge.runtime.live.conversation import Conversation
from omni_edge.runtime.live.driving import Driver
from omni_edge.runtime.live.events import ReplyStarted, TurnDone
from omni_edge.runtime.live.microphone_file import FileMicrophone
from omni_edge.runtime.live.settings import Settings
from omni_edge.runtime.live.sources import Seen, Trouble
from omni_edge.runtime.live.speaker_file import FileSpeaker
from omni_edge.runtime.session import Session
from omni_edge.runtime.wav import WavWriter

from .room import Room, question

SETTINGS = Settings(options=Options(seed=1), echo="off")
PERIOD = 12
"""Seconds between two questions of the hour."""
FPS = 2


def main() -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--minutes", type=int, default=60)
    given = parser.parse_args()
    session = load("nano")
    if given.rounds:
        rounds(session, given.rounds)
    if given.minutes:
        session.reset()
        hour(session, given.minutes)


def rounds(session: Session, count: int) -> None:
    """Ask, and interrupt the answer with the next question."""
    rng = np.random.default_rng(1)
    sound = question("what is two plus three", 0)
    room = Room(session, SETTINGS)
    begin = time.monotonic()
    interrupted = 0
    for index in range(count):
        for event in room.say(sound):
            interrupted += isinstance(event, TurnDone) and event.interrupted
        started = False
        for _ in range(300):
            started = started or any(isinstance(event, ReplyStarted) for event in room.step())
            if started:
                break
        for _ in room.wait(float(rng.uniform(0, 0.3))):
            pass
        if index % max(1, count // 10) == 0 or index == count - 1:
            print(f"round {index:4}: {interrupted} interrupted, {state()}, {time.monotonic() - begin:.0f} s")
    room.close()
    print(f"closed: {state()}")


def hour(session: Session, minutes: int) -> None:
    """Microphone and camera play files of this length."""
    with TemporaryDirectory() as folder:
        microphone_file, camera_file = Path(folder) / "mic.wav", Path(folder) / "camera.mkv"
        samples = _write_sound(microphone_file, minutes)
        frames = np.zeros((minutes * 60 * FPS, 28, 28, 3), np.uint8)
        frames[:] = (np.arange(len(frames)) % 200 + 30)[:, None, None, None]
        camera_file.write_bytes(clip_file(frames, np.zeros(RATE, np.float32)))
        _listen(session, microphone_file, camera_file, samples)


def _listen(session: Session, microphone_file: Path, camera_file: Path, samples: int) -> None:
    clock = VirtualClock()
    with clock.hold():
        microphone = FileMicrophone(microphone_file, clock)
        camera = _Watched(FileCamera(camera_file, FPS, microphone.position))
        speaker = FileSpeaker(clock, microphone.position)
        settings = replace(SETTINGS, video=True)
        conversation = Conversation(session, settings, speaker=speaker, clock=clock, position=microphone.position)
        driver = Driver(conversation, microphone, camera)
        begin, shown, turns = time.monotonic(), 0, 0
        while not microphone.ended:
            driver.step()
            for event in conversation.take():
                turns += isinstance(event, TurnDone)
            if clock.now() >= shown:
                print(f"minute {clock.now() / 60:4.0f}: {turns} turns, {state()}, {time.monotonic() - begin:.0f} s")
                shown += 360
        conversation.close()
        camera.close()
        speaker.close()
        heard = conversation.totals.heard
    print(f"closed: {state()}")
    print(f"samples lost: {max(0, samples - heard)} of {samples}")
    print(f"camera against microphone, at most: {camera.worst * 1000:.1f} ms over {camera.count} frames")


class _Watched:
    """A camera whose frames are compared with the clock: the i-th is grey (i % 200 + 30) and belongs to i / FPS."""

    def __init__(self, camera: FileCamera) -> None:
        self._camera = camera
        self.worst = 0.0
        self.count = 0

    def read(self) -> list[Seen | Trouble]:
        events = self._camera.read()
        for event in events:
            if isinstance(event, Seen):
                shade = int(event.frame.mean()) - 30
                number = self.count + (shade - self.count + 100) % 200 - 100  # the frame that is shown
                self.worst = max(self.worst, abs(event.at / RATE - number / FPS))
                self.count += 1
        return events

    def close(self) -> None:
        self._camera.close()


def _write_sound(path: Path, minutes: int) -> int:
    """A question every PERIOD seconds; returns the samples."""
    rng = np.random.default_rng(2)
    sounds = [question(text, seed) for seed, text in enumerate(("what is two plus three", "say red", "hello"))]
    with WavWriter(path, RATE) as writer:
        for index in range(minutes * 60 // PERIOD):
            piece = rng.standard_normal(PERIOD * RATE).astype(np.float32) * 5e-4
            sound = sounds[index % len(sounds)]
            piece[RATE : RATE + sound.size] += sound
            writer.write(piece)
    return minutes * 60 // PERIOD * PERIOD * RATE


def state() -> str:
    """What could leak."""
    process = psutil.Process()
    memory = process.memory_info().rss / 1e6
    return f"{threading.active_count()} threads, {process.num_fds()} handles, {memory:.0f} MB"


if __name__ == "__main__":
    main()
