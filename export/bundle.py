"""The whole export: checkpoint folder in, bundle folder out.

Everything is written into a folder beside the target and renamed at the end, the manifest last, so that an
interrupted or failed export leaves neither half a bundle nor a damaged older one.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..models.bundle import describe_files, write_manifest
from ..models.errors import BundleError
from ..models.manifest import (
    MANIFEST,
    SCHEMA,
    Decoder,
    Flow,
    Graph,
    Manifest,
    Subnetwork,
    SubnetworkName,
    Vocoder,
    Voices,
)
from ..quant.int8 import to_int8
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .flow_tables import check_voice, flow_tables
from .front_ends import audio_front_end, chat_template, tokenizer_json, vision_front_end
from .origin import source_of
from .own_values import read_own_values
from .subnetworks import EXPORTS, Written, parameter_count
from .vocoder import vocoder_reach
from .voices import Voice, read_voices, voice_arrays

Precision = Literal["fp32", "int8"]
EMBEDDINGS = "embeddings.npy"
CODEC_EMBEDDINGS = "codec_embeddings.npy"
FLOW_TABLES = "flow_tables.npz"
VOICES = "voices.npz"
TOKENIZER = "tokenizer.json"
TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Progress:
    """How far an export is: what is being done, how many steps are done, how many there are."""

    step: str
    done: int
    total: int
    part: float = 0.0
    """How much of this step is done, 0 to 1."""


def export_bundle(
    checkpoint_folder: Path,
    bundle_folder: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    precision: Precision = "fp32",
) -> Manifest:
    """Export a checkpoint.

    Args:
        checkpoint_folder: a Qwen2.5-Omni checkpoint.
        bundle_folder: where the bundle goes; an older bundle there is replaced when the new one is complete.
        precision: of the weights.
        on_progress: called before each step and on the way.

    Raises:
        BundleError: the checkpoint is incomplete, a graph differs from it, the target is not a bundle's place, or
            the disk is full.
    """
    checkpoint = Checkpoint(checkpoint_folder)
    voices = _voices(checkpoint)
    _check_target(bundle_folder)
    _check_front_ends(checkpoint)
    _check_space(checkpoint, bundle_folder)
    with _beside(bundle_folder) as folder:
        writer = _Writer(checkpoint, voices, folder, on_progress, precision)
        manifest = writer.write()
        write_manifest(folder, manifest)
    return manifest


class _Writer:
    def __init__(
        self,
        checkpoint: Checkpoint,
        voices: dict[str, Voice],
        folder: Path,
        on_progress: Callable[[Progress], None],
        precision: Precision,
    ) -> None:
        self.precision: Precision = precision
        self.own = read_own_values(checkpoint.folder)
        self.checkpoint = checkpoint
        self.voices = voices
        self.folder = folder
        self.on_progress = on_progress
        self.steps = [*EXPORTS, "tables", "digests"]

    def write(self) -> Manifest:
        subnetworks: dict[SubnetworkName, Subnetwork] = {}
        for name, export in EXPORTS.items():
            self.announce(name)
            subnetworks[name] = self.record(name, export(self.checkpoint, self.folder, partial(self.announce, name)))
        self.announce("tables")
        self.write_tables()
        self.announce("digests")
        manifest = self.manifest(subnetworks)
        self.on_progress(Progress("done", len(self.steps), len(self.steps)))
        return manifest

    def announce(self, step: str, part: float = 0.0) -> None:
        self.on_progress(Progress(step, self.steps.index(step), len(self.steps), part))

    def record(self, name: SubnetworkName, written: Written) -> Subnetwork:
        path = self.folder / written.graph
        parameters = parameter_count(path)
        if self.precision == "int8":
            to_int8(path)
        graph = Graph(engine="onnx", precision=self.precision, graph=written.graph, files=written.files)
        return Subnetwork(graphs=(graph,), parameters=parameters)

    def write_tables(self) -> None:
        # Half precision keeps three decimal digits, more than eight bits do.
        dtype = "<f4" if self.precision == "fp32" else "<f2"
        _write_table(self.checkpoint, "thinker.model.embed_tokens.weight", self.folder / EMBEDDINGS, dtype)
        _write_table(self.checkpoint, "talker.model.embed_tokens.weight", self.folder / CODEC_EMBEDDINGS, dtype)
        tables = flow_tables(self.checkpoint, self.voices, self.own.schedules, self.own.sway)
        np.savez(self.folder / FLOW_TABLES, **dict(tables))  # pyright: ignore
        np.savez(self.folder / VOICES, **voice_arrays(self.voices))  # pyright: ignore
        (self.folder / TOKENIZER).write_bytes(tokenizer_json(self.checkpoint.folder))
        (self.folder / TEMPLATE).write_text(chat_template(self.checkpoint.folder), encoding="utf-8")

    def manifest(self, subnetworks: dict[SubnetworkName, Subnetwork]) -> Manifest:
        config = self.checkpoint.config
        names = [name for subnetwork in subnetworks.values() for graph in subnetwork.graphs for name in graph.files]
        names += [EMBEDDINGS, CODEC_EMBEDDINGS, FLOW_TABLES, VOICES, TOKENIZER, TEMPLATE]
        source = source_of(self.checkpoint.folder, self.own.name)
        tokens, own = config.tokens, self.own
        default = own.default_voice if own.default_voice in self.voices else next(iter(self.voices))
        hop = int(np.prod(config.vocoder.upsample_rates))
        return Manifest(
            schema=SCHEMA,
            name=source.checkpoint.rpartition("/")[2],
            source=source,
            subnetworks=subnetworks,
            files=describe_files(self.folder, names),
            tokenizer=TOKENIZER,
            chat_template=TEMPLATE,
            embeddings=EMBEDDINGS,
            codec_embeddings=CODEC_EMBEDDINGS,
            tokens=tokens,
            thinker=_decoder(config.thinker),
            talker=_decoder(config.talker),
            audio=audio_front_end(self.checkpoint.folder, config),
            vision=vision_front_end(self.checkpoint.folder, config, own.video),
            clock=config.clock,
            flow=Flow(
                mel_bins=config.flow.mel_bins,
                codes=config.flow.num_embeds + 1,
                repeats=config.flow.repeats,
                block=config.flow.block,
                solver=own.solver,
                steps=own.steps,
                guidance=own.guidance,
                sway=own.sway,
                schedules=own.schedules,
                tables=FLOW_TABLES,
                max_frames=config.flow.max_frames,
            ),
            # 100 mel frames a second whatever the vocoder's hop (FACTS §6).
            vocoder=Vocoder(rate=100 * hop, hop=hop, reach=vocoder_reach(config.vocoder)),
            thinker_sampling=own.text.sampling(stop=tokens.eos),
            talker_sampling=own.codes.sampling(
                stop=(tokens.codec_pad, tokens.codec_end), suppress=(tokens.codec_start,)
            ),
            voices=Voices(file=VOICES, names=tuple(self.voices), default=default),
            speech_prompt=own.speech_prompt,
        )


def _decoder(config: DecoderConfig) -> Decoder:
    return Decoder(
        rows=config.rows,
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocab=config.vocab,
        mrope_section=config.mrope_section,
        context=config.context,
    )


def _voices(checkpoint: Checkpoint) -> dict[str, Voice]:
    voices = read_voices(checkpoint.folder)
    for name, voice in voices.items():
        wrong = check_voice(voice, checkpoint.config.flow)
        if wrong:
            raise BundleError(f"{checkpoint.folder}: voice {name}: {wrong}")
    if not voices:
        raise BundleError(f"{checkpoint.folder}: spk_dict.pt holds no voice; download it again")
    return voices


def _write_table(checkpoint: Checkpoint, name: str, path: Path, dtype: str) -> None:
    """An embedding table as .npy, a slab of rows at a time.

    Not through a memory map: a disk that fills up under one ends the process instead of raising an error.
    """
    shape = checkpoint.shape(name)
    slab = max(1, (64 << 20) // (4 * shape[1]))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        for start in range(0, shape[0], slab):
            file.write(checkpoint.rows(name, start, start + slab).astype(dtype, copy=False).tobytes())


def _check_target(folder: Path) -> None:
    """An existing folder may only be replaced if it is empty or a bundle."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{folder} is a file; name a folder for the bundle")
    if any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise BundleError(f"{folder} holds other files and is not a bundle; name another folder")


def _check_front_ends(checkpoint: Checkpoint) -> None:
    """What the small files lack is said now and not after the graphs of a large checkpoint are written."""
    tokenizer_json(checkpoint.folder)
    chat_template(checkpoint.folder)
    audio_front_end(checkpoint.folder, checkpoint.config)
    vision_front_end(checkpoint.folder, checkpoint.config)


def _check_space(checkpoint: Checkpoint, bundle_folder: Path) -> None:
    """Refuse before any work when the weights alone cannot fit."""
    needed = sum(4 * int(np.prod(checkpoint.shape(name))) for name in checkpoint.files)
    place = bundle_folder.absolute().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise BundleError(
            f"{place} has {free / 1e9:.1f} GB free but the bundle needs about {needed / 1e9:.1f} GB; "
            "free some space or export to another disk"
        )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder beside the target that takes its place when the block ends well, and is removed when it does not."""
    target = target.absolute()
    beside = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        try:
            beside.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BundleError(f"the disk of {target.parent} is full; free some space and export again") from error
        raise BundleError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
