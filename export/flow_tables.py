"""What the flow graph reads from tables: modulations by time point and one row a voice (FACTS §6.1, §6.2).

All of it is computed in double precision and then rounded. The last bits of float sums depend on how many threads add
them up and where in memory they lie; a bundle must not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniDiTConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import ECAPA_TimeDelayNet

from ..models.manifest import SolverName
from ..models.schedule import solver_times
from .checkpoint import Checkpoint
from .config import FlowConfig
from .flow import PREFIX
from .voices import Voice

TIME_WIDTH = 256
"""Width of the sinusoidal time embedding, a constant of the reference class."""


def flow_tables(
    checkpoint: Checkpoint, voices: dict[str, Voice], schedules: dict[SolverName, tuple[int, ...]], sway: float
) -> Iterator[tuple[str, np.ndarray]]:
    """All tables of the flow, ready for an .npz.

    Args:
        checkpoint: holds the flow.
        voices: by name.
        schedules: step counts (time points) that the tables cover, by solver.
        sway: of the time points.

    Yields:
        times [n] f64, modulations [n, 6·layers + 2, hidden] f32 (per layer: shift, 1 + scale, gate of attention, then
        of the feed-forward; last: 1 + scale, shift of the final norm), speaker.unconditional and speaker.<voice>
        [hidden].
    """
    times = sorted(
        {
            round(time, 12)
            for solver, counts in schedules.items()
            for steps in counts
            for time in solver_times(solver, steps, sway)
        }
    )
    yield "times", np.array(times, np.float64)
    yield "modulations", _modulations(checkpoint, times)
    yield from _speaker_rows(checkpoint, voices)


def _modulations(checkpoint: Checkpoint, times: list[float]) -> np.ndarray:
    embedding = F.silu(_time_embedding(checkpoint, torch.tensor(times, dtype=torch.float32)))
    hidden = checkpoint.config.flow.hidden
    names = [f"transformer_blocks.{layer}.attn_norm.linear" for layer in range(checkpoint.config.flow.layers)]
    table = np.empty((len(times), 6 * len(names) + 2, hidden), np.float32)
    row = 0
    for name in [*names, "norm_out.linear"]:
        weight = checkpoint.tensor(f"{PREFIX}{name}.weight").double()
        bias = checkpoint.tensor(f"{PREFIX}{name}.bias").double()
        values = F.linear(embedding, weight, bias).reshape(len(times), -1, hidden)
        count = values.shape[1]
        values[:, [1, 4] if count == 6 else [0]] += 1
        table[:, row : row + count] = values.numpy()
        row += count
    return table


def _time_embedding(checkpoint: Checkpoint, times: Tensor) -> Tensor:
    """[n] in 0..1 -> [n, hidden]: 256 sinusoids of 1000·t, [sin | cos], then Linear, SiLU, Linear."""
    half = TIME_WIDTH // 2
    scales = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    angles = 1000 * times[:, None] * scales
    # The angles reach 1000, where a float's last bit is 6e-5: rounded as the reference rounds them.
    angles = angles.double()
    x = torch.cat([angles.sin(), angles.cos()], dim=1)
    for index in (0, 2):
        name = f"{PREFIX}time_embed.time_mlp.{index}"
        x = F.linear(x, checkpoint.tensor(f"{name}.weight").double(), checkpoint.tensor(f"{name}.bias").double())
        x = F.silu(x) if index == 0 else x
    return x


@torch.no_grad()
def _speaker_rows(checkpoint: Checkpoint, voices: dict[str, Voice]) -> Iterator[tuple[str, np.ndarray]]:
    """The voice's share of the input projection: ECAPA(ref_mel) and cond through their columns, plus the bias."""
    config = checkpoint.config.flow
    encoder = ECAPA_TimeDelayNet(Qwen2_5OmniDiTConfig(**config.speaker)).eval()
    encoder.load_state_dict(checkpoint.state(f"{PREFIX}input_embed.spk_encoder."))
    encoder.double()
    weight = checkpoint.tensor(f"{PREFIX}input_embed.proj.weight").double()
    bias = checkpoint.tensor(f"{PREFIX}input_embed.proj.bias").double()
    # Columns in the order mel | ECAPA | code | cond.
    ecapa_end = config.mel_bins + config.speaker["enc_dim"]
    ecapa_weight = weight[:, config.mel_bins : ecapa_end]
    cond_weight = weight[:, ecapa_end + config.code_width :]

    def row(voice: Voice) -> np.ndarray:
        vector = encoder(torch.from_numpy(voice.ref_mel)[None].double())[0]
        return (bias + ecapa_weight @ vector + cond_weight @ torch.from_numpy(voice.cond).double()).float().numpy()

    for name, voice in voices.items():
        yield f"speaker.{name}", row(voice)
    # The unconditional branch sees zeros, of which ECAPA does not make zeros.
    first = next(iter(voices.values()))
    nobody = Voice(bos_token=0, cond=np.zeros_like(first.cond), ref_mel=np.zeros_like(first.ref_mel))
    yield "speaker.unconditional", row(nobody)


def check_voice(voice: Voice, config: FlowConfig) -> str | None:
    """What is wrong with a voice for this flow, or None."""
    if voice.cond.shape != (config.speaker["enc_emb_dim"],):
        return f"cond has shape {voice.cond.shape}, expected ({config.speaker['enc_emb_dim']},)"
    if voice.ref_mel.ndim != 2 or voice.ref_mel.shape[1] != config.mel_bins or len(voice.ref_mel) < 5:
        return f"ref_mel has shape {voice.ref_mel.shape}, expected (5 or more, {config.mel_bins})"
    return None
