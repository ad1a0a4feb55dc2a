"""The whole export: checkpoint folder in, bundle folder out.

Everything is written into a folder beside the target (partial.py) and renamed at the end, the manifest last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from ..models.bundle import describe_files, write_manifest
from ..models.manifest import EngineName, Extra, Graph, Manifest, Subnetwork, SubnetworkName
from ..quant.tables import write_table
from .calibration import Passage
from .checkpoint import Checkpoint
from .checks import check_front_ends, check_graphs, check_space, check_target, checked_voices, parameters
from .correction import correct, is_corrected
from .decoder import DecoderName
from .description import CODEC_EMBEDDINGS, EMBEDDINGS, FLOW_TABLES, TEMPLATE, TOKENIZER, VOICES, describe
from .flow_tables import flow_tables
from .front_ends import chat_template, tokenizer_json
from .gguf import write_gguf
from .mmproj import MMPROJ, PURPOSE, write_mmproj
from .own_values import read_own_values
from .partial import Partial, beside, fingerprint
from .precisions import DECODERS, Choice, Precision, choose
from .progress import Progress, Steps
from .subnetworks import EXPORTS, write_prompt_graph
from .vocoder_reach import measured_reaches
from .voices import voice_arrays

Listen = Callable[[Path], dict[DecoderName, list[Passage]]]
"""A whole bundle folder to what its decoders read in some conversations."""
LISTENING = "q8_0"
"""What llama.cpp's smaller kinds are while their bundle answers for calibration: some cannot be made before that."""


def export_bundle(
    checkpoint_folder: Path,
    bundle_folder: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    choice: Choice | None = None,
    listen: Listen | None = None,
    mmproj: str | None = None,
) -> Manifest:
    """Export a checkpoint.

    Args:
        checkpoint_folder: a Qwen2.5-Omni checkpoint.
        bundle_folder: where the bundle goes; an older bundle there is replaced when the new one is complete.
        on_progress: called before each step and on the way.
        choice: precisions of the subnetworks; None keeps floats.
        listen: with it, the decoders' matrices are rounded anew on what it returns: with error correction in ONNX
            graphs, by an importance matrix in llama.cpp's.
        mmproj: one of mmproj.MMPROJ_KINDS: adds the encoders in llama.cpp's own format, for other programs.

    Raises:
        BundleError: the checkpoint is incomplete, a graph differs from it, a format cannot carry one, the target is
            not a bundle's place, or the disk is full.
    """
    checkpoint, choice = Checkpoint(checkpoint_folder), choice or choose(())
    check_target(bundle_folder)
    check_front_ends(checkpoint)
    check_graphs(checkpoint, choice, mmproj, listens=listen is not None)
    check_space(checkpoint, choice, mmproj, bundle_folder)
    names = {name: [precision.name for precision in graphs] for name, graphs in choice.items()}
    with beside(bundle_folder, fingerprint(checkpoint_folder, f"{names} {listen is not None} {mmproj}")) as folder:
        exporter = _Exporter(checkpoint, folder, on_progress, choice, listen, mmproj)
        return exporter.run()


