"""Codes → mel: the real DiT class, small, trained by flow matching under the class's own block mask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniDiTConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavDiTModel

from .averages import Average, Means
from .codec import Codec, load_codec
from .marathon import Marathon, StageOptions
from .muon import Muon
from .voices import COND, FLOOR, HOP, MELS, UNIT, VoiceCache, cond_vector, load_voices, reference_mel


@dataclass(frozen=True)
class FlowShape:
    """Sizes of the flow; the blocks and their looks are the real model's, on fewer layers."""

    codes: int = 2048
    hidden: int = 160
    layers: int = 5
    heads: int = 4
    code_width: int = 96
    look_ahead: tuple[int, ...] = (2,)
    look_back: tuple[int, ...] = (0, 4)


@dataclass(frozen=True)
class FlowRecipe:
    """How it is trained."""

    batch: int = 8
    frames: int = 120  # of a training window: 1.2 s, five blocks
    reference: int = 96  # frames of the reference mel, drawn anew for each window
    rate: float = 2e-3
    drop: float = 0.1  # share of windows without code, speaker and reference: what guidance subtracts
    clip: float = 1.0  # norm of all gradients
    at_start: float = 0.3  # share of windows at time 0, from where one Euler step gives the mean of all mels


def flow_config(shape: FlowShape) -> Qwen2_5OmniDiTConfig:
    """The transformers configuration of a shape."""
    return Qwen2_5OmniDiTConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        head_dim=shape.hidden // shape.heads,
        ff_mult=2,
        emb_dim=shape.code_width,
        num_embeds=shape.codes,
        block_size=24,
        look_ahead_layers=list(shape.look_ahead),
        look_backward_layers=list(shape.look_back),
        repeats=2,
        mel_dim=MELS,
        dropout=0.0,
        enc_emb_dim=COND,
        enc_dim=16,
        enc_channels=[32, 32, 32, 32, 96],
        enc_attention_channels=16,
        enc_se_channels=16,
    )


def new_flow(shape: FlowShape, seed: int, codec: Codec | None = None) -> Qwen2_5OmniToken2WavDiTModel:
    """A flow ready to learn.

    Three things the class's own weights lack: blocks that begin as the identity, heads that look one frame ahead or
    back (both frames of a code carry the same embedding, so without a neighbour they cannot tell which one they are),
    and code embeddings that already lie as the centroids do.
    """
    torch.manual_seed(seed)
    model = Qwen2_5OmniToken2WavDiTModel._from_config(flow_config(shape), attn_implementation="sdpa")
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d):
            module.reset_parameters()
    for index, block in enumerate(model.transformer_blocks):
        nn.init.zeros_(block.attn_norm.linear.weight)  # type: ignore[union-attr, arg-type]
        _look(block.attn, 1 if index % 2 == 0 else -1)  # type: ignore[union-attr, arg-type]
    nn.init.zeros_(model.norm_out.linear.weight)
    if codec is not None:
        with torch.no_grad():
            model.proj_out.bias.copy_(torch.from_numpy(codec.means.mean(0)))
            model.text_embed.codec_embed.weight.copy_(_principal(codec, shape.code_width))
    return model


@torch.no_grad()
def _look(attention: Any, offset: int, strength: float = 4.0) -> None:
    """Biases by which head 0, the only one with positions, begins by looking `offset` frames ahead."""
    width = attention.to_q.bias.shape[0] // attention.heads
    speeds = 10000.0 ** (-torch.arange(0, width, 2) / width)[:3]  # radians a frame of the three fastest pairs
    attention.to_q.weight[:width] *= 0.1
    attention.to_k.weight[:width] *= 0.1
    attention.to_q.bias[0:6:2] = strength
    attention.to_k.bias[0:6:2] = strength * torch.cos(offset * speeds)
    attention.to_k.bias[1:6:2] = -strength * torch.sin(offset * speeds)


