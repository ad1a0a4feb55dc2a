"""Conversations as the Thinker gets them: ids with placeholders, TMRoPE positions, sounds, pictures, wanted tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

from ....models.manifest import Clock
from ....runtime.mel import audio_tokens, log_mel
from ....runtime.positions import (
    AudioSize,
    ImageSize,
    MediaSize,
    Span,
    VideoSize,
    VideoWithAudioSize,
    interleaving,
    mrope,
    span_length,
)
from . import hearing, scenes
from .grammar import CLIP_STEPS, Item, Split, Turn, items, text_allowed
from .pieces import SPECIALS, encode
from .sounds import Sounds, to_bytes

TEMPO = (0.85, 1.2)
"""Slowest and fastest pace of a training sound."""
CLOCK = Clock(ids_per_second=25, seconds_per_chunk=2.0)
MERGE = 2
GRID = scenes.SIDE // scenes.FRONT.patch
SPOKEN_SHARE = 0.6
"""How many of the turns that a sound exists for are spoken."""
SKILL_WEIGHTS = {"see": 5.0, "watch": 2.5, "know": 4.0, "chat": 0.15, "remember": 0.35, "refuse": 0.5}
EASY = ("what colour", "how big", "what is", "what do you see")
EASY_SHARE = 0.35
"""How many of the questions that are learnt soonest are kept; counting, places, motion and minus take longest."""
HEAR_SHARE = 0.25
"""Repeating what was said: the only skill that asks for every word of a sound."""


@dataclass(frozen=True)
class Example:
    """One conversation."""

    skill: str
    ids: npt.NDArray[np.int64]
    """[T]; media are runs of their placeholder."""
    positions: npt.NDArray[np.int64]
    """[3, T]"""
    asked: npt.NDArray[np.bool_]
    """[T], True where the next token belongs to an answer."""
    prompt: int
    """Tokens before the last answer."""
    mels: tuple[npt.NDArray[np.uint8], ...]
    """[F, 128] each, in order of their placeholders."""
    phones: tuple[npt.NDArray[np.uint8], ...]
    """Labels of `mels`, 50 a second."""
    seen: scenes.Seen | None
    turn: Turn
    """The last turn."""
    spoken: bool
    """Whether the last question was spoken."""


class Speech:
    """A collection of sounds by their text, those of one half only; those of training change their tempo each time."""

    def __init__(self, sounds: Sounds, split: Split) -> None:
        self.sounds = sounds
        self._trains = split == "train"
        self._by_text: dict[str, list[int]] = defaultdict(list)
        self._repeats: list[str] = []
        for index, text in enumerate(sounds.texts):
            if text_allowed(text, split):
                # Three in four accents are British; the American ones and flite's voices count twice.
                times = 2 if sounds.voices[index].startswith(("en-us", "rms", "slt")) else 1
                self._by_text[text] += [index] * times
                if text.startswith(("say ", "write ")):
                    self._repeats += [text] * times

    def sound(self, index: int, rng: Random) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Mel, [F, 128], and phones, [(F - 1) // 2 + 1], of one sound."""
        mel, phones = self.sounds.mel_of(index), self.sounds.labels_of(index)
        if not self._trains:
            return mel, phones
        pace = rng.uniform(*TEMPO)
        frames = np.minimum(np.arange(int(len(mel) / pace)) * pace, len(mel) - 1).astype(np.int64)
        return mel[frames], phones[np.minimum(frames[::2] // 2, len(phones) - 1)]

    def find(self, text: str, rng: Random) -> int | None:
        """A random sound of this text, None when there is none."""
        found = self._by_text.get(text)
        return rng.choice(found) if found else None

    def repeat(self, rng: Random) -> Item:
        """A random "say" or "write" that there is a sound for."""
        user = rng.choice(self._repeats)
        return Item("hear", (Turn(user, user.split(" ", 1)[1]),), "")


def examples(split: Split, seed: int, ring: int, speech: Speech, spoken: float = SPOKEN_SHARE) -> Iterator[Example]:
    """An endless mixture of all skills, typed and spoken."""
    rng = Random(f"examples/{split}/{seed}/{ring}")
    streams = {skill: items(split, seed, ring, skill) for skill in SKILL_WEIGHTS}
    skills, weights = list(SKILL_WEIGHTS), list(SKILL_WEIGHTS.values())
    while True:
        hearing_now = rng.random() < HEAR_SHARE
        item = speech.repeat(rng) if hearing_now else next(streams[rng.choices(skills, weights)[0]])
        if not hearing_now and _is_easy(item) and rng.random() > EASY_SHARE:
            continue
        # Repeating is practised on sounds; the rest of it keeps typed copying alive.
        yield example(item, rng, speech, 0.85 if item.skill == "hear" else spoken)


def _is_easy(item: Item) -> bool:
    user = item.turns[-1].user
    return " plus " in user if item.skill == "know" else item.skill in ("see", "watch") and user.startswith(EASY)


def example(item: Item, rng: Random, speech: Speech | None, spoken: float) -> Example:
    """Lay out one conversation; each turn is spoken with probability `spoken` if there is a sound of it."""
    writer = _Writer()
    said = False
    for turn in item.turns:
        said = writer.turn(turn, rng, speech, spoken)
    return writer.done(item, said)


class _Writer:
    """Collects the parts of an example."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.asked: list[bool] = []
        self.spans: list[Span] = []
        self.mels: list[npt.NDArray[np.uint8]] = []
        self.phones: list[npt.NDArray[np.uint8]] = []
        self.seen: scenes.Seen | None = None
        self.prompt = 0

    def turn(self, turn: Turn, rng: Random, speech: Speech | None, spoken: float) -> bool:
        """Add a question and its answer; returns whether the question was spoken."""
        self._text("<|im_start|>user\n")
        if turn.scene is not None:
            self._scene(scenes.see(turn.scene, rng))
        index = speech.find(turn.user, rng) if speech and rng.random() < spoken else None
        if index is None:
            self._text(turn.user)
        else:
            assert speech is not None
            self._sound(*speech.sound(index, rng))
        self._text("<|im_end|>\n<|im_start|>assistant\n")
        self.prompt = len(self.ids)
        answer = encode(f"{turn.answer}<|im_end|>")
        self.asked[-1:] = [True] * len(answer) + [False]
        self.ids += answer
        self._text("\n")
        return index is not None

    def done(self, item: Item, said: bool) -> Example:
        """The example."""
        ids = np.array(self.ids, np.int64)
        positions = mrope(len(ids), self.spans, CLOCK, MERGE).rows
        asked = np.array(self.asked, np.bool_)
        return Example(
            item.skill, ids, positions, asked, self.prompt, tuple(self.mels), tuple(self.phones), self.seen,
            item.turns[-1], said,
        )  # fmt: skip

    def _text(self, text: str) -> None:
        self._ids(encode(text))

    def _ids(self, ids: list[int]) -> None:
        self.ids += ids
        self.asked += [False] * len(ids)

    def _media(self, size: MediaSize, inner: list[int], bos: str, eos: str) -> None:
        self._ids([SPECIALS[bos]])
        self.spans.append(Span(len(self.ids), size))
        assert len(inner) == span_length(size, MERGE)
        self._ids([*inner, SPECIALS[eos]])

    def _sound(self, mel: npt.NDArray[np.uint8], phones: npt.NDArray[np.uint8]) -> None:
        tokens = audio_tokens(len(mel))
        self._media(AudioSize(tokens), [SPECIALS["<|AUDIO|>"]] * tokens, "<|audio_bos|>", "<|audio_eos|>")
        self._hear(mel, phones)

    def _hear(self, mel: npt.NDArray[np.uint8], phones: npt.NDArray[np.uint8]) -> None:
        self.mels.append(mel)
        self.phones.append(phones)

    def _scene(self, seen: scenes.Seen) -> None:
        self.seen = seen
        steps = len(seen.patches)
        picture, audio = SPECIALS["<|VIDEO|>"], SPECIALS["<|AUDIO|>"]
        if steps == 1:
            tokens = [SPECIALS["<|IMAGE|>"]] * (GRID // MERGE) ** 2
            self._media(ImageSize((1, GRID, GRID)), tokens, "<|vision_bos|>", "<|vision_eos|>")
            return
        grid = (CLIP_STEPS, GRID, GRID)
        if seen.beep is None:
            size: MediaSize = VideoSize(grid, scenes.STEP_SECONDS)
            inner = [picture] * span_length(size, MERGE)
        else:
            mel = to_bytes(log_mel(seen.beep, hearing.FRONT))
            size = VideoWithAudioSize(grid, scenes.STEP_SECONDS, audio_tokens(len(mel)))
            order = interleaving(size, CLOCK, MERGE)
            inner = [SPECIALS["<|audio_bos|>"], *np.where(order, picture, audio).tolist(), SPECIALS["<|audio_eos|>"]]
            # A tone is no phone: its label is silence.
            self._hear(mel, np.zeros((len(mel) - 1) // 2 + 1, np.uint8))
        self._media(size, inner, "<|vision_bos|>", "<|vision_eos|>")
