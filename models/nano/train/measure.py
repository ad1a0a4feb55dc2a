"""How good the newest Thinker is, on more items than the log's, and with the control of the shared clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import torch
from rich import print as show

from .examples import Example
from .learner import Learner, accuracies
from .marathon import StageOptions
from .pieces import SPECIALS
from .state import read_learner
from .text_stage import measure, test_examples

ITEMS = 200
VOICE_ITEMS = 60


def run(options: StageOptions) -> None:
    """Measure, print, and add a line to measure.jsonl."""
    learner = newest(options)
    learner.thinker.eval()
    tests, voices = test_examples(options, ITEMS, VOICE_ITEMS)
    figures = measure(learner, tests, voices)
    figures |= {f"{name}_shuffled": value for name, value in accuracies(learner, shuffled(tests)).items()}
    show(figures)
    with (options.folder / "measure.jsonl").open("a") as file:
        file.write(json.dumps(figures) + "\n")


def newest(options: StageOptions) -> Learner:
    """The newest weights of the work folder, or else those of the repository."""
    learner = Learner(options.seed)
    paths = [options.folder / f"{stage}.pt" for stage in ("joint", "text")]
    path = next((path for path in paths if path.exists()), None)
    learner.load_state_dict(torch.load(path, weights_only=True)["learner"] if path else read_learner())
    return learner


def shuffled(tests: Sequence[Example]) -> list[Example]:
    """The clips that beep, with their sounds' positions in random order: what is left is chance."""
    rng = Random("shuffled")
    changed = []
    for one in tests:
        if one.seen is None or one.seen.beep is None:
            continue
        places = np.flatnonzero(one.ids == SPECIALS["<|AUDIO|>"])
        # The clip's own sound comes first; a spoken question behind it keeps its order.
        places = places[: (len(one.phones[0]) - 2) // 2 + 1]
        positions = one.positions.copy()
        positions[:, places] = positions[:, rng.sample(places.tolist(), len(places))]
        changed.append(replace(one, positions=positions))
    return changed
