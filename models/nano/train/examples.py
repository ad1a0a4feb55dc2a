"""Conversations as the Thinker gets them: ids with placeholders, TMRoPE positions, sounds, pictures, wanted tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from ..world.drawing import SIDE, STEP_SECONDS
from ..world.grammar import CLIP_STEPS, Clip, Item, Split, Turn, half_of, items, text_allowed, watch_essence
from ..world.hearing import FRONT as HEARING
from ..world.lexicon import COLOURS
from . import scenes
from .pieces import SPECIALS, encode
from .sounds import Sounds, to_bytes

TEMPO = (0.85, 1.2)
"""Slowest and fastest pace of a training sound."""
CLOCK = Clock(ids_per_second=25, seconds_per_chunk=2.0)
MERGE = 2
GRID = SIDE // scenes.FRONT.patch
SPOKEN_SHARE = 0.6
"""How many of the turns that a sound exists for are spoken."""
SKILL_WEIGHTS = {"see": 7.0, "watch": 5.5, "know": 4.5, "chat": 0.15, "remember": 0.35, "refuse": 0.5}
EASY = ("what colour is", "how big", "what is", "where is", "how many do")
EASY_SHARE = 0.25
"""How many of the questions that are learnt soonest are kept; counting one kind of thing takes longest."""
HEAR_SHARE = 0.25
"""Repeating what was said: the only skill that asks for every word of a sound."""
BARE_SHARE = 0.35
"""How much of it is a typed verb beside a sound that holds the rest."""
COUNT_SHARE = 0.3
"""How much of everything asks how many there are of one colour and one shape: three facts to bind, learnt last."""
COMMON_SHARE = 0.35
"""How many of those whose answer is "one" are kept; most are, and always saying it would be right too often."""


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


Heard = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""A sound's mel, [F, 128], and its phones, [(F - 1) // 2 + 1]."""


