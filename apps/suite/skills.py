"""nano's skills: what it hears, sees, knows and remembers, against the one right answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

import numpy as np

from ...models.manifest import Clock
from ...models.nano.world.grammar import Clip, Item, items
from ...models.nano.world.hearing import CLEAN, Rough, as_heard, speak_seen, speak_unseen
from ...models.nano.world.words_wrong import word_error_rate
from ...runtime.messages import Audio
from ...runtime.options import Options
from ...runtime.positions import Positions, Span, VideoWithAudioSize, interleaving, mrope
from ...runtime.session import Session
from .asking import Say, ask, converse
from .figures import Figure, Line, Tick, share

UNSEEN = ("awb", "kal16", "festival")
"""Voices no training sentence uses. festival is a synthesiser of its own, whose speaker is kal16's."""
TEXT = Options(speech=False, greedy=True)


def hearing_lines(session: Session, limit: int, seed: int) -> Iterator[Line]:
    """Words heard wrong, by kind of voice, and with a typed verb beside the sound."""
    for voice in ("seen", *UNSEEN):
        yield Line(f"hear_{voice}", limit, _heard(session, voice, limit, seed, bare=False))
    yield Line("hear_mixed", limit, _heard(session, "seen", limit, seed + 1, bare=True))
    yield Line("hear_typed", limit, _answered(session, "hear", limit, seed, spoken=False))


def skill_lines(session: Session, control: Session, places: ShuffledPlaces, limit: int, seed: int) -> Iterator[Line]:
    """Exact answers, typed and spoken; the last line is a control that must come out at chance.

    Args:
        session: of the model.
        control: the same model with `places`.
        places: positions that the control is given.
        limit: items a line.
        seed: of all items; the test half of the grammar is never trained on.
    """
    for skill in ("see", "motion", "beep", "know", "remember", "refuse", "chat"):
        for spoken in (False, True):
            name = f"{skill}_{'spoken' if spoken else 'typed'}"
            yield Line(name, limit, _answered(session, skill, limit, seed, spoken=spoken))
    yield Line("beep_shuffled", limit, _shuffled(control, places, limit, seed))


def test_items(skill: str, seed: int) -> Iterator[Item]:
    """Items of the test half; "motion" and "beep" are the two kinds of "watch"."""
    kinds = {"motion": False, "beep": True}
    if skill not in kinds:
        yield from items("test", seed, 1, skill)
        return
    for item in items("test", seed, 1, "watch"):
        scene = item.turns[-1].scene
        if isinstance(scene, Clip) and (scene.beep is not None) == kinds[skill]:
            yield item


class ShuffledPlaces:
    """Positions in which the sound of each clip is in random order, so that nothing tells when it was.

    The order holds for one item: an order for all of them would send the beep of each second to the same places every
    time, and how many come out right would be the luck of that one order.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._item = seed, 0

    def another(self) -> None:
        """The next item begins."""
        self._item += 1

    def __call__(self, length: int, spans: Sequence[Span], clock: Clock, merge: int) -> Positions:
        """Like `mrope`."""
        places = mrope(length, spans, clock, merge)
        rng = np.random.default_rng([self._seed, self._item])
        for span in spans:
            if isinstance(span.size, VideoWithAudioSize):
                is_picture = interleaving(span.size, clock, merge)
                heard = span.start + 1 + np.flatnonzero(~is_picture)
                places.rows[:, heard] = places.rows[:, rng.permutation(heard)]
        return places


def random_voice(rng: Random) -> Say:
    """Speaks with another voice of training each time, through another room and microphone."""

    def say(text: str) -> np.ndarray:
        return as_heard(*speak_seen(text, rng), rng, Rough()).samples

    return say


def _unseen_voice(voice: str, rng: Random) -> Say:
    return lambda text: as_heard(speak_unseen(text, voice), voice, rng, CLEAN).samples


def _heard(session: Session, voice: str, limit: int, seed: int, *, bare: bool):  # noqa: ANN202
    def measure(tick: Tick) -> dict[str, Figure]:
        rng = Random(f"suite/hear/{voice}/{seed}")
        say = random_voice(rng) if voice == "seen" else _unseen_voice(voice, rng)
        pairs = []
        for item in islice(test_items("hear", seed), limit):
            session.reset()
            verb, text = item.turns[0].user.split(" ", 1)
            asked = [verb, Audio(say(text))] if bare else [Audio(say(item.turns[0].user))]
            pairs.append((text, ask(session, *asked, options=TEXT).done.text))
            tick()
        name = "hear_mixed" if bare else f"hear_{voice}"
        return {name: Figure("wer", word_error_rate(pairs), len(pairs))}

    return measure


def _answered(session: Session, skill: str, limit: int, seed: int, *, spoken: bool):  # noqa: ANN202
    def measure(tick: Tick) -> dict[str, Figure]:
        rng = Random(f"suite/{skill}/{spoken}/{seed}")
        say = random_voice(rng) if spoken else None
        results = []
        for item in islice(test_items(skill, seed + spoken), limit):
            results.append(converse(session, item, rng, say))
            tick()
        return {f"{skill}_{'spoken' if spoken else 'typed'}": share(results)}

    return measure


def _shuffled(session: Session, places: ShuffledPlaces, limit: int, seed: int):  # noqa: ANN202
    """The typed questions about beeps."""

    def measure(tick: Tick) -> dict[str, Figure]:
        rng = Random(f"suite/beep/False/{seed}")
        results = []
        for item in islice(test_items("beep", seed), limit):
            places.another()
            results.append(converse(session, item, rng, None))
            tick()
        return {"beep_shuffled": share(results)}

    return measure
