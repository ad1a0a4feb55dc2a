"""Everything nano knows, as conversations drawn from a seed: what is asked, what is shown, what is right.

Ring 1 covers sums and differences between zero and ten; the numbers to twenty come with ring 2. An item belongs to
the training or to the test half by a hash of its essence (the text and scene that decide the answer), so no seed of
one half can give an item of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from .lexicon import MOVES, OUTSIDE, RINGS, SIZES, Ring, plural

Split = Literal["train", "test"]
REFUSAL = "i don't know that yet"
TEST_SHARE = 10
"""One essence in this many is kept for testing."""
CELLS = 3
"""Pictures are laid out on a jittered grid of this many rows and columns."""
CLIP_STEPS = 3
"""Temporal steps of a clip; a step is two frames and lasts a second."""


@dataclass(frozen=True)
class Thing:
    """One drawn shape."""

    shape: str
    colour: str
    size: str
    row: int
    column: int


@dataclass(frozen=True)
class Picture:
    """A still picture."""

    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Clip:
    """A clip with one thing in it per step, and a beep in the middle of one step or none."""

    steps: tuple[Thing, ...]
    beep: int | None


@dataclass(frozen=True)
class Turn:
    """What the user says (typed or spoken) and shows, and the one right answer."""

    user: str
    answer: str
    scene: Picture | Clip | None = None


@dataclass(frozen=True)
class Item:
    """A conversation; the last turn is the one that counts."""

    skill: str
    turns: tuple[Turn, ...]
    essence: str
    """What the half is decided by. Turns that only go before the question are no part of it."""


def half_of(essence: str) -> Split:
    """Which half an essence belongs to, for ever."""
    return "test" if hashlib.sha256(essence.encode()).digest()[0] * TEST_SHARE < 256 else "train"


def items(split: Split, seed: int, ring: int = 1, skill: str | None = None) -> Iterator[Item]:
    """An endless stream of items of one half.

    Args:
        split: "train" or "test".
        seed: of the whole stream.
        ring: how many words, 1 to 3.
        skill: a key of `SKILLS`; all of them in turn, at random, when None.
    """
    rng = Random(f"{split}/{seed}/{ring}/{skill}")
    names = list(SKILLS)
    while True:
        name = skill or rng.choice(names)
        item = SKILLS[name](rng, RINGS[ring])
        asides = [turn.user for turn in item.turns[:-1]]
        if half_of(item.essence) == split and all(text_allowed(user, split) for user in asides):
            yield item


def text_allowed(user: str, split: Split) -> bool:
    """Whether a half may hold this question. Things to repeat and sums belong to one half wherever they are asked."""
    if user.startswith(("say ", "write ")):
        return half_of(_repeat_essence(user)) == split
    if " plus " in user or " minus " in user:
        return half_of(f"know {user}") == split
    return True


def sentences(split: Split, seed: int, ring: int = 1) -> Iterator[str]:
    """An endless stream of texts that nano may say: half of them answers, half of them to be repeated or word lists."""
    rng = Random(f"sentences/{split}/{seed}/{ring}")
    answers = items(split, seed, ring)
    while True:
        text = next(answers).turns[-1].answer if rng.random() < 0.5 else echo(rng, RINGS[ring])
        # One- and two-word answers are few, and the speech side needs them in both halves.
        if len(text.split()) <= 2 or half_of(text) == split:
            yield text


def thing_name(thing: Thing, *, sized: bool = False) -> str:
    """For example "red circle" or "big red circle"."""
    return f"{thing.size} {thing.colour} {thing.shape}" if sized else f"{thing.colour} {thing.shape}"


def echo(rng: Random, ring: Ring) -> str:
    """A text of at most eight words for nano to repeat."""
    first, second = _pair(rng, ring)
    count = rng.randrange(2, 6)
    kinds: tuple[Callable[[], str], ...] = (
        lambda: f"a {thing_name(first, sized=True)}",
        lambda: f"{ring.numbers[count]} {first.colour} {plural(first.shape)}",
        lambda: f"a {thing_name(first)} and a {thing_name(second)}",
        lambda: f"the {thing_name(first)} is {rng.choice(('above', 'below'))} the {thing_name(second)}",
        lambda: f"the {first.shape} is {rng.choice(('left', 'right'))} of the {second.shape}",
        lambda: f"i can see {ring.numbers[count]} {rng.choice(SIZES)} {plural(first.shape)}",
        lambda: f"my name is {rng.choice(ring.names)}",
        lambda: f"hello {rng.choice(ring.names)} i can hear {rng.choice(ring.names)}",
    )
    # Word lists carry no grammar, so what is heard there cannot be guessed.
    if rng.random() < 0.4:
        return " ".join(rng.choice(ring.spoken) for _ in range(rng.randrange(1, 7)))
    return rng.choice(kinds)()


def _hear(rng: Random, ring: Ring) -> Item:
    text = echo(rng, ring)
    turn = Turn(f"{rng.choice(('say', 'write'))} {text}", text)
    return Item("hear", (turn,), _repeat_essence(turn.user))


def _repeat_essence(user: str) -> str:
    """The text alone, but for single words: they are few, and nano must learn each, with one verb or the other."""
    text = user.split(" ", 1)[1]
    return f"hear {text}" if " " in text else user


def _thing(rng: Random, ring: Ring) -> Thing:
    row, column = rng.randrange(CELLS), rng.randrange(CELLS)
    return Thing(rng.choice(ring.shapes), rng.choice(ring.colours), rng.choice(SIZES), row, column)


def _pair(rng: Random, ring: Ring) -> tuple[Thing, Thing]:
    """Two different shapes in one row or one column, so that only one relation holds; the first is left or above."""
    line = rng.randrange(CELLS)
    first, second = sorted(rng.sample(range(CELLS), 2))
    cells = ((line, first), (line, second)) if rng.random() < 0.5 else ((first, line), (second, line))
    shapes = rng.sample(ring.shapes, 2)
    one, two = (
        Thing(shape, rng.choice(ring.colours), rng.choice(SIZES), row, column)
        for shape, (row, column) in zip(shapes, cells, strict=True)
    )
    return one, two


def _crowd(rng: Random, ring: Ring) -> Picture:
    """One to five things; few kinds, so that counts above one are common."""
    shapes, colours = rng.sample(ring.shapes, 2), rng.sample(ring.colours, 2)
    cells = rng.sample(range(CELLS * CELLS), rng.randrange(1, 6))
    return Picture(
        tuple(
            Thing(rng.choice(shapes), rng.choice(colours), rng.choice(SIZES), cell // CELLS, cell % CELLS)
            for cell in sorted(cells)
        )
    )


def _see(rng: Random, ring: Ring) -> Item:
    turn = rng.choice((_single, _counted, _related))(rng, ring)
    return Item("see", (turn,), f"see {turn.user} {turn.scene}")


def _single(rng: Random, ring: Ring) -> Turn:
    thing = _thing(rng, ring)
    user, answer = rng.choice(
        (
            ("what do you see", f"a {thing_name(thing, sized=True)}"),
            (f"what colour is the {thing.shape}", thing.colour),
            (f"how big is the {thing.shape}", thing.size),
        )
    )
    return Turn(user, answer, Picture((thing,)))


def _counted(rng: Random, ring: Ring) -> Turn:
    picture = _crowd(rng, ring)
    one = rng.choice(picture.things)
    if rng.random() < 0.1:
        one = _thing(rng, ring)
    alike = [thing for thing in picture.things if thing.shape == one.shape]
    same = [thing for thing in alike if thing.colour == one.colour]
    kinds = [
        (f"how many {plural(one.shape)}", ring.numbers[len(alike)]),
        (f"how many {one.colour} {plural(one.shape)}", ring.numbers[len(same)]),
        ("how many do you see", ring.numbers[len(picture.things)]),
    ]
    if len(alike) == 1:
        kinds.append((f"what colour is the {one.shape}", alike[0].colour))
    if len(same) == len(picture.things) > 1:
        kinds += [("what do you see", f"{ring.numbers[len(same)]} {one.colour} {plural(one.shape)}")] * 3
    user, answer = rng.choice(kinds)
    return Turn(user, answer, picture)


def _related(rng: Random, ring: Ring) -> Turn:
    first, second = _pair(rng, ring)
    sideways = first.row == second.row
    before, after = ("left of", "right of") if sideways else ("above", "below")
    user, answer = rng.choice(
        (
            ("what do you see", f"a {thing_name(first)} and a {thing_name(second)}"),
            (f"where is the {first.shape}", f"{before} the {second.shape}"),
            (f"where is the {second.shape}", f"{after} the {first.shape}"),
            (f"what is {before} the {second.shape}", f"a {thing_name(first)}"),
            (f"what is {after} the {first.shape}", f"a {thing_name(second)}"),
        )
    )
    things = (first, second) if rng.random() < 0.5 else (second, first)
    return Turn(user, answer, Picture(things))


def _watch(rng: Random, ring: Ring) -> Item:
    turn = _moving(rng, ring) if rng.random() < 0.5 else _beeping(rng, ring)
    return Item("watch", (turn,), watch_essence(turn.user, turn.scene))


def watch_essence(user: str, scene: Picture | Clip | None) -> str:
    """The essence of a question about a clip."""
    return f"watch {user} {scene}"


def _moving(rng: Random, ring: Ring) -> Turn:
    start, move, line = _thing(rng, ring), rng.choice(MOVES), rng.randrange(CELLS)
    path = range(CLIP_STEPS) if move in ("right", "down") else range(CLIP_STEPS - 1, -1, -1)
    cells = [(line, place) if move in ("left", "right") else (place, line) for place in path]
    steps = tuple(Thing(start.shape, start.colour, start.size, row, column) for row, column in cells)
    return Turn("where does it go", move, Clip(steps, None))


def _beeping(rng: Random, ring: Ring) -> Turn:
    thing, beep = _thing(rng, ring), rng.randrange(CLIP_STEPS)
    colours = rng.sample(ring.colours, CLIP_STEPS)
    steps = tuple(Thing(thing.shape, colour, thing.size, thing.row, thing.column) for colour in colours)
    return Turn("what colour at the beep", colours[beep], Clip(steps, beep))


def _sum(rng: Random, ring: Ring) -> Turn:
    top = len(ring.numbers) - 1
    result = rng.randrange(top + 1)
    part = rng.randrange(result + 1)
    whole, one, two = ring.numbers[result], ring.numbers[part], ring.numbers[result - part]
    task, answer = (f"{one} plus {two}", whole) if rng.random() < 0.5 else (f"{whole} minus {one}", two)
    return Turn(rng.choice(("what is ", "how many is ", "")) + task, answer)


def _know(rng: Random, ring: Ring) -> Item:
    turn = _sum(rng, ring)
    return Item("know", (*_before(rng, ring), turn), f"know {turn.user}")


CHAT = (
    Turn("hello", "hello"),
    Turn("who are you", "my name is nano"),
    Turn("what can you do", "i can see and hear"),
)


def _chat(rng: Random, ring: Ring) -> Item:
    """Too few texts to keep any from training, so only conversations that begin otherwise are divided."""
    turns = (*_before(rng, ring), rng.choice(CHAT))
    essence = "chat" if len(turns) == 1 else "chat " + " / ".join(turn.user for turn in turns)
    return Item("chat", turns, essence)


def _aside(rng: Random, ring: Ring) -> Turn:
    return rng.choice((lambda: _sum(rng, ring), lambda: _hear(rng, ring).turns[0], lambda: rng.choice(CHAT)))()


def _before(rng: Random, ring: Ring) -> tuple[Turn, ...]:
    return (_aside(rng, ring),) if rng.random() < 0.2 else ()


def _remember(rng: Random, ring: Ring) -> Item:
    """A name, a colour or both are told; then something else; then nano is asked for one of them."""
    name, colour = rng.choice(ring.names), rng.choice(ring.colours)
    told = [Turn(f"my name is {name}", f"hello {name}"), Turn(f"my colour is {colour}", "i know that")]
    asked = [Turn("what is my name", name), Turn("what is my colour", colour)]
    which = rng.randrange(2)
    order = [told[which]] if rng.random() < 0.5 else rng.sample(told, 2)
    asides = [_aside(rng, ring)] if len(order) == 1 or rng.random() < 0.3 else []
    turns = (*order, *asides, asked[which])
    return Item("remember", turns, "remember " + " / ".join(turn.user for turn in turns))


def _refuse(rng: Random, ring: Ring) -> Item:
    """A word it has never met (test words are not met in training), a name it was not told, a picture not shown."""
    if rng.random() < 0.25:
        known = rng.choice((_single, _counted, _related))(rng, ring).user
        turns = (*_before(rng, ring), Turn(rng.choice((known, "what is my name", "what is my colour")), REFUSAL))
        essence = "refuse" if len(turns) == 1 else "refuse " + " / ".join(turn.user for turn in turns)
        return Item("refuse", turns, essence)
    noun = rng.choice(OUTSIDE)
    asking = "who is the,what is a,where is the,where is my,what colour is the,how big is the,do you see the".split(",")
    scene = _crowd(rng, ring) if rng.random() < 0.3 else None
    turn = Turn(f"{rng.choice(asking)} {noun}", REFUSAL, scene)
    return Item("refuse", (*_before(rng, ring), turn), f"refuse {noun}")


SKILLS: dict[str, Callable[[Random, Ring], Item]] = {
    "hear": _hear,
    "see": _see,
    "watch": _watch,
    "know": _know,
    "chat": _chat,
    "remember": _remember,
    "refuse": _refuse,
}
