"""The text model learns to answer on top of the towers, which have learnt to hear and see on their own before.

The audio tower keeps still and its outputs are the prefix, so no bridge from another prefix (phone labels, say) is
needed. The joint stage runs the same loop with the audio tower learning too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch

from ..world.grammar import SKILLS, items
from .encoder_stage import bare_shards, test_sets, train_shards
from .examples import Example, Speech, example, examples
from .learner import Learner, accuracies, heard_wrong
from .marathon import Marathon, StageOptions
from .muon import Muon
from .sounds import Sounds, load
from .state import read_learner

BATCH = 32
POOL = 8
"""Batches that are sorted by length together."""
PARTS = 2
"""Batches to a step, short ones and long ones: alike in length they are alike in skill, and pull to one side."""
# Muon steps by direction alone, so the labels must outweigh the noise that early answers send into the towers.
LABEL_WEIGHT = 1.0
PHONE_WEIGHT = 0.5
LOG_EVERY = 25
EVALUATE_EVERY = 200.0
"""CPU seconds."""
TESTS = 32
"""Test items of each skill, and as many spoken ones."""
VOICE_TESTS = 25
"""Sentences to repeat for each kind of voice: few, because writing token by token is slow."""
STILL = ("model.language_model.embed_tokens",)
"""Kept in the joint stage: the talker, which may be learning beside it, reads these rows."""
FROZEN = ("model.audio_tower.conv", "model.audio_tower.layers", "phone_head")


@dataclass(frozen=True)
class Recipe:
    """What differs between the text stage and the joint stage."""

    stage: str
    learning_rate: float
    hearing_learns: bool
    fall: float
    """Share of the sitting over which the learning rate falls."""


TEXT = Recipe("text", 3e-3, hearing_learns=False, fall=0.0)


def run(options: StageOptions) -> None:
    """The text model and the vision tower, on a frozen audio tower."""
    learn(options, TEXT)


def learn(options: StageOptions, recipe: Recipe) -> None:
    """Train for `options.minutes`, from the stages before or from the saved state."""
    marathon = Marathon(recipe.stage, options)
    learner = Learner(options.seed)
    still = STILL if recipe.hearing_learns else FROZEN
    named = [pair for pair in learner.named_parameters() if not pair[0].startswith(still)]
    optimiser = Muon(named, recipe.learning_rate)
    if state := marathon.load():
        learner.load_state_dict(state["learner"])
        if "optimiser" in state:  # the repository keeps no momenta
            optimiser.load_state_dict(state["optimiser"])
    else:
        begin(learner, options, recipe)

    def live() -> dict[str, object]:
        return {"learner": learner.state_dict(), "optimiser": optimiser.state_dict()}

    tests, voices = test_examples(options)
    evaluated, sums = marathon.cpu_seconds, torch.zeros(5)
    bare = load(shards) if (shards := bare_shards(options.folder)) else None
    speech = Speech(load(train_shards(options.folder)), "train", bare)
    rng = Random(f"text/{options.seed}/{marathon.step}")
    for group in pooled(examples("train", options.seed * 1000 + marathon.step, options.ring, speech)):
        optimiser.zero_grad()
        for batch in group:
            parts = learner.losses(batch, rng, hearing_learns=recipe.hearing_learns)
            (parts["answer"] + PHONE_WEIGHT * parts["phone"] + LABEL_WEIGHT * parts["label"]).backward()
            sums += torch.tensor([*(part.item() for part in parts.values()), 1])
        optimiser.step(marathon.rate(fall=recipe.fall))
        marathon.step += 1
        if marathon.step % LOG_EVERY == 0:
            means = (sums / sums[-1]).tolist()
            marathon.log(**dict(zip(("answer", "phone", "label", "tokens_right"), means, strict=False)))
            sums.zero_()
        if marathon.cpu_seconds - evaluated > EVALUATE_EVERY:
            evaluated = marathon.cpu_seconds
            marathon.log(**measure(learner, tests, voices))
        marathon.save_if_due(live())
        if marathon.over:
            break
    marathon.log(**measure(learner, tests, voices))
    marathon.finish(live())


def begin(learner: Learner, options: StageOptions, recipe: Recipe) -> None:
    """Take over what the earlier stages have learnt, here or, failing that, in the repository's state."""
    if recipe.stage == "joint":
        before = options.folder / "text.pt"
        if before.exists():
            learner.load_state_dict(torch.load(before, weights_only=True)["learner"])
        else:
            learner.load_state_dict(read_learner())
        return
    heard = torch.load(options.folder / "encoder.pt", weights_only=True)
    learner.audio.load_state_dict(heard["tower"])
    learner.phone_head.load_state_dict(heard["head"])
    seen = torch.load(options.folder / "vision.pt", weights_only=True)
    learner.vision.load_state_dict(seen["tower"])
    learner.token_head.load_state_dict(seen["head"])


def pooled(stream: Iterator[Example]) -> Iterator[list[list[Example]]]:
    """For each step some batches, each of similar length."""
    rng = Random(0)
    while True:
        pool = sorted(islice(stream, BATCH * POOL), key=lambda one: len(one.ids))
        batches = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
        steps = POOL // PARTS
        groups = [batches[start::steps] for start in range(steps)]
        rng.shuffle(groups)
        yield from groups


def test_examples(
    options: StageOptions, count: int = TESTS, voice_count: int = VOICE_TESTS
) -> tuple[list[Example], dict[str, list[Example]]]:
    """Held-out items of every skill, and held-out sentences to repeat by kind of voice.

    Args:
        options: for the folder of sounds, the seed and the ring.
        count: typed items of each skill, and as many spoken ones where there are sounds of them.
        voice_count: sentences for each kind of voice.
    """
    sets, rng = test_sets(options.folder), Random("tests")
    tests, speech = [], Speech(sets["seen"], "test")
    for skill in SKILLS:
        stream = items("test", options.seed, options.ring, skill)
        tests += [example(next(stream), rng, None, 0.0) for _ in range(count)]
        if skill != "hear":
            made = (example(item, rng, speech, 1.0) for item in islice(stream, 40 * count))
            tests += list(islice((one for one in made if one.spoken), count))
    return tests, {name: repeats(sounds, voice_count, rng) for name, sounds in sets.items()}


def repeats(sounds: Sounds, count: int, rng: Random) -> list[Example]:
    """Some sounds of a collection that ask to be repeated."""
    speech = Speech(sounds, "test")
    return [example(speech.repeat(rng), rng, speech, 1.0) for _ in range(count)]


def measure(learner: Learner, tests: list[Example], voices: dict[str, list[Example]]) -> dict[str, float]:
    """Exact answers by skill, and words heard wrong by kind of voice."""
    wrong = {f"wer_{name}": heard_wrong(learner, heard) for name, heard in voices.items()}
    return {**accuracies(learner, tests), **wrong}
