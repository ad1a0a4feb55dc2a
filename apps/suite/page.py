"""A page of what a model sees, hears and says: `python -m omni_edge.apps.suite.page OUT [--figures TITLE=FILE ...]`.

Writes OUT/README.md with a picture, the question and the answer of some items, and the speech as a spectrogram over
its waveform and as a flac file to listen to. Figures are what `omni-edge eval --json` printed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from ...models.nano.world.drawing import STEP_SECONDS, draw, draw_clip
from ...models.nano.world.flite import flite
from ...models.nano.world.grammar import Clip, Item
from ...models.nano.world.grammar import Picture as Still
from ...models.nano.world.hearing import CLEAN, as_heard
from ...models.nano.world.recording import write_flac
from ...runtime.loading import load
from ...runtime.messages import Audio, Part
from ...runtime.options import Options
from ...runtime.session import Session
from .asking import Answer, ask, shown
from .plots import joined, sound_picture
from .skills import test_items
from .table import figures_table

SHOWN = (("see", 4), ("motion", 2), ("beep", 2), ("hear", 2), ("know", 1), ("refuse", 1), ("remember", 1))
"""Skills and how many items of each; every other one is asked by voice."""
SEED = 11
VOICE = "slt"
"""Who asks. The answers take turns between the model's voices."""


@dataclass(frozen=True)
class _Shown:
    item: Item
    spoken: bool
    answer: Answer
    voice: str


def main() -> None:
    """Ask, draw and write."""
    parser = argparse.ArgumentParser(prog="python -m omni_edge.apps.suite.page", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--figures", nargs="*", default=[], metavar="TITLE=FILE", help="columns of the table")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    session = load(given.model)
    lines = [f"# What {session.manifest.name} sees, hears and says", ""]
    lines += ["Made by `python -m omni_edge.apps.suite.page`, from items that it was never trained on.", ""]
    columns = [(title, Path(path)) for title, path in (figures.split("=", 1) for figures in given.figures)]
    if columns:
        lines += ["## Figures", "", *figures_table(columns), ""]
    for skill, count in SHOWN:
        lines += [f"## {skill}", ""]
        stream = test_items(skill, SEED)
        for index in range(count):
            lines += _section(session, next(stream), f"{skill}-{index}", index, given.out)
    (given.out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(session: Session, item: Item, name: str, index: int, out: Path) -> list[str]:
    said = _conversation(session, item, name, index)
    scene = item.turns[-1].scene
    lines = []
    if scene is not None:
        _scene_picture(scene, _hand(name)).save(out / f"{name}.png", optimize=True)
        lines += [f"![what is shown]({name}.png)", ""]
    right = said.answer.done.text == item.turns[-1].answer
    for turn in item.turns[:-1]:
        lines.append(f"- asked before: *{turn.user}*")
    lines.append(f"- {'asked by voice' if said.spoken else 'typed'}: *{item.turns[-1].user}*")
    lines.append(f"- answered: **{said.answer.done.text}**" + ("" if right else f" (wrong: {item.turns[-1].answer})"))
    if said.answer.samples.size:
        rate = said.answer.done.rate
        sound_picture(said.answer.samples, rate).save(out / f"{name}-said.png", optimize=True)
        write_flac(out / f"{name}-said.flac", said.answer.samples, rate)
        seconds = said.answer.samples.size / rate
        lines += [f"- spoken by {said.voice}: [{seconds:.1f} s]({name}-said.flac)", "", f"![speech]({name}-said.png)"]
    return [*lines, ""]


def _hand(name: str) -> Random:
    """What draws the scene of an item, for the model and for the page alike."""
    return Random(f"page/{name}")


def _said(text: str, name: str) -> NDArray[np.float32]:
    return as_heard(flite().speak(text, VOICE), VOICE, Random(f"said/{name}"), CLEAN).samples


def _conversation(session: Session, item: Item, name: str, index: int) -> _Shown:
    session.reset()
    names = session.manifest.voices.names
    voice, spoken = names[index % len(names)], index % 2 == 1
    answer: Answer | None = None
    for turn in item.turns:
        parts: list[Part | str] = [] if turn.scene is None else [shown(turn.scene, _hand(name))]
        parts.append(Audio(_said(turn.user, name)) if spoken else turn.user)
        is_last = turn is item.turns[-1]
        answer = ask(session, *parts, options=Options(speech=is_last, voice=voice, greedy=True, seed=0))
    assert answer is not None
    return _Shown(item, spoken, answer, voice)


def _scene_picture(scene: Still | Clip, rng: Random) -> Picture.Image:
    """A picture, or a clip as a strip with a mark where it beeps."""
    if isinstance(scene, Still):
        return Picture.fromarray(draw(scene.things, rng)[0]).resize((224, 224), Picture.Resampling.NEAREST)
    frames, _ = draw_clip(scene, rng)
    step = len(frames) // len(scene.steps)
    beep = None if scene.beep is None else (scene.beep, scene.beep + STEP_SECONDS)
    return joined([Picture.fromarray(frame) for frame in frames[::step]], beep)


if __name__ == "__main__":
    main()
