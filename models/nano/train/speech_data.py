"""What the two voices say: texts of the grammar and lists of words, enough for codec, vocoder, flow and talker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from ..world.flite import flite
from ..world.grammar import half_of, sentences
from ..world.lexicon import RINGS
from ..world.speakers import SPEAKERS
from .marathon import StageOptions
from .voices import VoiceCache


@dataclass(frozen=True)
class SpeechData:
    """How much is said. Texts are drawn until so many different ones are found."""

    ring: int = 1
    sentences: int = 3000
    word_lists: int = 2000  # carry no grammar, so that the talker cannot guess the next word
    test: int = 200
    seed: int = 1


def texts(options: SpeechData) -> Iterator[str]:
    """All texts, mixed so that any first part of them is a fair sample; the grammar's test half is among them."""
    train = _different(sentences("train", options.seed, options.ring), options.sentences)
    test = _different(sentences("test", options.seed, options.ring), options.test)
    lists = _different(_word_lists(options), options.word_lists)
    mixed = list(dict.fromkeys([*train, *test, *lists]))
    Random(options.seed).shuffle(mixed)
    yield from mixed


def _different(source: Iterator[str], count: int) -> list[str]:
    # A small grammar runs out of new texts; forty draws for each wanted one are then enough.
    return list(dict.fromkeys(islice(source, 40 * count)))[:count]


def _word_lists(options: SpeechData) -> Iterator[str]:
    rng, words = Random(f"lists/{options.seed}/{options.ring}"), RINGS[options.ring].spoken
    while True:
        text = " ".join(rng.choice(words) for _ in range(rng.randrange(3, 8)))
        if half_of(text) == "train":
            yield text


def say_all(options: StageOptions, data: SpeechData | None = None) -> None:
    """Fill both caches, in turns of fifty texts; goes on where an earlier run stopped."""
    from rich.progress import track

    caches = [VoiceCache(speaker, options.folder / "voices") for speaker in SPEAKERS]
    wanted = list(texts(data or SpeechData(options.ring)))
    for first in track(range(0, len(wanted), 50), description="voices"):
        for cache in caches:
            cache.extend(wanted[first : first + 50], flite())
