"""The reference's flow and vocoder as ONNX graphs in floats, traced as they are: what ours is measured against."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniDiTConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavDiTModel

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.flow import PREFIX
from omni_edge.export.vocoder import reference_vocoder


class _Evaluation(nn.Module):
    """One evaluation; the voice and everything that hangs on the time point are computed in it, as in the reference."""

    def __init__(self, dit: nn.Module, guided: bool) -> None:
        super().__init__()
        self.dit, self.guided = dit, guided

    def forward(self, noisy: Tensor, codes: Tensor, mel: Tensor, cond: Tensor, time: Tensor) -> Tensor:
        return self.dit(
            hidden_states=noisy,
            condition_vector=mel,
            speaker_embedding=cond.unsqueeze(1).repeat(1, noisy.shape[1], 1),
            quantized_code=codes,
            time_step=time,
            apply_cfg=self.guided,
        )


def trace_flow(checkpoint: Checkpoint, path: Path, frames: int, *, guided: bool) -> dict[str, Tensor]:
    """Write one evaluation of a mel of so many frames; returns inputs for it."""
    config = json.loads((checkpoint.folder / "config.json").read_text())["token2wav_config"]["dit_config"]
    dit = Qwen2_5OmniToken2WavDiTModel._from_config(Qwen2_5OmniDiTConfig(**config), attn_implementation="sdpa")
    missing, _ = dit.load_state_dict(checkpoint.state(PREFIX), strict=False)
    assert not [name for name in missing if "rotary" not in name], missing
    flow = checkpoint.config.flow
    inputs = {
        "noisy": torch.randn(1, frames, flow.mel_bins),
        "codes": torch.randint(0, flow.num_embeds, (1, frames // flow.repeats)),
        "mel": torch.randn(1, 200, flow.mel_bins),
        "cond": torch.randn(1, flow.speaker["enc_emb_dim"]),
        "time": torch.tensor(0.3),
    }
    _trace(_Evaluation(dit.eval(), guided), path, inputs, dynamo=False)
    return inputs


def trace_vocoder(checkpoint: Checkpoint, path: Path, frames: int) -> None:
    """Write the vocoder for a mel [1, frames, bins]."""
    _trace(
        reference_vocoder(checkpoint),
        path,
        {"rows": torch.randn(1, frames, checkpoint.config.vocoder.mel_bins)},
        dynamo=True,
    )


def _trace(module: nn.Module, path: Path, inputs: dict[str, Tensor], *, dynamo: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(inputs.values()), path, input_names=list(inputs), dynamo=dynamo
        )  # fmt: skip
