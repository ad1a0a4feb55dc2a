"""The bundles that are measured: one in full precision, and copies of it with one precision in its place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from omni_edge.export.bundle import export_bundle
from omni_edge.export.calibration import Passage
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.correction import correct
from omni_edge.export.decoder import DecoderName
from omni_edge.export.gguf import write_gguf
from omni_edge.export.gguf_quantise import NEED_IMPORTANCE
from omni_edge.export.partial import fingerprint
from omni_edge.export.precisions import BY_NAME, DECODERS, Precision
from omni_edge.export.subnetworks import EXPORTS, write_prompt_graph
from omni_edge.models.bundle import Bundle, describe_files, open_bundle, write_manifest
from omni_edge.models.manifest import SUBNETWORKS, Graph, SubnetworkName

ROOT = Path(__file__).parents[1]
FULL = "fp32"
FITTED = ("int4", "int4-128", "int4-asym", "int4-asym-128", "int4-mixed", "q4_k_m", "q4_0")
"""Kinds that are calibrated as well, to see what that changes; those of llama.cpp's that need it always are."""


@dataclass(frozen=True)
class Round:
    """One precision of some subnetworks."""

    kind: str
    subnetworks: tuple[SubnetworkName, ...]
    calibrated: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.kind}-calibrated" if self.calibrated else self.kind


def same_as(name: SubnetworkName, kind: str) -> str:
    """Which kind's graph a subnetwork has when it is exported at a kind: mostly that kind's own."""
    rounding = BY_NAME[kind].rounding
    if name == "vocoder" and rounding is not None:
        # It is rounded by channel, in bytes, whatever is said of bits and blocks.
        return "int8-dynamic" if rounding.dynamic else "int8"
    return _SAME.get(name, {}).get(kind, kind)


_NO_PROMPTS = {"int4-128+int8": "int4-128"}
_SAME: dict[SubnetworkName, dict[str, str]] = {
    "audio_encoder": _NO_PROMPTS,
    "vision_encoder": _NO_PROMPTS,
    "flow": _NO_PROMPTS,
}


def _rounds() -> Iterator[Round]:
    for kind, precision in BY_NAME.items():
        names: Sequence[SubnetworkName] = DECODERS if precision.engine == "llama" else SUBNETWORKS
        if kind not in NEED_IMPORTANCE:
            yield Round(kind, tuple(name for name in names if same_as(name, kind) == kind))
        if kind in NEED_IMPORTANCE or kind in FITTED:
            yield Round(kind, DECODERS, calibrated=True)


ROUNDS = tuple(_rounds())
"""Every precision that there is, where it makes a graph of its own."""
Passages = Mapping[DecoderName, Sequence[Passage]]


class Bundles:
    """Makes bundles, or takes those of an earlier run on the same checkpoint and code.

    Args:
        checkpoint: what is exported.
        root: where they are kept.
    """

    def __init__(self, checkpoint: Path, root: Path) -> None:
        sources = sorted(path for part in ("export", "quant") for path in (ROOT / part).glob("*.py"))
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        self.folder = root / fingerprint(checkpoint, code)[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint = checkpoint

    def base(self) -> Bundle:
        """The one in full precision."""
        folder = self.folder / FULL
        if not (folder / "manifest.json").exists():
            export_bundle(self._checkpoint, folder)
        return open_bundle(folder)

    def made(self, each: Round, passages: Passages | None) -> Bundle:
        """A round's bundle.

        Args:
            each: of ROUNDS.
            passages: what decoders read, for rounds that are calibrated.
        """
        if each.kind == FULL:
            return self.base()
        folder = self.folder / each.name
        if not (folder / "manifest.json").exists():
            self._copy(each, folder, passages or {})
        return open_bundle(folder)

    def _copy(self, each: Round, folder: Path, passages: Passages) -> None:
        """The bundle in full precision with other graphs of the round's subnetworks."""
        shutil.rmtree(folder, ignore_errors=True)
        base = self.base()
        networks, precision = dict(base.manifest.subnetworks), BY_NAME[each.kind]
        replaced = {file for name in each.subnetworks for graph in networks[name].graphs for file in graph.files}
        # Links, because the many copies differ in little.
        ignored = shutil.ignore_patterns("manifest.json", *replaced)
        shutil.copytree(base.folder, folder, ignore=ignored, copy_function=os.link)
        checkpoint = Checkpoint(self._checkpoint)
        for name in each.subnetworks:
            files = (
                correct(checkpoint, name, precision, passages[name], folder, lambda _: None)()
                if each.calibrated and name in DECODERS
                else _plain(checkpoint, name, precision, folder)
            )
            graph = Graph(engine=precision.engine, precision=precision.name, graph=files[0], files=files)
            networks[name] = replace(networks[name], graphs=(graph,))
        listed = sorted(path.name for path in folder.iterdir())
        write_manifest(folder, replace(base.manifest, subnetworks=networks, files=describe_files(folder, listed)))


def _plain(checkpoint: Checkpoint, name: SubnetworkName, precision: Precision, folder: Path) -> tuple[str, ...]:
    if name in DECODERS and precision.engine == "llama":
        return write_gguf(checkpoint, name, folder, precision.name, lambda _: None)
    files = EXPORTS[name](checkpoint, folder, precision.rounding, lambda _: None).files
    if name in DECODERS and precision.prompt:
        files += write_prompt_graph(name, checkpoint, folder, precision.prompt, lambda _: None)
    return files
