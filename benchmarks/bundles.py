"""The bundles that are measured: three whole ones, and copies of the first with other decoders."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from omni_edge.export.bundle import export_bundle
from omni_edge.export.calibration import Passage
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.correction import correct
from omni_edge.export.decoder import DecoderName
from omni_edge.export.gguf import write_gguf
from omni_edge.export.partial import fingerprint
from omni_edge.export.precisions import BY_NAME, Precision, choose
from omni_edge.export.subnetworks import write_decoder, write_prompt_graph
from omni_edge.models.bundle import Bundle, describe_files, open_bundle, write_manifest
from omni_edge.models.manifest import SUBNETWORKS, Graph

DECODERS: tuple[DecoderName, ...] = ("thinker", "talker")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Round:
    """A bundle with one precision an engine."""

    onnx: str
    gguf: str | None = None
    whole: bool = False
    """All six subnetworks, not the decoders alone."""
    calibrated: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join(filter(None, [self.onnx, self.gguf, "calibrated" if self.calibrated else ""]))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of its decoders."""
        return (self.onnx,) if self.gguf is None else (self.onnx, self.gguf)


ROUNDS = (
    Round("fp32", "f16", whole=True),
    Round("int8", "q8_0", whole=True),
    Round("int4", "q4_0", whole=True),
    Round("int4", "q4_0", calibrated=True),
    Round("int8-128", "q4_k_m"),
    Round("int4-128"),
    Round("int4-128+int8"),
    Round("int4-128", "q4_k_m", calibrated=True),
    Round("int4-asym"),
    Round("int4-asym", calibrated=True),
    Round("int4-mixed"),
    Round("int4-mixed-128"),
    Round("int4-mixed", calibrated=True),
)
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
        return self.made(ROUNDS[0], None)

    def made(self, each: Round, passages: Passages | None) -> Bundle:
        """A round's bundle.

        Args:
            each: of ROUNDS.
            passages: what decoders read, for rounds that are calibrated.
        """
        folder = self.folder / each.name
        if not (folder / "manifest.json").exists():
            if each.whole:
                wishes = [f"{name}={each.onnx}" for name in SUBNETWORKS]
                wishes += [f"{name}={each.gguf}" for name in DECODERS]
                export_bundle(self._checkpoint, folder, choice=choose(wishes))
            else:
                self._copy(each, folder, passages or {})
        return open_bundle(folder)

    def _copy(self, each: Round, folder: Path, passages: Passages) -> None:
        """The bundle in full precision with other decoders."""
        shutil.rmtree(folder, ignore_errors=True)
        base = self.base()
        shutil.copytree(base.folder, folder, ignore=shutil.ignore_patterns("manifest.json", "thinker.*", "talker.*"))
        networks, checkpoint = dict(base.manifest.subnetworks), Checkpoint(self._checkpoint)
        for name in DECODERS:
            graphs = []
            for precision in (BY_NAME[kind] for kind in each.kinds):
                files = (
                    correct(checkpoint, name, precision, passages[name], folder, lambda _: None)()
                    if each.calibrated
                    else _plain(checkpoint, name, precision, folder)
                )
                graphs.append(Graph(engine=precision.engine, precision=precision.name, graph=files[0], files=files))
            networks[name] = replace(networks[name], graphs=tuple(graphs))
        listed = sorted(path.name for path in folder.iterdir())
        write_manifest(folder, replace(base.manifest, subnetworks=networks, files=describe_files(folder, listed)))


def _plain(checkpoint: Checkpoint, name: DecoderName, precision: Precision, folder: Path) -> tuple[str, ...]:
    if precision.engine == "llama":
        return write_gguf(checkpoint, name, folder, precision.name, lambda _: None)
    files = write_decoder(name, checkpoint, folder, precision.rounding, lambda _: None).files
    if precision.prompt:
        files += write_prompt_graph(name, checkpoint, folder, precision.prompt, lambda _: None)
    return files