class Speech:
    """A collection of sounds by their text, those of one half only; those of training change their tempo each time.

    Args:
        sounds: whole questions.
        split: half of the grammar.
        bare: what is said to go with a typed verb, already of this half alone.
    """

    def __init__(self, sounds: Sounds, split: Split, bare: Sounds | None = None) -> None:
        self.sounds = sounds
        self.bare = bare
        self.trains = split == "train"
        self._by_text: dict[str, list[int]] = defaultdict(list)
        self._repeats: list[str] = []
        for index, text in enumerate(sounds.texts):
            if text_allowed(text, split):
                # Three in four accents are British; the American ones and flite's voices count twice.
                times = 2 if sounds.voices[index].startswith(("en-us", "rms", "slt")) else 1
                self._by_text[text] += [index] * times
                if text.startswith(("say ", "write ")):
                    self._repeats += [text] * times

    def sound(self, sounds: Sounds, index: int, rng: Random) -> Heard:
        """One sound of a collection."""
        mel, phones = sounds.mel_of(index), sounds.labels_of(index)
        if not self.trains:
            return mel, phones
        pace = rng.uniform(*TEMPO)
        frames = np.minimum(np.arange(int(len(mel) / pace)) * pace, len(mel) - 1).astype(np.int64)
        return mel[frames], phones[np.minimum(frames[::2] // 2, len(phones) - 1)]

    def find(self, text: str, rng: Random) -> Heard | None:
        """A random sound of this text, None when there is none."""
        found = self._by_text.get(text)
        return self.sound(self.sounds, rng.choice(found), rng) if found else None

    def repeat(self, rng: Random) -> Item:
        """A random "say" or "write" that there is a sound for."""
        user = rng.choice(self._repeats)
        return Item("hear", (Turn(user, user.split(" ", 1)[1]),), "")

    def bare_example(self, rng: Random) -> Example:
        """A typed "say" or "write" before or after a sound that holds what is to be repeated."""
        assert self.bare is not None
        index = rng.randrange(len(self.bare))
        verb, text = rng.choice(("say", "write")), self.bare.texts[index]
        heard = self.sound(self.bare, index, rng)
        turn = Turn(f"{verb} {text}", text)
        writer = _Writer()
        writer.turn(turn, rng, [verb, heard] if rng.random() < 0.5 else [heard, verb])
        return writer.done("hear", said=True)


def examples(split: Split, seed: int, ring: int, speech: Speech, spoken: float = SPOKEN_SHARE) -> Iterator[Example]:
    """An endless mixture of all skills, typed and spoken."""
    rng = Random(f"examples/{split}/{seed}/{ring}")
    streams = {skill: items(split, seed, ring, skill) for skill in SKILL_WEIGHTS}
    counts = _counts(split, seed, ring)
    skills, weights = list(SKILL_WEIGHTS), list(SKILL_WEIGHTS.values())
    while True:
        if rng.random() < COUNT_SHARE:
            yield example(next(counts), rng, speech, spoken)
            continue
        hearing_now = rng.random() < HEAR_SHARE
        if hearing_now and speech.bare is not None and rng.random() < BARE_SHARE:
            yield speech.bare_example(rng)
            continue
        item = speech.repeat(rng) if hearing_now else next(streams[rng.choices(skills, weights)[0]])
        if not hearing_now and _is_easy(item) and rng.random() > EASY_SHARE:
            continue
        # Repeating is practised on sounds; the rest of it keeps typed copying alive.
        yield example(item, rng, speech, 0.85 if item.skill == "hear" else spoken, moved=True)


def _counts(split: Split, seed: int, ring: int) -> Iterator[Item]:
    """Pictures of which it is asked how many there are of one colour and one shape."""
    rng = Random(f"counts/{split}/{seed}/{ring}")
    for item in items(split, seed, ring, "see"):
        words = item.turns[-1].user.split()
        bound = words[:2] == ["how", "many"] and len(words) == 4 and words[2] in COLOURS
        if bound and (item.turns[-1].answer != "one" or rng.random() < COMMON_SHARE):
            yield item


def _is_easy(item: Item) -> bool:
    return item.skill in ("see", "watch") and item.turns[-1].user.startswith(EASY)


def example(item: Item, rng: Random, speech: Speech | None, spoken: float, *, moved: bool = False) -> Example:
    """Lay out one conversation.

    Args:
        item: of the grammar.
        rng: of everything random.
        speech: sounds of its questions.
        spoken: how likely each turn is spoken, if there is a sound of it.
        moved: whether a clip that beeps has the seconds of its sound moved about in time, and another answer for it.
    """
    writer = _Writer()
    said = False
    for turn in item.turns:
        heard = speech.find(turn.user, rng) if speech and rng.random() < spoken else None
        said = heard is not None
        asked = writer.move(turn, rng) if moved else turn
        writer.turn(asked, rng, [turn.user if heard is None else heard])
    return writer.done(item.skill, said)


class _Writer:
    """Collects the parts of an example."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.asked: list[bool] = []
        self.spans: list[Span] = []
        self.mels: list[npt.NDArray[np.uint8]] = []
        self.phones: list[npt.NDArray[np.uint8]] = []
        self.seen: scenes.Seen | None = None
        self.moved: tuple[int, ...] = ()
        self.last = Turn("", "")
        self.prompt = 0

    def turn(self, turn: Turn, rng: Random, asked: Sequence[str | Heard]) -> None:
        """Add a question, typed or heard, and its answer."""
        self.last = turn
        self._text("<|im_start|>user\n")
        if turn.scene is not None:
            self._scene(scenes.see(turn.scene, rng))
        for part in asked:
            if isinstance(part, str):
                self._text(part)
            else:
                self._sound(*part)
        self._text("<|im_end|>\n<|im_start|>assistant\n")
        self.prompt = len(self.ids)
        answer = encode(f"{turn.answer}<|im_end|>")
        self.asked[-1:] = [True] * len(answer) + [False]
        self.ids += answer
        self._text("\n")

    def done(self, skill: str, said: bool) -> Example:
        """The example."""
        ids = np.array(self.ids, np.int64)
        positions = mrope(len(ids), self.spans, CLOCK, MERGE).rows
        if self.moved:
            positions = moved(ids, positions, self.moved)
        asked = np.array(self.asked, np.bool_)
        return Example(
            skill, ids, positions, asked, self.prompt, tuple(self.mels), tuple(self.phones), self.seen,
            self.last, said,
        )  # fmt: skip

    def move(self, turn: Turn, rng: Random) -> Turn:
        """Let the seconds of a clip's sound trade places in time, and the answer follow the beep.

        The audio encoder adds its own position in each chunk, so its rows tell when they were; only where their
        TMRoPE positions say something else must those be looked at. A turn without a beep stays as it is.
        """
        clip = turn.scene
        if not isinstance(clip, Clip) or clip.beep is None:
            return turn
        order = tuple(rng.sample(range(CLIP_STEPS), CLIP_STEPS))
        heard_at = replace(clip, beep=order[clip.beep])
        if half_of(watch_essence(turn.user, heard_at)) != "train":
            return turn
        self.moved = order
        return replace(turn, answer=clip.steps[order[clip.beep]].colour)

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
            size: MediaSize = VideoSize(grid, STEP_SECONDS)
            inner = [picture] * span_length(size, MERGE)
        else:
            mel = to_bytes(log_mel(seen.beep, HEARING))
            size = VideoWithAudioSize(grid, STEP_SECONDS, audio_tokens(len(mel)))
            order = interleaving(size, CLOCK, MERGE)
            inner = [SPECIALS["<|audio_bos|>"], *np.where(order, picture, audio).tolist(), SPECIALS["<|audio_eos|>"]]
            # A tone is no phone: its label is silence.
            self._hear(mel, np.zeros((len(mel) - 1) // 2 + 1, np.uint8))
        self._media(size, inner, "<|vision_bos|>", "<|vision_eos|>")


def moved(ids: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], order: Sequence[int]) -> npt.NDArray[np.int64]:
    """Positions in which second k of a clip's sound lies where second order[k] was.

    Args:
        ids: [T], whose first run of audio tokens (the video's tokens aside) is the clip's.
        positions: [3, T].
        order: a permutation of the seconds.
    """
    places = np.flatnonzero(ids == SPECIALS["<|AUDIO|>"])[: CLIP_STEPS * CLOCK.ids_per_second]
    seconds = places.reshape(CLIP_STEPS, -1)
    changed = positions.copy()
    changed[:, seconds] = positions[:, seconds[list(order)]]
    return changed
