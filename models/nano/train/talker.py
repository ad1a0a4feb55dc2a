"""Text pieces → codes: the real talker class, small, with a learned table in the place of the thinker's states.

Codes must be bound to the piece that they speak. So two attention heads are shown where to look: at the row of the
piece that is sounding, which flite's word times tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniTalkerConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
    Qwen2_5OmniTalkerForConditionalGeneration,
    apply_rotary_pos_emb,
    repeat_kv,
)

from .averages import Average, Means
from .codec import Codec, load_codec
from .marathon import Marathon, StageOptions
from .muon import Muon
from .pieces import SPECIALS, VOCABULARY
from .utterances import IGNORED, CodeIds, Lesson, TalkerBatch, collate, lessons_of
from .voices import load_voices


@dataclass(frozen=True)
class TalkerShape:
    """Sizes of the talker."""

    codes: int = 1024
    embedding: int = 192  # the thinker's width
    hidden: int = 160
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 448
    mrope: tuple[int, int, int] = (8, 6, 6)


@dataclass(frozen=True)
class TalkerRecipe:
    """How it is trained."""

    batch: int = 16
    rate: float = 3e-3
    guided: tuple[int, ...] = (2, 3)  # layers whose head 0 is shown where to look
    clip: float = 1.0  # norm of all gradients
    guide_weight: float = 0.3
    noise: float = 0.3  # at most this share of the previous codes is replaced, half of them by similar codes


class TalkerStudent(nn.Module):
    """The talker and its stand-in for the thinker."""

    def __init__(self, shape: TalkerShape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.ids = CodeIds(shape.codes)
        self.talker = Qwen2_5OmniTalkerForConditionalGeneration._from_config(
            talker_config(shape), attn_implementation="sdpa"
        )
        self.embed_tokens_text = nn.Embedding(VOCABULARY, shape.embedding)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, module.in_features**-0.5)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.5)

    def rows(self, text: Tensor, codes: Tensor) -> Tensor:
        """Talker inputs of text ids and code ids, both [batch, rows]: [batch, rows, hidden]."""
        mixed = self.embed_tokens_text(text) + self.talker.model.embed_tokens(codes)
        return self.talker.thinker_to_talker_proj(mixed)

    def forward(self, text: Tensor, codes: Tensor, guided: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Logits [batch, rows, codes], and the attention logits [batch, rows, rows] of the guided heads."""
        model = self.talker.model
        hidden = self.rows(text, codes)
        positions = torch.arange(hidden.shape[1]).view(1, 1, -1).expand(3, hidden.shape[0], -1)
        turns = model.rotary_emb(hidden, positions)
        looks = []
        for index, layer in enumerate(model.layers):
            if index in guided:
                looks.append(_look_logits(layer, hidden, turns))
            hidden = layer(hidden, attention_mask=None, position_embeddings=turns)
        return self.talker.codec_head(model.norm(hidden)), looks

    @torch.no_grad()
    def speak(self, pieces: Sequence[Tensor], speakers: Sequence[int], limit: int = 250) -> list[Tensor]:
        """Greedy codes of several texts at once.

        Args:
            pieces: text ids of each, [pieces].
            speakers: of each.
            limit: most codes of one text (50 a second).

        Returns:
            Codes of each text, without the end.
        """
        texts = [
            torch.cat([torch.tensor([SPECIALS[f"voice{who}"]]), ids, torch.tensor([SPECIALS["tts_end"]])])
            for ids, who in zip(pieces, speakers, strict=True)
        ]
        text = torch.full((len(texts), limit + 2), SPECIALS["tts_pad"])
        for row, ids in enumerate(texts):
            text[row, : len(ids)] = ids
        made = torch.full((len(texts), limit + 2), self.ids.pad)
        made[:, 1] = self.ids.start
        cache: Any = None
        ended = torch.full((len(texts),), limit)
        first = 0
        for row in range(1, limit + 1):
            inputs = self.rows(text[:, first : row + 1], made[:, first : row + 1])
            output = self.talker.model(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
            cache, first = output.past_key_values, row + 1
            logits = self.talker.codec_head(output.last_hidden_state[:, -1])
            logits[:, [0, self.ids.start, self.ids.pad, self.ids.mask]] = -1e9
            made[:, row + 1] = logits.argmax(-1)
            ended = torch.where((made[:, row + 1] == self.ids.end) & (ended == limit), row - 1, ended)
            if bool((ended < limit).all()):
                break
        return [codes[2 : 2 + int(end)] for codes, end in zip(made, ended, strict=True)]


def talker_config(shape: TalkerShape) -> Qwen2_5OmniTalkerConfig:
    """The transformers configuration of a shape."""
    ids = CodeIds(shape.codes)
    rope = {"rope_theta": 1e4, "rope_type": "default", "mrope_section": list(shape.mrope)}
    return Qwen2_5OmniTalkerConfig(
        vocab_size=ids.vocabulary,
        embedding_size=shape.embedding,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        rope_parameters=rope,
        max_position_embeddings=4096,
        spatial_merge_size=2,
        pad_token_id=None,
        tts_text_start_token_id=SPECIALS["tts_start"],
        tts_text_end_token_id=SPECIALS["tts_end"],
        tts_text_pad_token_id=SPECIALS["tts_pad"],
        tts_codec_pad_token_id=ids.pad,
        tts_codec_start_token_id=ids.start,
        tts_codec_end_token_id=ids.end,
        tts_codec_mask_token_id=ids.mask,
        audio_token_index=SPECIALS["<|AUDIO|>"],
        audio_start_token_id=SPECIALS["<|audio_bos|>"],
        audio_end_token_id=SPECIALS["<|audio_eos|>"],
        image_token_index=SPECIALS["<|IMAGE|>"],
        video_token_index=SPECIALS["<|VIDEO|>"],
        vision_start_token_id=SPECIALS["<|vision_bos|>"],
        vision_end_token_id=SPECIALS["<|vision_eos|>"],
    )


def _look_logits(layer: Any, hidden: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Masked attention logits of a layer's head 0, as the layer itself will compute them: [batch, rows, rows]."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    shape = (*hidden.shape[:2], -1, attention.head_dim)
    query = attention.q_proj(normed).view(shape).transpose(1, 2)[:, :1]
    key = attention.k_proj(normed).view(shape).transpose(1, 2)[:, :1]
    query, key = apply_rotary_pos_emb(query, key, *turns)
    logits = (query @ repeat_kv(key, 1).transpose(2, 3))[:, 0] * attention.scaling
    future = torch.ones(logits.shape[1:], dtype=torch.bool).triu(1)
    return logits.masked_fill(future, -1e4)


class Confusion:
    """Replaces previous codes, so that the talker learns to go on after its own mistakes."""

    def __init__(self, codec: Codec, ids: CodeIds, near: int = 8) -> None:
        distances = ((codec.centroids[:, None] - codec.centroids[None]) ** 2).sum(-1)
        self._near = torch.from_numpy(np.argsort(distances, axis=1)[:, 1 : near + 1] + 1)
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


def talker_losses(student: TalkerStudent, batch: TalkerBatch, codes: Tensor, recipe: TalkerRecipe) -> dict[str, Tensor]:
    """Cross-entropy of the next code and of where the guided heads look, and how often both are right."""
    logits, looks = student(batch.text, codes, recipe.guided)
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


def train_talker(options: StageOptions, shape: TalkerShape | None = None, recipe: TalkerRecipe | None = None) -> None:
    """Train the talker for a sitting; its state is `<folder>/talker.pt`."""
    shape, recipe = shape or TalkerShape(), recipe or TalkerRecipe()
    codec = load_codec(options.folder / "codec.safetensors")
    voices = load_voices(options.folder / "voices")
    lessons = lessons_of(voices, codec, held_out=False)
    # Sentences of nearly the same length alternate at random, or a neighbourhood would always be the same batch.
    order = np.random.default_rng(options.seed)
    lessons.sort(key=lambda item: len(item.codes) + 6 * order.random())
    test = lessons_of(voices, codec, held_out=True)
    student = TalkerStudent(shape, options.seed)
    confuse = Confusion(codec, student.ids)
    average, optimizer = Average(student), Muon(_named(student), recipe.rate)
    marathon, means = Marathon("talker", options), Means()
    saved = marathon.load()
    if saved is not None:
        for name, part in (("model", student), ("average", average), ("optimizer", optimizer)):
            if name in saved:  # the repository keeps no momenta
                part.load_state_dict(saved[name])
    shadow = TalkerStudent(shape, options.seed)
    while not marathon.over:
        batch = collate(draw(lessons, recipe.batch, (options.seed, marathon.step)), student.ids)
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


def _named(student: TalkerStudent) -> list[tuple[str, nn.Parameter]]:
    return list(student.named_parameters())


def _state(student: TalkerStudent, average: Average, optimizer: Muon) -> dict[str, Any]:
    return {"model": student.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}


@torch.no_grad()
def measure_talker(student: TalkerStudent, test: Sequence[Lesson], recipe: TalkerRecipe) -> dict[str, float]:
    """The training figures on held-out sentences with their true previous codes."""
    means = Means()
    for first in range(0, len(test), recipe.batch):
        batch = collate(test[first : first + recipe.batch], student.ids)
        means.add(talker_losses(student, batch, batch.codes, recipe))
    return {f"held_{name}": value for name, value in means.take().items()}
