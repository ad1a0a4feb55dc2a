"""Sentences that nano has spoken, made sound by any solver, and heard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from omni_edge.apps.suite.asking import ask
from omni_edge.apps.suite.speaking import heard_by, spoken_texts
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.flow_tables import flow_tables
from omni_edge.export.subnetworks import export_flow
from omni_edge.export.voices import read_voices
from omni_edge.models.bundle import Bundle
from omni_edge.models.manifest import SolverName
from omni_edge.models.nano.world.listen import Listener
from omni_edge.models.nano.world.speakers import SPEAKERS
from omni_edge.models.nano.world.words_wrong import word_errors
from omni_edge.quant.measures import mel_distance
from omni_edge.runtime.engine import open_session, open_vocoder
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options
from omni_edge.runtime.solver import Solver

Mels = list[NDArray[np.float32]]


class Said(msgspec.Struct, frozen=True):
    """A sentence as nano's talker has spoken it."""

    text: str
    voice: str
    codes: list[int]


class Heard(msgspec.Struct, frozen=True):
    """What came of all sentences, an entry a sentence."""

    words: list[int]
    judged: list[int]
    """Words that the judge got wrong."""
    own: list[int]
    """Words that nano itself got wrong."""
    mel_distance: float
    """Mean over all frames and bins, to the reference."""


class Work:
    """The bundle, tables for all schedules, and what is kept of a run that was interrupted.

    Args:
        bundle: of the checkpoint.
        checkpoint: what the tables are made from.
        schedules: that the tables cover.
        count, seed: of sentences.
        root: folder of what is kept.
    """

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        schedules: Mapping[SolverName, tuple[int, ...]],
        count: int,
        seed: int,
        root: Path,
    ) -> None:
        self.bundle, self._checkpoint = bundle, Checkpoint(checkpoint)
        self._count, self._seed = count, seed
        graphs = "".join(entry.sha256 for entry in bundle.manifest.files if entry.path.endswith((".onnx", ".data")))
        self.folder = root / hashlib.sha256(f"{graphs} {schedules} {count} {seed}".encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._settings = msgspec.structs.replace(bundle.manifest.flow, schedules=dict(schedules))
        self._tables = self.folder / "tables.npz"
        if not self._tables.exists():
            tables = flow_tables(self._checkpoint, read_voices(checkpoint), dict(schedules), self._settings.sway)
            np.savez(self._tables, **dict(tables))  # pyright: ignore

    @cached_property
    def flow(self) -> Flow:
        """The graph that ships."""
        return Flow(open_session(self.bundle, "flow", 1), self._settings, self._tables)

    @cached_property
    def exact(self) -> Flow:
        """The same in floats."""
        written = export_flow(self._checkpoint, self.folder, None, lambda _: None)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return Flow(ort.InferenceSession(self.folder / written.graph, options), self._settings, self._tables)

    @cached_property
    def said(self) -> list[Said]:
        """Sentences that training never used, in the model's voices by turns."""
        kept = self.folder / "said.json"
        if not kept.exists():
            kept.write_bytes(msgspec.json.encode(self._say()))
        return msgspec.json.decode(kept.read_bytes(), type=list[Said])

    def _say(self) -> list[Said]:
        session, found = load(str(self.bundle.folder), threads=1), []
        for index, text in enumerate(islice(spoken_texts(self._seed), self._count)):
            session.reset()
            voice = SPEAKERS[index % len(SPEAKERS)].name
            done = ask(session, f"say {text}", options=Options(voice=voice, seed=0)).done
            found.append(Said(done.text, voice, list(done.codes)))
        return found

    def mels(self, flow: Flow, solver: Solver, seed: int = 0, count: int | None = None) -> Mels:
        """Of all sentences or the first ones, each at once."""
        noise = Noise(seed, self._settings.mel_bins)
        return [flow.mel(np.array(each.codes), each.voice, noise, solver) for each in self.said[:count]]


class Hearing:
    """Words wrong of mels, made sound by the bundle's vocoder.

    Args:
        work: with the sentences.
        reference: what mels are compared with.
    """

    def __init__(self, work: Work, reference: Callable[[], Mels]) -> None:
        self._work, self._reference = work, reference
        self._vocoder = open_vocoder(work.bundle, 1)
        self._judge, self._session = Listener(), load(str(work.bundle.folder), threads=1)

    @cached_property
    def _against(self) -> NDArray[np.float32]:
        kept = self._work.folder / "reference.npy"
        if not kept.exists():
            np.save(kept, np.concatenate(self._reference()))
        return np.load(kept)

    def heard(self, name: str, mels: Callable[[], Mels]) -> Heard:
        """What was kept by the name, or what comes of mels."""
        kept = self._work.folder / f"{name}.json"
        if not kept.exists():
            print(f"[{name}]", flush=True)
            kept.write_bytes(msgspec.json.encode(self._hear(mels())))
        return msgspec.json.decode(kept.read_bytes(), type=Heard)

    def _hear(self, mels: Sequence[NDArray[np.float32]]) -> Heard:
        rate = self._work.bundle.manifest.vocoder.rate
        words, judged, own = [], [], []
        for said, mel in zip(self._work.said, mels, strict=True):
            samples = self._vocoder.run(mel)
            errors, count = word_errors(said.text, self._judge.hear(samples, rate))
            words.append(count)
            judged.append(errors)
            own.append(word_errors(said.text, heard_by(self._session, samples, rate))[0])
        return Heard(words, judged, own, mel_distance(self._against, np.concatenate(mels)))
