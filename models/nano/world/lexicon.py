"""The words of each ring: what nano says, what it is asked with, and what lies outside its world."""

from __future__ import annotations

from dataclasses import dataclass

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
).split()
COLOURS: tuple[str, ...] = tuple("red green blue yellow black white orange purple pink brown".split())
SHAPES: tuple[str, ...] = tuple("circle square triangle star heart cross moon arrow".split())
NAMES = "sam anna tom lucy ben mia leo emma jack nina paul ruth".split()
SIZES = ("big", "small")
MOVES = ("left", "right", "up", "down")
RELATIONS = ("left of", "right of", "above", "below")

SPOKEN_GLUE = "a the and of is i can see hear my name nano hello don't know that yet above below".split()
ASKING_GLUE = "what where how many who are you do does it go colour plus minus at beep say write".split()

OUTSIDE = """
apple army aunt bank bear bird boat book bottle bread bridge brother bus butter cake camel candle captain car castle
cat chair cheese chicken church city cloud coat coffee cook country cow cup dentist desert desk doctor dog donkey door
dragon dress duck eagle egg elephant engine farmer father finger fire fish flower forest fork fox friend frog garden
giant girl glass goat gold grandma grass guitar hammer hat horse hospital hotel house island jacket judge kettle key
king kitchen kitten knife ladder lady lake lamp lawyer leaf lemon letter library lion machine market meadow melon
mirror money monkey morning mother mountain mouse museum music nail needle neighbour nurse ocean onion orchestra oven
owl palace paper parrot pencil pepper piano pilot pirate planet plate pocket poem poet police potato president prince
prison queen rabbit radio rain river robot rocket roof rose sailor salad salt sausage school scissors sea shark sheep
ship shirt shoe shop singer sister snake snow soap soldier soup spider spoon stone street sugar summer sun table tailor
teacher tiger tomato tower train tree trousers tunnel turtle uncle valley village violin wall water weather wheel whale
window winter wizard wolf woman worker
""".split()
"""Nouns that nano is asked about only to say that it does not know."""


@dataclass(frozen=True)
class Ring:
    """How much of the world nano knows. Rings hold one another, so that a larger one can go on from a smaller."""

    numbers: tuple[str, ...]
    """From zero upwards; sums and differences stay inside."""
    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def plurals(self) -> tuple[str, ...]:
        """The plural of each shape."""
        return tuple(plural(shape) for shape in self.shapes)

    @property
    def spoken(self) -> tuple[str, ...]:
        """Every word that nano may say."""
        worlds = (*self.numbers, *self.colours, *self.shapes, *self.plurals, *self.names)
        return (*worlds, *SIZES, *MOVES, *SPOKEN_GLUE)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that nano is asked with or says; the words outside its world are not counted."""
        return (*self.spoken, *ASKING_GLUE)


RINGS = {
    1: Ring(tuple(NUMBERS[:11]), tuple(COLOURS[:4]), tuple(SHAPES[:3]), tuple(NAMES[:3])),
    2: Ring(tuple(NUMBERS), tuple(COLOURS[:7]), tuple(SHAPES[:5]), tuple(NAMES[:7])),
    3: Ring(tuple(NUMBERS), tuple(COLOURS), tuple(SHAPES), tuple(NAMES)),
}


def plural(shape: str) -> str:
    """More than one of a shape: circles, crosses."""
    return shape + ("es" if shape.endswith("s") else "s")
