"""Makes picture.png and question.flac, what `make run` shows and asks: `python -m omni_edge.models.nano.make_question`.

A picture of the grammar's test half, which nano was never trained on, and a question spoken by flite's voice slt, so
that no recording of a person is needed.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import soxr
from PIL import Image

from .world.drawing import draw
from .world.flite import flite
from .world.grammar import Picture, items
from .world.hearing import RATE
from .world.recording import write_flac

QUESTION = "what do you see"
FOLDER = Path(__file__).parent


def main() -> None:
    """Draw and speak."""
    scenes = (item.turns[0].scene for item in items("test", 1, skill="see") if item.turns[0].user == QUESTION)
    scene = next(scene for scene in scenes if isinstance(scene, Picture) and len(scene.things) == 2)
    Image.fromarray(draw(scene.things, Random(1))[0]).save(FOLDER / "picture.png", optimize=True)
    spoken = flite().speak(QUESTION, "slt")
    samples = soxr.resample(spoken.samples, spoken.rate, RATE)
    write_flac(FOLDER / "question.flac", samples, RATE)


if __name__ == "__main__":
    main()
