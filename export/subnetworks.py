"""The six subnetworks: how each is written and how each is checked. One function a subnetwork."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from ..models.manifest import PROMPT, SubnetworkName
from ..quant.matrices import Packer, Rounding
from . import inputs
from .audio_encoder import audio_encoder
from .checkpoint import Checkpoint
from .decoder import DecoderName, decoder_graph, decoder_of
from .flow import flow
from .flow_graph import flow_graph
from .graphs import Sizes, Tick, export_graph, finish, open_graph, save_graph, tolerance, validate_graph
from .reference import Reference
from .validation import validate_decoder
from .vision_encoder import vision_encoder
from .vocoder import reference_vocoder, run_parts, vocoder_parts, whole_vocoder
from .vocoder_bytes import byte_parts
from .vocoder_bytes_run import run_byte_parts
from .vocoder_rounding import CHECKED_FRAMES, corrected_vocoder, input_bytes, validate_parts
from .voices import read_voices


@dataclass(frozen=True)
class Written:
    """What an export left in the folder, and how far it is from the checkpoint (relative to the largest output)."""

    graph: str
    files: tuple[str, ...]
    error: float


WRITING = 0.7
"""Share of a decoder's step that is reading, rounding and writing; the rest is validation."""
Export = Callable[[Checkpoint, Path, Rounding | None, Tick], Written]


def export_audio_encoder(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """Trace at a full chunk and a tail; check a single short clip and a tail of one frame."""
    full = 2 * checkpoint.config.audio.window
    return _traced(
        "audio_encoder",
        folder,
        rounding,
        tick,
        audio_encoder(checkpoint),
        inputs.AudioInputs(checkpoint.config),
        {"chunks": 3, "frames": full, "tail": 37},
        [{"chunks": 1, "frames": 40, "tail": 37}, {"chunks": 2, "frames": full, "tail": 1}],
    )


def export_vision_encoder(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """Trace at a clip with short windows; check one window, and more frames in another shape."""
    return _traced(
        "vision_encoder",
        folder,
        rounding,
        tick,
        vision_encoder(checkpoint),
        inputs.VisionInputs(checkpoint.config),
        {"time": 2, "rows": 10, "columns": 14},
        [{"time": 1, "rows": 4, "columns": 4}, {"time": 3, "rows": 6, "columns": 20}],
    )


def export_flow(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """Build by hand; check with guidance and without, at a whole utterance of one block and inside a longer one."""
    path, block = folder / "flow.onnx", checkpoint.config.flow.block
    graph = flow_graph(checkpoint)
    finish(graph.model, graph.matrices, rounding)
    save_graph(graph.model, path, tick)
    shapes = [
        {"conditions": 1, "blocks": 1, "before": 0, "frames": block, "kept": 1},
        {"conditions": 2, "blocks": 4, "before": block, "frames": 4 * block - 10, "kept": 3},
    ]
    error = validate_graph(path, flow(checkpoint), inputs.FlowInputs(checkpoint.config), shapes, rounding)
    return _written(path, error)


def export_vocoder(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """Build by hand; check against the reference class.

    Rounded, its errors are corrected on the voices' own mels, and its inputs reach as far as theirs and somewhat
    more; so it is on them that it is checked.
    """
    module = reference_vocoder(checkpoint)
    if rounding is None:
        models = vocoder_parts(checkpoint)
        declaration = inputs.VocoderInputs(checkpoint.config)
        given = [inputs.sample(declaration, {"frames": frames})["rows"].numpy() for frames in (3, 40)]
        corrected = None
    else:
        mels = [voice.ref_mel for voice in read_voices(checkpoint.folder).values()]
        with whole_vocoder(checkpoint, folder) as whole:
            count = input_bytes(checkpoint.config.vocoder) if rounding.dynamic else lambda _: 0
            corrected = corrected_vocoder(whole, mels, tick, count)
        models = byte_parts(checkpoint, corrected) if rounding.dynamic else vocoder_parts(checkpoint)
        given = [mel[None, :CHECKED_FRAMES] for mel in mels]
    paths = [folder / f"vocoder.{index}.onnx" for index in range(len(models))]
    for index, (model, path) in enumerate(zip(models, paths, strict=True)):
        finish(model, {}, rounding, corrected=corrected)
        save_graph(model, path, lambda _: None)
        if not corrected:  # or the work lay in correcting
            tick((index + 1) / len(models))
    sessions = [open_graph(path) for path in paths]
    if rounding is not None and rounding.dynamic:
        run = partial(run_byte_parts, sessions, checkpoint.config.vocoder.dilations)
    else:
        run = lambda mel: run_parts(sessions, mel)[-1]  # noqa: E731
    error = validate_parts(run, module, given, tolerance(rounding))
    files = [file for path in paths for file in _written(path, error).files]
    return Written(paths[0].name, tuple(files), error)


def export_thinker(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """Build by hand; check whole, chunked and stepwise against a plain decoder."""
    return write_decoder("thinker", checkpoint, folder, rounding, tick)


def export_talker(checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick) -> Written:
    """As the thinker, with the projection of its input rows inside."""
    return write_decoder("talker", checkpoint, folder, rounding, tick)


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
    rounding: Rounding | None,
    tick: Tick,
    module: nn.Module,
    declaration: inputs.GraphInputs,
    sizes: Sizes,
    others: Sequence[Sizes],
) -> Written:
    path = folder / f"{name}.onnx"
    export_graph(module, declaration, sizes, path, rounding, tick)
    return _written(path, validate_graph(path, module, declaration, others, rounding))


def write_decoder(
    name: DecoderName,
    checkpoint: Checkpoint,
    folder: Path,
    rounding: Rounding | None,
    tick: Tick,
    packer: Packer | None = None,
) -> Written:
    """Build, round (to the nearest without a packer), save and validate a decoder."""
    config, names = decoder_of(checkpoint, name)
    path = folder / f"{name}.onnx"
    graph = decoder_graph(checkpoint, config, names)
    finish(graph.model, graph.matrices, rounding, packer)
    save_graph(graph.model, path, lambda part: tick(part * WRITING))
    errors = validate_decoder(
        path, Reference(checkpoint, config, names), config, tolerance(rounding),
        lambda part: tick(WRITING + part * (1 - WRITING)),
    )  # fmt: skip
    return _written(path, max(errors))


def write_prompt_graph(
    name: DecoderName, checkpoint: Checkpoint, folder: Path, rounding: Rounding | None, tick: Tick
) -> tuple[str, ...]:
    """The graph that reads long prompts, without a head; returns the names of its files."""
    config, names = decoder_of(checkpoint, name)
    path = folder / f"{name}{PROMPT}"
    graph = decoder_graph(checkpoint, config, names, has_head=False)
    finish(graph.model, graph.matrices, rounding)
    save_graph(graph.model, path, lambda part: tick(part * WRITING))
    errors = validate_decoder(
        path, Reference(checkpoint, config, names), config, tolerance(rounding),
        lambda part: tick(WRITING + part * (1 - WRITING)),
    )  # fmt: skip
    return _written(path, max(errors)).files


def _written(path: Path, error: float) -> Written:
    data = path.with_name(f"{path.name}.data")
    return Written(path.name, (path.name, data.name) if data.exists() else (path.name,), error)
