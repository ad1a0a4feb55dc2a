"""What a bundle is put through when it is calibrated or compared: short conversations, a user's own or built-in ones.

What calibrates must not be what compares, so the built-in ones come in two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count as numbers
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

from ..models.errors import RequestError
from ..models.nano.world.drawing import beep_sound
from ..models.nano.world.espeak import espeak
from ..models.nano.world.flite import flite
from ..models.nano.world.grammar import CLIP_STEPS, Item, Split, items
from ..models.nano.world.spoken import SynthesiserMissing
from ..runtime.messages import Audio, Image, Media, Part, Text, Video
from .suite.asking import shown
from .suite.skills import random_voice

Conversation: TypeAlias = tuple[Part, ...]
"""Parts of the one turn of the user."""
Half: TypeAlias = Literal["calibrate", "report"]

NANO = "nano"
"""The manifest's name of the one model that understands the grammar's questions alone."""
SOUNDS = frozenset(".wav .flac .mp3 .ogg .opus .m4a .aac .aiff .amr .wma".split())
PICTURES = frozenset(".jpg .jpeg .png .webp .bmp .tif .tiff".split())
CLIPS = frozenset(".mp4 .mkv .mov .webm .avi .m4v .mpg .mpeg .gif".split())
HEARD, SEEN, WATCHED = "What do you hear?", "What do you see in this picture?", "What happens in this video?"
"""Asked about a file that comes without a question."""

_SPLITS: dict[Half, Split] = {"calibrate": "train", "report": "test"}
_QUESTIONS = {
    "calibrate": (
        "Who are you?",
        "What is the capital of France?",
        "Name three fruits that are red.",
        "Why is the sky blue?",
        "Tell me a very short story about a fox.",
        "How many days does a leap year have?",
        "What is seven times eight?",
        "Give me a recipe for pancakes in two sentences.",
        "What is the opposite of cold?",
        "Which is heavier, a kilo of iron or a kilo of feathers?",
        "Write a polite sentence to cancel a meeting.",
        "What does a thermometer measure?",
        "Translate good morning into Spanish.",
        "What should I pack for a day at the beach?",
        "How does a bicycle stay upright?",
        "Finish the sentence: the early bird",
    ),
    "report": (
        "What can you do for me?",
        "What is the capital of Japan?",
        "Name three animals that can fly.",
        "Why do leaves turn yellow in autumn?",
        "Tell me a very short story about a lighthouse.",
        "How many minutes are there in a day?",
        "What is twelve plus nineteen?",
        "Explain in two sentences how to boil an egg.",
        "What is the opposite of empty?",
        "Which came first, the telephone or the radio?",
        "Write a friendly sentence to thank a neighbour.",
        "What does a compass show?",
        "Translate thank you into German.",
        "What should I check before a long walk?",
        "How does a boat made of steel float?",
        "Finish the sentence: a picture is worth",
    ),
}


def conversations(folder: Path) -> list[Conversation]:
    """A user's own material.

    Each line of a .txt file is a question. A sound, picture or clip is asked about with each line of the .txt file of
    the same stem, and with a default question when there is none. Other files are passed over.

    Raises:
        RequestError: no such folder, nothing of use in it, or a .txt file that is no UTF-8.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder; give one with questions (.txt), sounds, pictures or clips")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    questions = {path.stem: _lines(path) for path in files if path.suffix.lower() == ".txt"}
    media = [(path.stem, *found) for path in files if (found := _medium(path)) is not None]
    about = {stem for stem, _, _ in media}
    result: list[Conversation] = [
        (Text(line),) for stem, lines in questions.items() if stem not in about for line in lines
    ]
    for stem, part, default in media:
        result += [(part, Text(line)) for line in questions.get(stem) or (default,)]
    if not result:
        raise RequestError(
            f"{folder} holds nothing to ask; put a .txt file with a question a line into it, and sounds, pictures or "
            "clips (questions about photo.jpg go into photo.txt)"
        )
    return result


def built_in(model: str, half: Half, count: int) -> list[Conversation]:
    """Material that needs no files: texts, drawn pictures and clips, sounds; always the same ones.

    Args:
        model: `Manifest.name`. nano is asked what its grammar knows; every other model, general questions.
        half: no conversation of one half is in the other, but for pictures and sounds of the general questions.
        count: how many; of general ones there are at most as many as both kinds of questions make.
    """
    return list(islice(_nano(half) if model == NANO else _general(half), count))


def _general(half: Half) -> Iterator[Conversation]:
    """Two texts, a picture, a text, a sound, a clip, and so on until all questions are asked."""
    rng = Random(f"material/general/{half}")
    texts = iter(_QUESTIONS[half])
    scenes = {skill: _single(half, skill) for skill in ("see", "watch")}
    kinds: tuple[Callable[[], Conversation], ...] = (
        lambda: (Text(next(texts)),),
        lambda: (Text(next(texts)),),
        lambda: (_scene(next(scenes["see"]), rng), Text(SEEN)),
        lambda: (Text(next(texts)),),
        lambda: (Audio(beep_sound(rng.randrange(CLIP_STEPS), rng)), Text(HEARD)),
        lambda: (_scene(next(scenes["watch"]), rng), Text(WATCHED)),
    )
    for make in cycle(kinds):
        try:
            yield make()
        except StopIteration:
            return


def _nano(half: Half) -> Iterator[Conversation]:
    """The skills in turn; every second round is spoken where the synthesisers are installed."""
    rng = Random(f"material/nano/{half}")
    streams = {skill: _single(half, skill) for skill in ("hear", "see", "watch", "know", "refuse")}
    say = random_voice(rng) if _can_speak() else None
    for round_number in numbers():
        for stream in streams.values():
            turn = (item := next(stream)).turns[0]
            is_spoken = say is not None and round_number % 2 == 0
            asked = Audio(say(turn.user)) if say is not None and is_spoken else Text(turn.user)
            yield (asked,) if turn.scene is None else (_scene(item, rng), asked)


def _single(half: Half, skill: str) -> Iterator[Item]:
    """Items of one turn."""
    return (item for item in items(_SPLITS[half], 3, 1, skill) if len(item.turns) == 1)


def _scene(item: Item, rng: Random) -> Part:
    scene = item.turns[0].scene
    assert scene is not None
    return shown(scene, rng)


def _can_speak() -> bool:
    try:
        espeak()
        flite()
    except SynthesiserMissing:
        return False
    return True


def _medium(path: Path) -> tuple[Media, str] | None:
    """A file as a part, and what is asked about it when nothing else is."""
    suffix = path.suffix.lower()
    if suffix in SOUNDS:
        return Audio(path), HEARD
    if suffix in PICTURES:
        return Image(path), SEEN
    return (Video(path, use_audio=True), WATCHED) if suffix in CLIPS else None


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is no UTF-8 text; convert it") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