class _Exporter:
    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Partial,
        on_progress: Callable[[Progress], None],
        choice: Choice,
        listen: Listen | None,
        mmproj: str | None,
    ) -> None:
        self.checkpoint = checkpoint
        self.own = read_own_values(checkpoint.folder)
        self.voices = checked_voices(checkpoint)
        self.partial, self.folder = folder, folder.folder
        self.choice = choice
        self.listen = listen
        self.mmproj = mmproj
        self.parameters = parameters(checkpoint)
        self.progress = Steps(on_progress, self._works())

    def _works(self) -> dict[str, float]:
        """Names of all steps, and about how long each takes compared to the others."""
        works: dict[str, float] = {
            _step(name, precision): self.parameters[name]
            for name in EXPORTS for precision in self.choice[name]
        }  # fmt: skip
        if self.mmproj:
            works[f"mmproj {self.mmproj}"] = 0.5 * (
                self.parameters["audio_encoder"] + self.parameters["vision_encoder"]
            )
        total = sum(works.values())
        works["tables"] = 0.05 * total
        if self.listen:
            works["calibration: listening"] = 0.5 * total
            works |= {
                f"calibration: {_step(name, each)}": (8.0 if each.rounding else 2.0) * self.parameters[name]
                for name, each in self._corrected()
            }
        works["digests"] = 0.02 * total
        return works

    def run(self) -> Manifest:
        subnetworks: dict[SubnetworkName, Subnetwork] = {}
        for name in EXPORTS:
            graphs = tuple(self._graph(name, each) for each in self.choice[name])
            subnetworks[name] = Subnetwork(graphs=graphs, parameters=self.parameters[name])
        if self.mmproj:
            self._once(f"mmproj {self.mmproj}", partial(self._write_mmproj, self.mmproj))
        self.progress.begin("tables")
        self._write_tables()
        if self.listen:
            self._correct(subnetworks, self.listen)
        self.progress.begin("digests")
        manifest = self._manifest(subnetworks)
        write_manifest(self.folder, manifest)
        self.progress.end()
        return manifest

    def _graph(self, name: SubnetworkName, precision: Precision) -> Graph:
        return self._once(_step(name, precision), partial(self._write_graph, name, precision))

    def _once(self, step: str, write: Callable[[], Graph]) -> Graph:
        """What a step writes, now or in an export that was interrupted."""
        self.progress.begin(step)
        graph = self.partial.done(step)
        if graph is None:
            graph = write()
            self.partial.note(step, graph)
        return graph

    def _write_graph(self, name: SubnetworkName, precision: Precision) -> Graph:
        if precision.engine == "onnx":
            tick = self.progress.tick
            files = EXPORTS[name](self.checkpoint, self.folder, precision.rounding, tick).files
            if precision.prompt and name in DECODERS:
                files += write_prompt_graph(name, self.checkpoint, self.folder, precision.prompt, tick)
            return _graph("onnx", precision.name, files)
        assert name in DECODERS
        kind = LISTENING if self.listen and is_corrected(precision) else precision.name
        return _graph("llama", kind, write_gguf(self.checkpoint, name, self.folder, kind, self.progress.tick))

    def _write_mmproj(self, kind: str) -> Graph:
        file = write_mmproj(self.checkpoint, self.folder, kind, self.progress.tick)
        return _graph("llama", kind, (file,))

    def _write_tables(self) -> None:
        for name, tensor, file in (
            ("thinker", "thinker.model.embed_tokens.weight", EMBEDDINGS),
            ("talker", "talker.model.embed_tokens.weight", CODEC_EMBEDDINGS),
        ):
            count, width = self.checkpoint.shape(tensor)
            is_rounded = self.choice[name][0].name != "fp32"  # pyright: ignore[reportArgumentType]
            rows = partial(self.checkpoint.rows, tensor)
            write_table(self.folder / file, (count, width), rows, rounded=is_rounded)
        tables = flow_tables(self.checkpoint, self.voices, self.own.schedules, self.own.sway)
        np.savez(self.folder / FLOW_TABLES, **dict(tables))  # pyright: ignore
        np.savez(self.folder / VOICES, **voice_arrays(self.voices))  # pyright: ignore
        (self.folder / TOKENIZER).write_bytes(tokenizer_json(self.checkpoint.folder))
        (self.folder / TEMPLATE).write_text(chat_template(self.checkpoint.folder), encoding="utf-8")

    def _corrected(self) -> list[tuple[DecoderName, Precision]]:
        return [(name, each) for name in DECODERS for each in self.choice[name] if is_corrected(each)]

    def _correct(self, subnetworks: dict[SubnetworkName, Subnetwork], listen: Listen) -> None:
        """Let the bundle as it is answer, and write its decoders anew, fitted to what they read."""
        self.progress.begin("calibration: listening")
        write_manifest(self.folder, self._manifest(subnetworks))
        passages = listen(self.folder)
        for name, precision in self._corrected():
            step = _step(name, precision)
            self.progress.begin(f"calibration: {step}")
            write = correct(self.checkpoint, name, precision, passages[name], self.folder, self.progress.tick)
            # From here on the graph is no longer what its step has written.
            self.partial.forget(step)
            files = write()
            # A graph for prompts stays as it is.
            kept = (file for each in subnetworks[name].graphs if each.engine == precision.engine for file in each.files)
            graph = _graph(precision.engine, precision.name, tuple(dict.fromkeys((*files, *kept))))
            graphs = (graph if each.engine == graph.engine else each for each in subnetworks[name].graphs)
            subnetworks[name] = replace(subnetworks[name], graphs=tuple(graphs))

    def _manifest(self, subnetworks: dict[SubnetworkName, Subnetwork]) -> Manifest:
        names = [name for subnetwork in subnetworks.values() for graph in subnetwork.graphs for name in graph.files]
        names += [EMBEDDINGS, CODEC_EMBEDDINGS, FLOW_TABLES, VOICES, TOKENIZER, TEMPLATE]
        extras = (Extra(path=MMPROJ, purpose=PURPOSE),) if self.mmproj else ()
        files = describe_files(self.folder, [*names, *(extra.path for extra in extras)])
        return describe(self.checkpoint, self.own, tuple(self.voices), subnetworks, files, extras, self._reaches)

    @cached_property
    def _reaches(self) -> tuple[int, ...]:
        """Of the vocoder's parts, measured once: with calibration, two manifests are written."""
        return measured_reaches(self.checkpoint, [voice.ref_mel for voice in self.voices.values()], self.folder)


def _graph(engine: EngineName, precision: str, files: tuple[str, ...]) -> Graph:
    return Graph(engine=engine, precision=precision, graph=files[0], files=files)


def _step(name: SubnetworkName, precision: Precision) -> str:
    return f"{name} {precision.name}"
