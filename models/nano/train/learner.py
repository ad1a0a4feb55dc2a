"""One training step of the whole Thinker, and how well it answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..world.lexicon import COLOURS, SHAPES, SIZES
from ..world.words_wrong import word_error_rate
from .encoder_stage import NO_LABEL, PhoneHead, roughen
from .examples import Example
from .pieces import SPECIALS, decode
from .scenes import KINDS, MOST, Seen
from .sounds import MEL_LOW, MEL_STEP
from .thinker import audio_hidden, audio_pooled, audio_rows, new_thinker, text_logits, vision_hidden, vision_rows

SOUND_GROUP = 16
"""Sounds of similar length that go through the audio tower together."""
COUNTED = 6
"""What the loss of all counts is divided by, so that it weighs like one of the token labels."""
LABEL_KINDS = (len(SHAPES) + 1, len(COLOURS) + 1, len(SIZES) + 1)
PLACEHOLDERS = tuple(SPECIALS[name] for name in ("<|AUDIO|>", "<|IMAGE|>", "<|VIDEO|>"))
LONGEST_ANSWER = 24
"""Tokens."""


class TokenHead(nn.Module):
    """What each picture token shows: shape, colour, size, and whether a thing's centre; thrown away in the end.

    A thing lies on up to four tokens. Who counts things of one kind needs one token of each; and all tokens together
    tell how many of each kind there are, or counting on their answers alone would take too long to learn.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, sum(LABEL_KINDS))
        self.centre = nn.Linear(width, 2)
        self.counts = nn.Linear(width, KINDS * (MOST + 1))

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        """[..., hidden] to logits of each kind."""
        normed = self.norm(rows)
        return *self.kinds(normed).split(LABEL_KINDS, dim=-1), self.centre(normed)


@dataclass(frozen=True)
class Media:
    """Rows that take the place of placeholders, and what the auxiliary losses need."""

    audio: Tensor | None
    """[all audio tokens of the batch, hidden]"""
    vision: Tensor | None
    """[all picture tokens of the batch, hidden]"""
    phone_loss: Tensor
    label_loss: Tensor


