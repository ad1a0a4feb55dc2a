"""A live conversation from beginning to end."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle, dropwhile

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ...runtime.live.clock import Clock, RealClock, VirtualClock
from ...runtime.live.conversation import Conversation
from ...runtime.live.driving import Driver
from ...runtime.live.opening import open_camera, open_microphone, open_speaker
from ...runtime.live.portaudio import quiet
from ...runtime.live.sources import HEARD_RATE, Microphone
from ...runtime.options import Options
from ...runtime.session import Session
from ..level import loudness
from .as_json import JsonFace
from .face import Face, PlainFace, Status
from .keys import keys
from .options import LiveOptions
from .saving import Saving
from .screen import ScreenFace

LONGEST_WAIT = 3.0
"""Seconds of silence after the end of a file until the conversation is over, longer than a turn takes to end."""


def converse(session: Session, live: LiveOptions, options: Options, notices: Sequence[str]) -> None:
    """Talk until the user quits, or a file that is the microphone has ended and was answered.

    Args:
        session: what answers.
        live: how, and through what.
        options: of the replies.
        notices: sentences to show first.

    Raises:
        OmniError: something named in the options is not there, or cannot be.
    """
    clock: Clock = VirtualClock() if live.fast else RealClock()
    with ExitStack() as stack:
        stopped = stack.enter_context(_interrupts())
        terminal = None if live.as_json else _terminal()
        stack.enter_context(quiet())  # PortAudio's own threads write whenever a device is unplugged
        stack.enter_context(clock.hold())
        microphone = open_microphone(live.microphone, clock)
        stack.callback(microphone.close)
        rate = session.manifest.vocoder.rate
        speaker = open_speaker(live.loudspeaker, clock, microphone.position, rate)
        stack.callback(speaker.close)
        camera = None
        if live.camera is not None:
            which = None if live.camera == "default" else live.camera
            camera = open_camera(which, session.manifest.vision.video_fps, microphone.position)
            stack.callback(camera.close)
        saving = stack.enter_context(Saving(live.save, rate) if live.save is not None else nullcontext())
        conversation = Conversation(
            session, live.settings(options), speaker=speaker, clock=clock, position=microphone.position
        )
        stack.callback(conversation.close)
        face = _face(terminal, as_json=live.as_json)
        driver = Driver(conversation, microphone, camera)
        talk = _Talk(conversation, driver, microphone, face, saving, live, session.manifest.voices.names)
        stack.callback(talk.end)
        for notice in notices:
            face.notice(notice)
        pressed = stack.enter_context(keys())
        while talk.step(pressed.pressed()) and not stopped():
            pass


class _Talk:
    def __init__(
        self,
        conversation: Conversation,
        driver: Driver,
        microphone: Microphone,
        face: Face,
        saving: Saving | None,
        live: LiveOptions,
        voices: tuple[str, ...],
    ) -> None:
        self._conversation = conversation
        self._driver = driver
        self._microphone = microphone
        self._face = face
        self._saving = saving
        self._push_to_talk = live.push_to_talk
        self._wav = live.recording
        self._held = live.push_to_talk and live.plays_file
        if self._held:
            driver.look()  # a turn has pictures if there was one when it began
            conversation.press()
        self._level = -math.inf
        self._quiet = 0.0
        self._voices = voices

    def step(self, key: str) -> bool:
        """Some milliseconds of it. Whether it goes on."""
        if key:
            self._press(key)
        sound = self._driver.step()
        if self._held and self._microphone.ended:
            self._held = False
            self._conversation.release()
        if self._saving is not None:
            self._saving.hear(sound)
        self._show()
        self._face.status(self._status(sound))
        self._quiet = self._quiet + sound.size / HEARD_RATE if self._conversation.is_idle else 0.0
        return key != "q" and not (self._microphone.ended and self._quiet > LONGEST_WAIT)

    def end(self) -> None:
        """What is left to show."""
        self._conversation.close()
        self._show()
        self._face.end(self._conversation.totals, self._microphone.lost, self._wav)

    def _show(self) -> None:
        for event in self._conversation.take():
            if self._saving is not None:
                self._saving.note(event)
            self._face.show(event)

    def _press(self, key: str) -> None:
        conversation = self._conversation
        if key == " ":
            self._talk_or_stop()
        elif key == "m":
            conversation.muted = not conversation.muted
        elif key == "v":
            following = dropwhile(lambda name: name != conversation.voice, cycle(self._voices))
            next(following)
            conversation.voice = next(following)
        elif key == "c":
            self._driver.sees = not self._driver.sees and self._driver.has_camera

    def _talk_or_stop(self) -> None:
        conversation = self._conversation
        if conversation.user_speaks:
            conversation.release()
        elif conversation.is_answering and not self._push_to_talk:
            conversation.interrupt()
        else:
            conversation.press()

    def _status(self, sound: NDArray[np.float32]) -> Status:
        conversation = self._conversation
        if sound.size:
            self._level = loudness(sound)
        who = "you" if conversation.user_speaks else "thinking" if conversation.is_answering else "listening"
        if conversation.is_speaking:
            who = "omni-edge"
        camera = ("on" if self._driver.sees else "off") if self._driver.has_camera else ""
        return Status(who, self._level, conversation.muted, conversation.voice, camera)


def _terminal() -> Console | None:
    """Standard output, if it can be drawn on."""
    console = Console()
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _face(terminal: Console | None, *, as_json: bool) -> Face:
    if as_json:
        return JsonFace(sys.stdout)
    return PlainFace(sys.stdout, sys.stderr) if terminal is None else ScreenFace(terminal)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, the end of a service or of its terminal asks for the end, once; a second time it is as always."""
    asked = False

    def note(number: int, _: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[number])

    # Windows has no SIGHUP.
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, note) for number in known}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
