"""A tiny checkpoint that knows something: its decoders are fitted to a language of which fresh sequences can be drawn.

Logits of random weights are noise, in which the slightest rounding changes what is likeliest. What rounding costs a
model that has learnt something shows in one that has, on sequences that it was neither fitted to nor rounded on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omni_edge.apps.report.recording import DecoderInput
from omni_edge.runtime.engine import DECODERS, DecoderName

SEED = 3
LETTERS, FIRST = 12, 97
"""Of text: ids from the tiny tokenizer's letter a on. As many codes, from 0 on."""
CHANCES = np.array([0.7, 0.2, 0.1])
"""Of the three that may come next."""
ENTROPY = -float((CHANCES * np.log(CHANCES)).sum())
"""The least mean loss there is, in nats."""
LENGTH = 32
FITTED, CALIBRATED, MEASURED = 2048, 64, 64
"""Sequences that the decoders are fitted to, rounded on, and measured on."""
STEPS, BATCH, RATE = 400, 16, 1e-2
Ids = NDArray[np.int64]


class Language:
    """Three letters may follow two others; three codes may follow a code while a letter is spoken."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(SEED)
        pairs = [self._rng.permutation(LETTERS)[: len(CHANCES)] for _ in range(2 * LETTERS**2)]
        self._text, self._speech = np.reshape(pairs, (2, LETTERS, LETTERS, len(CHANCES)))

    def draw(self, count: int) -> tuple[Ids, Ids]:
        """Fresh token ids and the codes that speak them, [count, LENGTH] each."""
        text, codes = self._rng.integers(0, LETTERS, (2, LENGTH, count))
        choices = self._rng.choice(len(CHANCES), (2, LENGTH, count), p=CHANCES)
        for place in range(2, LENGTH):
            text[place] = self._text[text[place - 2], text[place - 1], choices[0, place]]
        for place in range(1, LENGTH):
            codes[place] = self._speech[codes[place - 1], text[place], choices[1, place]]
        return FIRST + text.T, codes.T


@dataclass(frozen=True, eq=False)
class Lesson:
    """Tensors: rows [n, S, width] that a decoder reads, and the ids [n, S] that follow them.

    What follows rows before `first` is not of the language, and is not asked.
    """

    rows: Any
    following: Any
    first: int

    def inputs(self) -> list[DecoderInput]:
        """As a report has them."""
        length = self.rows.shape[1]
        places, nothing = np.tile(np.arange(length), (3, 1)), np.empty(0, np.int64)
        return [DecoderInput(rows.numpy(), places, nothing, np.arange(self.first, length)) for rows in self.rows]


class Pupil:
    """The transformers class of a checkpoint, whose embeddings stay what they are."""

    def __init__(self, checkpoint: Path) -> None:
        from transformers import Qwen2_5OmniForConditionalGeneration

        self._origin = checkpoint
        self._model: Any = Qwen2_5OmniForConditionalGeneration.from_pretrained(checkpoint, dtype="float32").eval()

    def save(self, folder: Path) -> Path:
        """Write a copy of the checkpoint that knows what was learnt."""
        shutil.copytree(self._origin, folder)
        self._model.save_pretrained(folder)
        return folder

    def lesson(self, name: str, text: Ids, codes: Ids) -> Lesson:
        """What a decoder reads of sequences."""
        import torch

        thinker, talker = self._model.thinker, self._model.talker
        with torch.no_grad():
            words = thinker.get_input_embeddings()(torch.from_numpy(text))
            if name == "thinker":
                return Lesson(words[:, :-1], torch.from_numpy(text[:, 1:]), 1)
            # A step of runtime/talker.py: the last code's embedding, and both of the letter that is spoken now.
            thought = words + thinker.model.language_model(inputs_embeds=words, use_cache=False).last_hidden_state
            said = talker.get_input_embeddings()(torch.from_numpy(codes[:, :-1]))
            return Lesson(thought[:, 1:] + said, torch.from_numpy(codes[:, 1:]), 0)

    def fit(self, name: str, lesson: Lesson) -> None:
        """A few seconds of Adam."""
        import torch

        part = getattr(self._model, name)
        adam = torch.optim.Adam([value for key, value in part.named_parameters() if "embed" not in key], RATE)
        rates = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, STEPS)
        draws = torch.Generator().manual_seed(SEED)
        for _ in range(STEPS):
            some = torch.randint(len(lesson.rows), (BATCH,), generator=draws)
            adam.zero_grad()
            self.loss(name, Lesson(lesson.rows[some], lesson.following[some], lesson.first)).backward()
            adam.step()
            rates.step()

    def loss(self, name: str, lesson: Lesson) -> Any:
        """Mean in nats, a tensor."""
        from torch.nn.functional import cross_entropy

        thinker, talker = self._model.thinker, self._model.talker
        if name == "thinker":
            inner, head, rows = thinker.model.language_model, thinker.lm_head, lesson.rows
        else:
            inner, head, rows = talker.model, talker.codec_head, talker.thinker_to_talker_proj(lesson.rows)
        logits = head(inner(inputs_embeds=rows, use_cache=False).last_hidden_state)
        asked = slice(lesson.first, None)
        return cross_entropy(logits[:, asked].flatten(0, 1), lesson.following[:, asked].flatten())


@dataclass(frozen=True, eq=False)
class Fitted:
    """A checkpoint that knows the language, and fresh lessons for its decoders to be rounded and measured on."""

    checkpoint: Path
    others: Path
    """A bundle of the checkpoint before it was fitted, which has all but the decoders."""
    calibration: Mapping[DecoderName, Lesson]
    measured: Mapping[DecoderName, Lesson]
    excess: Mapping[DecoderName, float]
    """Mean loss on what is measured, over the least there is, in nats."""


@pytest.fixture(scope="session")
def fitted(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Takes about ten seconds."""
    torch = pytest.importorskip("torch")
    language, pupil, threads = Language(), Pupil(tiny.checkpoint()), torch.get_num_threads()
    fitting, calibration, measured = (language.draw(count) for count in (FITTED, CALIBRATED, MEASURED))
    # Sums in another order would learn something else.
    torch.set_num_threads(1)
    for name in DECODERS:
        # The thinker goes first: the talker reads its rows.
        pupil.fit(name, pupil.lesson(name, *fitting))
    torch.set_num_threads(threads)
    asked = {name: pupil.lesson(name, *measured) for name in DECODERS}
    return Fitted(
        checkpoint=pupil.save(tmp_path_factory.mktemp("fitted") / "checkpoint"),
        others=tiny.bundle(),
        calibration={name: pupil.lesson(name, *calibration) for name in DECODERS},
        measured=asked,
        excess={name: pupil.loss(name, lesson).item() - ENTROPY for name, lesson in asked.items()},
    )
