"""First stage of seeing: the vision tower alone learns what each of its tokens shows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

import numpy as np
import torch

from ..world.grammar import Split, items
from .learner import Learner, token_labels
from .marathon import Marathon, StageOptions
from .muon import Muon
from .scenes import Seen, see
from .thinker import vision_hidden, vision_rows

BATCH = 32
LEARNING_RATE = 3e-3
LOG_EVERY = 25


def drawn(split: Split, seed: int, ring: int) -> Iterator[Seen]:
    """An endless stream of pictures and, one in eight, clips."""
    rng = Random(f"drawn/{split}/{seed}")
    pictures, clips = items(split, seed, ring, "see"), items(split, seed, ring, "watch")
    while True:
        scene = next(clips if rng.random() < 1 / 8 else pictures).turns[-1].scene
        assert scene is not None
        yield see(scene, rng)


def run(options: StageOptions) -> None:
    """Train the vision tower for `options.minutes`."""
    marathon = Marathon("vision", options)
    learner = Learner(options.seed)
    named = [pair for pair in learner.named_parameters() if pair[0].startswith(("model.visual", "token_head"))]
    optimiser = Muon(named, LEARNING_RATE)
    if state := marathon.load():
        learner.vision.load_state_dict(state["tower"])
        learner.token_head.load_state_dict(state["head"])
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])

    def live() -> dict[str, object]:
        return {
            "tower": learner.vision.state_dict(),
            "head": learner.token_head.state_dict(),
            "optimiser": optimiser.state_dict(),
        }

    tests = list(islice(drawn("test", options.seed, options.ring), 100))
    stream = drawn("train", options.seed + marathon.step, options.ring)
    while not marathon.over:
        loss, right = measure(learner, list(islice(stream, BATCH)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(marathon.rate())
        marathon.step += 1
        if marathon.step % LOG_EVERY == 0:
            with torch.no_grad():
                held_out = measure(learner, tests)[1]
            marathon.log(label_loss=loss.item(), tokens_right=right.item(), test_tokens_right=held_out.item())
        marathon.save_if_due(live())
    marathon.finish(live())


def measure(learner: Learner, scenes: list[Seen]) -> tuple[torch.Tensor, torch.Tensor]:
    """Label loss, and the share of filled tokens whose labels are all right."""
    patches = torch.from_numpy(np.concatenate([seen.patches for seen in scenes]))
    rows = vision_rows(learner.vision, vision_hidden(learner.vision, patches))
    return learner.label_losses(rows, token_labels(scenes), np.concatenate([seen.counts for seen in scenes]))