def _principal(codec: Codec, width: int) -> Tensor:
    """Centroids along their principal axes at unit scale: [codes + 1, width]; row 0, "no code", is zero."""
    table = torch.from_numpy(codec.centroids)  # around each speaker's mean, which the speaker vector tells
    axes = torch.linalg.svd(table - table.mean(0), full_matrices=False).Vh[:width]
    rows = (table - table.mean(0)) @ axes.T
    return torch.cat([torch.zeros(1, len(axes)), rows / rows[:, : width // 4].std()])


class Windows:
    """Coded training material of all voices; sentences follow one another, so windows may cross their borders."""

    def __init__(self, voices: Sequence[VoiceCache], codec: Codec) -> None:
        self.mels = [voice.mel() for voice in voices]
        self.codes = [_codes(codec, voice, index) for index, voice in enumerate(voices)]
        self._starts, self._barred = [], []
        for voice, mel in zip(voices, self.mels, strict=True):
            barred = np.zeros(len(mel) + 1, np.int64)
            for utterance in voice.utterances:
                if utterance.held_out:
                    barred[utterance.start // HOP + 1 : (utterance.start + utterance.samples) // HOP + 1] = 1
            self._barred.append(np.cumsum(barred))
            self._starts.append(np.array([u.start // UNIT for u in voice.utterances if not u.held_out]))

    def draw(self, recipe: FlowRecipe, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mels [batch, frames, 80], codes [batch, frames / 2], cond [batch, COND], references [batch, frames, 80]."""
        rng = np.random.default_rng(key)
        mels, codes, conds, references = [], [], [], []
        for row in range(recipe.batch):
            voice = row % len(self.mels)
            first = self._place(rng, voice, recipe.frames)
            mels.append(np.asarray(self.mels[voice][first : first + recipe.frames], dtype=np.float32))
            codes.append(self.codes[voice][first // 2 : (first + recipe.frames) // 2])
            other = self._place(rng, voice, recipe.reference)
            references.append(np.asarray(self.mels[voice][other : other + recipe.reference], dtype=np.float32))
            conds.append(cond_vector(voice))
        return tuple(torch.from_numpy(np.stack(part)) for part in (mels, codes, conds, references))  # type: ignore[return-value]

    def _place(self, rng: np.random.Generator, voice: int, frames: int) -> int:
        """First frame of a window that touches no held-out sentence; every other one opens a sentence."""
        barred, starts = self._barred[voice], self._starts[voice]
        while True:
            first = 2 * int(starts[rng.integers(len(starts))] + rng.integers(2) * rng.integers(100))
            if first + frames < len(barred) and barred[first + frames] == barred[first]:
                return first


def _codes(codec: Codec, voice: VoiceCache, index: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return codec.encode(np.asarray(voice.mel(), dtype=np.float32), index)


def flow_loss(
    model: Qwen2_5OmniToken2WavDiTModel, batch: tuple[Tensor, Tensor, Tensor, Tensor], recipe: FlowRecipe, seed: int
) -> Tensor:
    """Mean squared error of the velocity from noise to mel, at random times."""
    mel, codes, cond, reference = batch
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(mel.shape, generator=generator)
    chances = torch.rand(3, len(mel), generator=generator)
    time = torch.where(chances[0] < recipe.at_start, 0.0, chances[1])
    keep = (chances[2] >= recipe.drop).float()
    between = noise + time[:, None, None] * (mel - noise)
    velocity = model(
        hidden_states=between,
        condition_vector=reference * keep[:, None, None],
        speaker_embedding=(cond * keep[:, None])[:, None].expand(-1, mel.shape[1], -1),
        quantized_code=codes * keep.long()[:, None],
        time_step=time,
        apply_cfg=False,
    )
    return (velocity - (mel - noise)).square().mean()


@torch.no_grad()
def euler(
    model: Qwen2_5OmniToken2WavDiTModel, codes: Tensor, cond: Tensor, reference: Tensor, steps: int, seed: int = 0
) -> Tensor:
    """Mel of codes by Euler's method at the class's sway times, without guidance.

    Args:
        model: the flow.
        codes: [1, codes].
        cond: speaker vector [1, COND].
        reference: reference mel [1, frames, 80].
        steps: evaluations.
        seed: of the noise.

    Returns:
        [1, 2 * codes, 80].
    """
    mel = torch.randn(1, 2 * codes.shape[1], MELS, generator=torch.Generator().manual_seed(seed))
    even = torch.linspace(0, 1, steps + 1)
    times = even - (torch.cos(math.pi / 2 * even) - 1 + even)
    for now, then in pairwise(times):
        velocity = model(
            hidden_states=mel,
            condition_vector=reference,
            speaker_embedding=cond[:, None].expand(-1, mel.shape[1], -1),
            quantized_code=codes,
            time_step=now,
            apply_cfg=False,
        )
        mel = mel + (then - now) * velocity
    return mel.clamp(min=FLOOR)


class FlowTest:
    """Held-out sentences of each voice: codes, speaker and true mel."""

    def __init__(self, voices: Sequence[VoiceCache], codec: Codec, each: int = 8) -> None:
        self.codec = codec
        self.clips: list[tuple[int, str, np.ndarray[Any, Any], Tensor]] = []
        self.speakers = [
            (torch.from_numpy(cond_vector(index))[None], torch.from_numpy(reference_mel(voice))[None])
            for index, voice in enumerate(voices)
        ]
        for index, voice in enumerate(voices):
            mel = voice.mel()
            for utterance in [u for u in voice.utterances if u.held_out][:each]:
                frames = mel[utterance.start // HOP : (utterance.start + utterance.samples) // HOP].astype(np.float32)
                self.clips.append((index, utterance.text, codec.encode(frames, index), torch.from_numpy(frames)))

    def mels(self, model: Qwen2_5OmniToken2WavDiTModel, steps: int) -> Iterator[Tensor]:
        """What the flow makes of each clip's codes: [frames, 80]."""
        for index, _, codes, _ in self.clips:
            yield euler(model, torch.from_numpy(codes)[None], *self.speakers[index], steps)[0]

    def measure(self, model: Qwen2_5OmniToken2WavDiTModel) -> dict[str, float]:
        """Mel L1 of 1, 2 and 4 Euler steps, and of the centroids alone."""
        true = torch.cat([mel for *_, mel in self.clips])
        alone = np.concatenate([self.codec.decode(codes, index) for index, _, codes, _ in self.clips])
        made = {f"l1_{steps}": torch.cat(list(self.mels(model, steps))) for steps in (1, 2, 4)}
        made["l1_centroid"] = torch.from_numpy(alone)
        return {name: round(float((mel - true).abs().mean()), 4) for name, mel in made.items()}


def train_flow(options: StageOptions, shape: FlowShape | None = None, recipe: FlowRecipe | None = None) -> None:
    """Train the flow for a sitting; its state is `<folder>/flow.pt`."""
    shape, recipe = shape or FlowShape(), recipe or FlowRecipe()
    codec = load_codec(options.folder / "codec.safetensors")
    voices = load_voices(options.folder / "voices")
    windows, test = Windows(voices, codec), FlowTest(voices, codec)
    model, shadow = new_flow(shape, options.seed, codec), new_flow(shape, options.seed)
    average = Average(model)
    # The table's rows are no directions to be made equal: the optimiser knows such tables by this name.
    named = [(name.replace("codec_embed", "embed_tokens"), value) for name, value in model.named_parameters()]
    optimizer = Muon(named, recipe.rate)
    marathon, means = Marathon("flow", options), Means()
    saved = marathon.load()
    if saved is not None:
        for name, part in (("model", model), ("average", average), ("optimizer", optimizer)):
            if name in saved:  # the repository keeps no momenta
                part.load_state_dict(saved[name])
    while not marathon.over:
        batch = windows.draw(recipe, (options.seed, marathon.step))
        loss = flow_loss(model, batch, recipe, options.seed + 1_000_003 * marathon.step)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step(marathon.rate(fall=0.7))
        average.update(model, marathon.step)
        means.add({"loss": loss, "norm": norm})
        marathon.step += 1
        if marathon.step % 50 == 0:
            marathon.log(**means.take())
        if marathon.step % 500 == 0 or marathon.over:
            shadow.load_state_dict(average.state_dict())
            marathon.log(**test.measure(shadow))
        marathon.save_if_due(_state(model, average, optimizer))
    marathon.finish(_state(model, average, optimizer))


def _state(model: nn.Module, average: Average, optimizer: Muon) -> dict[str, Any]:
    return {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
