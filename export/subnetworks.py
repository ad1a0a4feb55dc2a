"""The six subnetworks: how each is written and how each is checked. One function a subnetwork."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniBigVGANConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavBigVGANModel

from ..models.manifest import SubnetworkName
from . import inputs
from .audio_encoder import audio_encoder
from .checkpoint import Checkpoint, load_weights
from .config import DecoderConfig
from .decoder import TALKER, THINKER, DecoderNames, decoder_graph
from .flow import flow
from .graphs import Sizes, Tick, export_graph, open_graph, relative_error, save_graph, validate_graph
from .reference import decoder_reference
from .vision_encoder import vision_encoder
from .vocoder import PREFIX as VOCODER
from .vocoder import vocoder_graph


@dataclass(frozen=True)
class Written:
    """What an export left in the folder, and how far it is from the checkpoint (relative to the largest output)."""

    graph: str
    files: tuple[str, ...]
    error: float


Export = Callable[[Checkpoint, Path, Tick], Written]


def export_audio_encoder(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """Trace at a full chunk and a tail; check a single short clip and a tail of one frame."""
    full = 2 * checkpoint.config.audio.window
    return _traced(
        "audio_encoder",
        folder,
        tick,
        audio_encoder(checkpoint),
        inputs.AudioInputs(checkpoint.config),
        {"chunks": 3, "frames": full, "tail": 37},
        [{"chunks": 1, "frames": 40, "tail": 37}, {"chunks": 2, "frames": full, "tail": 1}],
    )


def export_vision_encoder(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """Trace at a clip with short windows; check one window, and more frames in another shape."""
    return _traced(
        "vision_encoder",
        folder,
        tick,
        vision_encoder(checkpoint),
        inputs.VisionInputs(checkpoint.config),
        {"time": 2, "rows": 10, "columns": 14},
        [{"time": 1, "rows": 4, "columns": 4}, {"time": 3, "rows": 6, "columns": 20}],
    )


def export_flow(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """Trace with guidance; check without, at one block, and at an incomplete last block."""
    block = checkpoint.config.flow.block
    return _traced(
        "flow",
        folder,
        tick,
        flow(checkpoint),
        inputs.FlowInputs(checkpoint.config),
        {"conditions": 2, "blocks": 3, "frames": 3 * block - 12},
        [
            {"conditions": 1, "blocks": 1, "frames": block},
            {"conditions": 2, "blocks": 5, "frames": 5 * block - 10},
        ],
    )


def export_vocoder(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """Build by hand; check against the reference class."""
    path = folder / "vocoder.onnx"
    save_graph(vocoder_graph(checkpoint), path, tick)
    config = checkpoint.config.vocoder
    reference = Qwen2_5OmniToken2WavBigVGANModel(
        Qwen2_5OmniBigVGANConfig(
            mel_dim=config.mel_bins,
            upsample_initial_channel=config.channels,
            upsample_rates=config.upsample_rates,
            upsample_kernel_sizes=config.upsample_kernels,
            resblock_kernel_sizes=config.kernels,
            resblock_dilation_sizes=config.dilations,
        )
    ).eval()
    load_weights(reference, checkpoint.state(VOCODER), checkpoint)
    declaration = inputs.VocoderInputs(checkpoint.config)
    error = validate_graph(path, reference, declaration, [{"frames": 3}, {"frames": 40}])
    return _written(path, error)


def export_thinker(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """Build by hand; check whole, chunked and stepwise against a plain decoder."""
    return _decoder("thinker", checkpoint, folder, tick, checkpoint.config.thinker, THINKER)


def export_talker(checkpoint: Checkpoint, folder: Path, tick: Tick) -> Written:
    """As the thinker, with the projection of its input rows inside."""
    return _decoder("talker", checkpoint, folder, tick, checkpoint.config.talker, TALKER)


EXPORTS: dict[SubnetworkName, Export] = {
    "audio_encoder": export_audio_encoder,
    "vision_encoder": export_vision_encoder,
    "thinker": export_thinker,
    "talker": export_talker,
    "flow": export_flow,
    "vocoder": export_vocoder,
}


def _traced(
    name: str,
    folder: Path,
    tick: Tick,
    module: nn.Module,
    declaration: inputs.GraphInputs,
    sizes: Sizes,
    others: Sequence[Sizes],
) -> Written:
    path = folder / f"{name}.onnx"
    export_graph(module, declaration, sizes, path, tick)
    return _written(path, validate_graph(path, module, declaration, others))


def _decoder(
    name: str, checkpoint: Checkpoint, folder: Path, tick: Tick, config: DecoderConfig, names: DecoderNames
) -> Written:
    path = folder / f"{name}.onnx"
    save_graph(decoder_graph(checkpoint, config, names), path, tick)
    return _written(path, _validate_decoder(path, checkpoint, config, names))


@torch.no_grad()
def _validate_decoder(path: Path, checkpoint: Checkpoint, config: DecoderConfig, names: DecoderNames) -> float:
    """Run 12 rows as 5 + 1 + 6 on the graph, its cache fed back, against all 12 at once in torch."""
    steps, capacity, talker = (5, 1, 6), 16, int(names is TALKER)
    declaration = inputs.DecoderInputs(checkpoint.config, config.layers)
    whole = inputs.sample(declaration, {"rows": sum(steps), "past": 0, "capacity": capacity, "talker": talker})
    hidden, logits = decoder_reference(checkpoint, config, names, whole["rows"][0], whole["positions"][:, 0])
    session = open_graph(path)
    outputs = [output.name for output in session.get_outputs()]
    feeds = inputs.arrays(whole)
    worst, past = 0.0, 0
    for count in steps:
        stop = past + count
        feeds["rows"] = whole["rows"][:, past:stop].numpy()
        feeds["positions"] = whole["positions"][:, :, past:stop].numpy()
        feeds["last_index"] = np.array([stop - 1], np.int32)
        feeds["total"] = np.array(stop, np.int32)
        results = dict(zip(outputs, map(np.asarray, session.run(None, feeds)), strict=True))
        what = f"{path.name}, {count} rows after {past}"
        worst = max(worst, relative_error(results.pop("hidden")[0], hidden[past:stop].numpy(), what))
        worst = max(worst, relative_error(results.pop("logits")[0], logits[stop - 1].numpy(), f"{what}, logits"))
        feeds.update({key.replace("present", "past"): value for key, value in results.items()})
        past = stop
    return worst


def _written(path: Path, error: float) -> Written:
    data = path.with_name(f"{path.name}.data")
    return Written(path.name, (path.name, data.name) if data.exists() else (path.name,), error)


def parameter_count(path: Path) -> int:
    """How many weights a graph holds, its constants included."""
    model = ir.load(path)
    return sum(value.const_value.size for value in model.graph.initializers.values() if value.const_value is not None)
