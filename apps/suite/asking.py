"""Conversations of the grammar put to a session, typed or spoken."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ...models.nano.world.drawing import FPS, beep_sound, draw, draw_clip
from ...models.nano.world.grammar import Clip, Item, Picture
from ...models.nano.world.hearing import RATE
from ...runtime.events import AudioDelta, Done
from ...runtime.messages import Audio, Image, Part, Text, Video
from ...runtime.options import Options
from ...runtime.session import Session

Say = Callable[[str], NDArray[np.float32]]
"""Text to samples at 16 kHz."""


@dataclass(frozen=True)
class Answer:
    """What came of one question."""

    done: Done
    samples: NDArray[np.float32]
    """Empty without speech."""


def ask(session: Session, *parts: Part | str, options: Options) -> Answer:
    """One turn, read to its end."""
    pieces: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    for event in session.respond(*parts, options=options):
        if isinstance(event, AudioDelta):
            pieces.append(event.samples)
        elif isinstance(event, Done):
            return Answer(event, np.concatenate(pieces))
    raise RuntimeError("a response ended without its last event")


def converse(session: Session, item: Item, rng: Random, say: Say | None) -> bool:
    """Whether the last answer of a conversation is the right one.

    The conversation starts anew, and goes on from what the model itself answered.

    Args:
        session: of the model.
        item: what is asked and shown.
        rng: of how it is drawn.
        say: speaks all questions; None types them.
    """
    session.reset()
    text = ""
    for turn in item.turns:
        parts: list[Part] = [] if turn.scene is None else [shown(turn.scene, rng)]
        parts.append(Text(turn.user) if say is None else Audio(say(turn.user)))
        text = ask(session, *parts, options=Options(speech=False, greedy=True)).done.text
    return text == item.turns[-1].answer


def shown(scene: Picture | Clip, rng: Random) -> Image | Video:
    """A drawn scene as a part; a clip that beeps is a file with sound."""
    if isinstance(scene, Picture):
        return Image(draw(scene.things, rng)[0])
    frames, _ = draw_clip(scene, rng)
    if scene.beep is None:
        return Video(frames)
    return Video(clip_file(frames, beep_sound(scene.beep, rng)), use_audio=True)


def clip_file(frames: NDArray[np.uint8], samples: NDArray[np.float32]) -> bytes:
    """A lossless Matroska file.

    Args:
        frames: [n, height, width, 3] RGB, FPS a second.
        samples: mono, 16 kHz.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as target:
        pictures: Any = target.add_stream("ffv1", rate=FPS)
        pictures.height, pictures.width = frames.shape[1:3]
        pictures.pix_fmt = "bgr0"
        sound: Any = target.add_stream("pcm_s16le", rate=RATE)
        sound.layout = "mono"
        for frame in frames:
            target.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        pcm = np.clip(samples * 32767, -32768, 32767).astype(np.int16)[None]
        heard = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        heard.sample_rate = RATE
        target.mux(sound.encode(heard))
        for stream in (pictures, sound):
            target.mux(stream.encode(None))
    return file.getvalue()
