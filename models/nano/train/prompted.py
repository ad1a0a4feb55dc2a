"""What the talker reads of a conversation: the thinker's rows of the prompt and of the reply (FACTS §5).

A row is the thinker's embedding plus its last hidden state. nano's hidden states are sixteen times as large as its
embeddings, and they tell what comes next rather than what is being said. So a checkpoint is written with the residual
stream scaled up and the final norm scaled down (checkpoint.py), which changes nothing that the thinker does, and leaves
the talker a row that is mostly the text piece itself. It may then learn while the thinker still does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor

from ..world.grammar import Item, Turn, items
from .examples import Example, Speech, example
from .learner import PLACEHOLDERS, Learner
from .utterances import Lesson

STREAM = 8.0
"""Factor of the residual stream, and so of the embeddings."""
HIDDEN = 0.1
"""Factor of the final norm's weight, and so of the last hidden state."""
KNOWN_ANSWERS = 40_000
"""Conversations that are drawn to find some for each answer."""
SAME_ANSWER = 24
"""Conversations kept for one answer."""
OWN_QUESTION = 0.6
"""How often a text is the answer to a question of the grammar, if there is one; else it is what was to be said."""


@dataclass(frozen=True)
class Prompted:
    """A conversation up to and with its reply, as the talker gets it."""

    prompt: Tensor
    """[P, hidden]"""
    reply: Tensor
    """[pieces, hidden]"""
    positions: Tensor
    """int [3, P + 2]: of the prompt, the voice and the reply's first piece."""


def conversations(seed: int, ring: int) -> Mapping[str, list[Item]]:
    """Conversations of the training half by their answer."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in islice(items("train", seed, ring), KNOWN_ANSWERS):
        known = found[item.turns[-1].answer]
        if len(known) < SAME_ANSWER:
            known.append(item)
    return found


class Prompter:
    """Puts lessons into conversations and lets the thinker read them."""

    def __init__(self, learner: Learner, speech: Speech | None, known: Mapping[str, list[Item]]) -> None:
        self.learner = learner
        self._speech = speech
        self._known = known

    def __call__(self, lessons: Sequence[Lesson], rng: Random) -> list[Prompted]:
        """What the talker reads of a random conversation for each lesson."""
        return states(self.learner, [self._example(lesson.text, rng) for lesson in lessons])

    def _example(self, text: str, rng: Random) -> Example:
        known = self._known.get(text, ())
        if known and rng.random() < OWN_QUESTION:
            item = rng.choice(known)
        else:
            item = Item("hear", (Turn(f"{rng.choice(('say', 'write'))} {text}", text),), "")
        return example(item, rng, self._speech, 0.5)


@torch.no_grad()
def states(learner: Learner, batch: Sequence[Example]) -> list[Prompted]:
    """The talker's rows of some conversations that end in their reply."""
    embeds, hidden = learner.states(batch)
    found = []
    for row, one in enumerate(batch):
        ids = torch.from_numpy(one.ids)
        media = torch.isin(ids, torch.tensor(PLACEHOLDERS))[:, None]
        rows = (STREAM * embeds[row, : len(ids)]).masked_fill(media, 0.0) + HIDDEN * hidden[row, : len(ids)]
        # The reply is followed by its end and a line break, neither of which is spoken.
        prompt, end = one.prompt, len(ids) - 2
        found.append(Prompted(rows[:prompt], rows[prompt:end], torch.from_numpy(one.positions)[:, : prompt + 2]))
    return found