class Learner:
    """The Thinker with its throw-away heads."""

    def __init__(self, seed: int) -> None:
        self.thinker = new_thinker(seed)
        inner = self.thinker.model
        self.audio, self.vision = inner.audio_tower, inner.visual
        self.phone_head = PhoneHead(self.audio.config.d_model)
        self.token_head = TokenHead(self.vision.config.out_hidden_size)
        self.embed = inner.language_model.embed_tokens

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """All of the Thinker and of the heads."""
        parts = (("", self.thinker), ("phone_head.", self.phone_head), ("token_head.", self.token_head))
        return [(prefix + name, value) for prefix, part in parts for name, value in part.named_parameters()]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {"thinker": self.thinker, "phone_head": self.phone_head, "token_head": self.token_head}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint of this class."""
        self.thinker.load_state_dict(state["thinker"])
        self.phone_head.load_state_dict(state["phone_head"])
        self.token_head.load_state_dict(state["token_head"])

    def losses(self, batch: Sequence[Example], rng: Random, *, hearing_learns: bool) -> dict[str, Tensor]:
        """Answer, phone and label losses of a batch.

        Args:
            batch: examples of similar length.
            rng: for the changes that sounds undergo.
            hearing_learns: whether the audio tower gets gradients from the answers and the phones.
        """
        media = self.media(batch, rng, hearing_learns=hearing_learns)
        logits, wanted = self.answers(batch, media)
        return {
            "answer": F.cross_entropy(logits, wanted),
            "phone": media.phone_loss,
            "label": media.label_loss,
            "tokens_right": (logits.argmax(1) == wanted).float().mean(),
        }

    def answers(self, batch: Sequence[Example], media: Media) -> tuple[Tensor, Tensor]:
        """Logits of all answer tokens, [n, vocabulary], and the right ids, [n]."""
        ids, positions = _padded(batch)
        asked = torch.zeros(ids.shape, dtype=torch.bool)
        for row, one in enumerate(batch):
            asked[row, : len(one.ids)] = torch.from_numpy(one.asked)
        return text_logits(self.thinker, self._embed(ids, media), positions, asked), ids.roll(-1, 1)[asked]

    @torch.no_grad()
    def states(self, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Input embeddings and last hidden states after the final norm, both [B, T, hidden], padded on the right."""
        ids, positions = _padded(batch)
        embeds = self._embed(ids, self.media(batch))
        output = self.thinker.model.language_model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
        return embeds, output.last_hidden_state

    def _embed(self, ids: Tensor, media: Media) -> Tensor:
        audio, image, video = PLACEHOLDERS
        embeds = self.embed(ids)
        if media.audio is not None:
            embeds = embeds.masked_scatter((ids == audio)[:, :, None], media.audio)
        if media.vision is not None:
            embeds = embeds.masked_scatter(((ids == image) | (ids == video))[:, :, None], media.vision)
        return embeds

    def media(self, batch: Sequence[Example], rng: Random | None = None, *, hearing_learns: bool = False) -> Media:
        """Run both towers over everything in the batch; sounds stay as they are without `rng`."""
        nothing = torch.zeros(())
        audio, phone_loss = (
            self._hear(batch, rng, learns=hearing_learns) if any(one.mels for one in batch) else (None, nothing)
        )
        seen = [one.seen for one in batch if one.seen is not None]
        if not seen:
            return Media(audio, None, phone_loss, nothing)
        patches = torch.from_numpy(np.concatenate([one.patches for one in seen]))
        rows = vision_rows(self.vision, vision_hidden(self.vision, patches))
        labels, counts = token_labels(seen), np.concatenate([one.counts for one in seen])
        label_loss = self.label_losses(rows, labels, counts)[0]
        return Media(audio, rows.flatten(0, 1), phone_loss, label_loss)

    def label_losses(self, rows: Tensor, labels: Sequence[np.ndarray], counts: np.ndarray) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the token labels, and the share of filled tokens with all of them right."""
        logits = self.token_head(rows.flatten(0, 1))
        wanted = [torch.from_numpy(label).flatten() for label in labels]
        loss = sum(F.cross_entropy(guess, label) for guess, label in zip(logits, wanted, strict=True))
        counted = self.token_head.counts(self.token_head.norm(rows.mean(1))).unflatten(1, (KINDS, MOST + 1))
        # Most kinds are not there at all: a sum, of which a few terms matter.
        surprise = F.cross_entropy(counted.flatten(0, 1), torch.from_numpy(counts).flatten(), reduction="none")
        loss = loss + surprise.view(-1, KINDS).sum(1).mean() / COUNTED
        right = torch.stack([guess.argmax(1) == label for guess, label in zip(logits, wanted, strict=True)]).all(0)
        return loss, right[wanted[0] > 0].float().mean()  # pyright: ignore

    def _hear(self, batch: Sequence[Example], rng: Random | None, *, learns: bool) -> tuple[Tensor, Tensor]:
        mels = [mel for one in batch for mel in one.mels]
        phones = [labels for one in batch for labels in one.phones]
        order = sorted(range(len(mels)), key=lambda index: len(mels[index]))
        rows: list[Tensor] = [torch.empty(0)] * len(mels)
        loss, count = torch.zeros(()), 0
        for start in range(0, len(order), SOUND_GROUP):
            group = order[start : start + SOUND_GROUP]
            frames = torch.tensor([len(mels[index]) for index in group])
            padded = torch.zeros(len(group), int(frames.max()), 128)
            labels = torch.full((len(group), (int(frames.max()) - 1) // 2 + 1), NO_LABEL)
            for row, index in enumerate(group):
                values = torch.from_numpy(mels[index]).float() * MEL_STEP + MEL_LOW
                padded[row, : len(values)] = values if rng is None else roughen(values, rng)
                labels[row, : len(phones[index])] = torch.from_numpy(phones[index].astype(np.int64))
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                hidden = audio_hidden(self.audio, padded, frames)
            if learns:
                known = int((labels != NO_LABEL).sum())
                guess = self.phone_head(hidden)[0].flatten(0, 1)
                loss = loss + F.cross_entropy(guess, labels.flatten(), ignore_index=NO_LABEL, reduction="sum")
                count += known
            projected = audio_rows(self.audio, audio_pooled(hidden))
            tokens = (((frames - 1) // 2 + 1 - 2) // 2 + 1).tolist()
            for row, index in enumerate(group):
                rows[index] = projected[row, : tokens[row]]
        return torch.cat(rows), loss / max(1, count)

    @torch.no_grad()
    def right(self, batch: Sequence[Example]) -> list[bool]:
        """Whether greedy decoding would give each last answer exactly."""
        media = self.media(batch)
        logits, wanted = self.answers(batch, media)
        correct = (logits.argmax(1) == wanted).tolist()
        results = []
        for one in batch:
            asked = np.flatnonzero(one.asked)
            mine, correct = correct[: len(asked)], correct[len(asked) :]
            results.append(all(ok for ok, place in zip(mine, asked, strict=True) if place >= one.prompt - 1))
        return results

    @torch.no_grad()
    def write(self, one: Example) -> str:
        """Greedy answer to the last question."""
        media = self.media([one])
        ids, positions = torch.from_numpy(one.ids[: one.prompt])[None], torch.from_numpy(one.positions)[:, None]
        positions = positions[:, :, : one.prompt]
        answer: list[int] = []
        last = torch.zeros(1, one.prompt, dtype=torch.bool)
        while len(answer) < LONGEST_ANSWER:
            last = torch.zeros(ids.shape, dtype=torch.bool)
            last[0, -1] = True
            token = int(text_logits(self.thinker, self._embed(ids, media), positions, last).argmax())
            if token == SPECIALS["<|im_end|>"]:
                break
            answer.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
            positions = torch.cat([positions, positions.max().expand(3, 1, 1) + 1], 2)
        return decode(answer)


def token_labels(seen: Sequence[Seen]) -> list[np.ndarray]:
    """Shapes, colours, sizes and centres, [pictures, 16] each, as `Learner.label_losses` takes them."""
    kinds = ("shapes", "colours", "sizes", "centres")
    return [np.concatenate([getattr(one, kind) for one in seen]) for kind in kinds]


def _padded(batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and positions [3, B, T], padded on the right."""
    longest = max(len(one.ids) for one in batch)
    ids = torch.full((len(batch), longest), SPECIALS["<|endoftext|>"])
    positions = torch.zeros(3, len(batch), longest, dtype=torch.long)
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
        positions[:, row, : len(one.ids)] = torch.from_numpy(one.positions)
    return ids, positions


def accuracies(learner: Learner, tests: Sequence[Example]) -> dict[str, float]:
    """Share of exact answers by skill, typed and spoken apart."""
    order = sorted(tests, key=lambda one: len(one.ids))
    scores = defaultdict(list)
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        for one, ok in zip(batch, learner.right(batch), strict=True):
            kind = one.skill
            if kind == "watch":
                kind = "beep" if one.seen is not None and one.seen.beep is not None else "motion"
            scores[f"{kind}_{'spoken' if one.spoken else 'typed'}"].append(ok)
    return {name: sum(score) / len(score) for name, score in sorted(scores.items())}


def heard_wrong(learner: Learner, tests: Sequence[Example]) -> float:
    """Word error rate of greedy answers."""
    return word_error_rate((one.turn.answer, learner.write(one)) for one in tests)
