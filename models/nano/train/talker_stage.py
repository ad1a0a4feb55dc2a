"""How the talker learns: on the thinker's own rows, behind conversations that end in what it says.

Codes must be bound to the piece that they speak. So two attention heads are shown where to look: at the row of the
piece that is sounding, which flite's word times tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .averages import Average, Means
from .codec import Codec, load_codec
from .encoder_stage import train_shards
from .examples import Speech
from .marathon import Marathon, StageOptions
from .measure import newest
from .muon import Muon
from .prompted import Prompter, conversations
from .sounds import load
from .talker import TalkerShape, TalkerStudent
from .utterances import IGNORED, CodeIds, Lesson, TalkerBatch, collate, lessons_of
from .voices import load_voices

RELOAD = 250
"""Steps after which the newest Thinker is read again, which may be learning beside the talker."""
SOUND_SHARDS = 20
"""Shards of questions that the conversations are heard from."""


@dataclass(frozen=True)
class TalkerRecipe:
    """How it is trained."""

    batch: int = 16
    rate: float = 3e-3
    guided: tuple[int, ...] = (2, 3)  # layers whose head 0 is shown where to look
    clip: float = 1.0  # norm of all gradients
    guide_weight: float = 0.3
    noise: float = 0.3  # at most this share of the previous codes is replaced, half of them by similar codes


class Confusion:
    """Replaces previous codes, so that the talker learns to go on after its own mistakes."""

    def __init__(self, codec: Codec, ids: CodeIds, near: int = 8) -> None:
        tables = codec.centroids.reshape(len(codec.means), codec.each, -1)
        self._near = torch.from_numpy(
            np.concatenate([_nearest_others(table, near) + 1 + i * codec.each for i, table in enumerate(tables)])
        )
        self._top = ids.top

    def __call__(self, codes: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Codes [batch, rows] of which up to `share`, drawn for each sentence, are others; special ids stay."""
        rates = torch.rand(len(codes), 1, generator=generator) * share
        hit = (torch.rand(codes.shape, generator=generator) < rates) & (codes >= 1) & (codes <= self._top)
        pick = torch.randint(self._near.shape[1], codes.shape, generator=generator)
        similar = self._near[(codes - 1).clamp(0, self._top - 1), pick]
        random = torch.randint(1, self._top + 1, codes.shape, generator=generator)
        other = torch.where(torch.rand(codes.shape, generator=generator) < 0.5, similar, random)
        return torch.where(hit, other, codes)


def _nearest_others(table: npt.NDArray[np.float32], near: int) -> npt.NDArray[np.int64]:
    """Indices of the `near` rows closest to each row of a table: [rows, near]."""
    norms = (table**2).sum(1)
    distances = norms[:, None] + norms[None] - 2 * table @ table.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :near]


def talker_losses(student: TalkerStudent, batch: TalkerBatch, codes: Tensor, recipe: TalkerRecipe) -> dict[str, Tensor]:
    """Cross-entropy of the next code and of where the guided heads look, and how often both are right."""
    logits, looks = student(batch, codes, recipe.guided)
    losses = {"code": F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)}
    guides = [F.cross_entropy(look.flatten(0, 1), batch.looks.flatten(), ignore_index=IGNORED) for look in looks]
    losses["look"] = torch.stack(guides).mean()
    with torch.no_grad():
        counted = batch.targets != IGNORED
        losses["code_right"] = (logits.argmax(-1) == batch.targets)[counted].float().mean()
        # Where a piece begins, nothing but the text tells what comes.
        turning = (batch.looks[:, 1:] != batch.looks[:, :-1]) & (batch.looks[:, 1:] >= 0) & (batch.looks[:, :-1] >= 0)
        losses["look_right"] = (looks[-1].argmax(-1) == batch.looks)[batch.looks >= 0].float().mean()
        losses["turn_right"] = (looks[-1].argmax(-1) == batch.looks)[:, 1:][turning].float().mean()
    return losses


def draw(lessons: Sequence[Lesson], count: int, key: tuple[int, int]) -> list[Lesson]:
    """Neighbours in the order of length, so that little is padded."""
    first = int(np.random.default_rng(key).integers(-count // 2, len(lessons) - count // 2))
    first = min(max(first, 0), len(lessons) - count)
    return list(lessons[first : first + count])


def prompters(options: StageOptions) -> tuple[Prompter, Prompter]:
    """What puts lessons into conversations: for training, and for testing without sounds of the training half."""
    learner = newest(options)
    speech = Speech(load(train_shards(options.folder)[:SOUND_SHARDS]), "train")
    return Prompter(learner, speech, conversations(options.seed, options.ring)), Prompter(learner, None, {})


def train_talker(options: StageOptions, shape: TalkerShape | None = None, recipe: TalkerRecipe | None = None) -> None:
    """Train the talker for a sitting; its state is `<folder>/talker.pt`."""
    shape, recipe = shape or TalkerShape(), recipe or TalkerRecipe()
    codec = load_codec(options.folder / "codec.safetensors")
    voices = load_voices(options.folder / "voices")
    lessons = lessons_of(voices, codec, held_out=False)
    # Sentences of nearly the same length alternate at random, or a neighbourhood would always be the same batch.
    order = np.random.default_rng(options.seed)
    lessons.sort(key=lambda item: len(item.codes) + 6 * order.random())
    student, shadow = TalkerStudent(shape, options.seed), TalkerStudent(shape, options.seed)
    prompt, prompt_tests = prompters(options)
    test = test_batches(lessons_of(voices, codec, held_out=True), prompt_tests, student.ids, recipe)
    confuse = Confusion(codec, student.ids)
    average, optimizer = Average(student), Muon(student.named_parameters(), recipe.rate)
    marathon, means = Marathon("talker", options), Means()
    saved = marathon.load()
    if saved is not None:
        for name, part in (("model", student), ("average", average), ("optimizer", optimizer)):
            if name in saved:  # the repository keeps no momenta
                part.load_state_dict(saved[name])
    while not marathon.over:
        chosen = draw(lessons, recipe.batch, (options.seed, marathon.step))
        batch = collate(chosen, prompt(chosen, Random(f"prompts/{options.seed}/{marathon.step}")), student.ids)
        if marathon.step % RELOAD == 0:
            prompt.learner = newest(options)
        generator = torch.Generator().manual_seed(options.seed + 1_000_003 * marathon.step)
        losses = talker_losses(student, batch, confuse(batch.codes, recipe.noise, generator), recipe)
        optimizer.zero_grad()
        (losses["code"] + recipe.guide_weight * losses["look"]).backward()
        losses["norm"] = nn.utils.clip_grad_norm_(student.parameters(), recipe.clip)
        optimizer.step(marathon.rate(fall=0.7))
        average.update(student, marathon.step)
        means.add(losses)
        marathon.step += 1
        if marathon.step % 50 == 0:
            marathon.log(**means.take())
        if marathon.step % 500 == 0 or marathon.over:
            shadow.load_state_dict(average.state_dict())
            marathon.log(**measure_talker(shadow, test, recipe))
        marathon.save_if_due(_state(student, average, optimizer))
    marathon.finish(_state(student, average, optimizer))


def _state(student: TalkerStudent, average: Average, optimizer: Muon) -> dict[str, Any]:
    return {"model": student.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}


def test_batches(lessons: Sequence[Lesson], prompt: Prompter, ids: CodeIds, recipe: TalkerRecipe) -> list[TalkerBatch]:
    """Held-out lessons in conversations that stay the same."""
    groups = [lessons[first : first + recipe.batch] for first in range(0, len(lessons), recipe.batch)]
    return [collate(group, prompt(group, Random(f"tests/{index}")), ids) for index, group in enumerate(groups)]


@torch.no_grad()
def measure_talker(student: TalkerStudent, test: Sequence[TalkerBatch], recipe: TalkerRecipe) -> dict[str, float]:
    """The training figures on held-out sentences with their true previous codes."""
    means = Means()
    for batch in test:
        means.add(talker_losses(student, batch, batch.codes, recipe))
    return {f"held_{name}": value for name, value in means.take().items()}
