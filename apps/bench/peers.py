"""Other programs on the same weights, and how they are asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Literal, Protocol

from ...models.bundle import Bundle
from ...models.errors import MissingExtra
from ...runtime.messages import user
from ...runtime.session import Session
from ...runtime.stages import Stages
from ..checkpoints import checkpoint_folder
from .alone import CONTEXT, Timed
from .child import Child
from .reply import spoken
from .result import Against
from .workload import STEPS, Workload, prefill_rows

PeerName = Literal["transformers", "llama.cpp"]
GGUF = "q4_0"
"""Precision of GGUF files made for the comparison."""
QUESTION = "Tell me a story about a ship and the sea."


class Peer(Protocol):
    """Another program, loaded and waiting."""

    name: PeerName
    precision: str
    unit: Mapping[str, str]

    def own(self, session: Session, found: Mapping[str, Sequence[Timed]]) -> dict[str, float]:
        """What this program comes to, in `unit`."""
        ...

    def measure(self) -> dict[str, float]:
        """What the other one comes to, likewise."""
        ...


@dataclass(frozen=True)
class Wanted:
    """A comparison.

    Args:
        name: of the peer.
        checkpoint: folder or name; None: the one that the manifest names.
        threads: of one operator; 0 is one a core.
    """

    name: PeerName
    checkpoint: str | None
    threads: int


@contextmanager
def opened(wanted: Wanted, stages: Stages, work: Workload) -> Iterator[Peer]:
    """Load a peer.

    Raises:
        MissingExtra: it is not installed.
        ModelNotFound: its checkpoint is not on this machine.
        DeviceError: it cannot load the weights.
    """
    with tempfile.TemporaryDirectory() as folder:
        if wanted.name == "transformers":
            peer = Transformers(wanted, stages, work)
        else:
            peer = LlamaCpp(wanted, stages, Path(folder))
        try:
            yield peer
        finally:
            peer.child.close()


def check(wanted: Wanted) -> None:
    """Refuse, before anything is loaded, what is not installed, with MissingExtra."""
    needed = ("torch", "transformers") if wanted.name == "transformers" else ("llama_cpp",)
    for package in needed:
        if find_spec(package) is None:
            extra = "llama" if package == "llama_cpp" else "export"
            raise MissingExtra(
                package.replace("llama_cpp", "llama-cpp-python"), extra, f"be measured against {wanted.name}"
            )


def compared(peer: Peer, ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> Against:
    """Medians of both, and their ratio round by round: two that were measured one after the other had the same
    machine."""
    own, other, ratio = {}, {}, {}
    for what in peer.unit:
        own[what] = median(each[what] for each in ours)
        other[what] = median(each[what] for each in theirs)
        ratio[what] = median(one[what] / two[what] for one, two in zip(ours, theirs, strict=True))
    return Against(peer=peer.name, precision=peer.precision, unit=dict(peer.unit), own=own, other=other, ratio=ratio)


class Transformers:
    """The reference in bf16, asked in writing for a spoken reply."""

    name: PeerName = "transformers"
    precision = "bf16"
    unit: Mapping[str, str] = {"reply": "s of speech/s"}

    def __init__(self, wanted: Wanted, stages: Stages, work: Workload) -> None:
        self._work = work
        bundle = stages.bundle
        prompt = stages.prompts.build([*Session(stages).history, user(QUESTION)], [])
        self.child = Child(
            "omni_edge.export.transformers_peer",
            self.name,
            {
                "checkpoint": str(_checkpoint(wanted, bundle)),
                "ids": prompt.ids.tolist(),
                "tokens": work.tokens,
                "codes": work.codes,
                "voice": bundle.manifest.voices.default,
                "threads": wanted.threads,
                "seed": work.seed,
                "rate": bundle.manifest.vocoder.rate,
            },
        )

    def own(self, session: Session, found: Mapping[str, Sequence[Timed]]) -> dict[str, float]:
        """See Peer."""
        reply = spoken(session, self._work, QUESTION)
        return {"reply": reply.stats.audio_s / reply.seconds}

    def measure(self) -> dict[str, float]:
        """See Peer."""
        answer = self.child.ask({})
        return {"reply": answer["audio_s"] / answer["seconds"]}


class LlamaCpp:
    """llama.cpp without anything around it, on the bundle's GGUF files or on new ones of the checkpoint."""

    name: PeerName = "llama.cpp"
    unit: Mapping[str, str] = {"thinker_prefill": "rows/s", "thinker_decode": "tokens/s", "talker": "codes/s"}

    def __init__(self, wanted: Wanted, stages: Stages, folder: Path) -> None:
        bundle = stages.bundle
        graphs = {name: bundle.manifest.subnetworks[name].on("llama") for name in ("thinker", "talker")}
        files = {name: bundle.path(graph.graph) for name, graph in graphs.items() if graph is not None}
        kinds = {graph.precision for graph in graphs.values() if graph is not None}
        missing = [name for name in graphs if name not in files]
        if missing:
            checkpoint = _checkpoint(wanted, bundle)
            for name in missing:
                files[name] = _make(checkpoint, name, folder)
            kinds.add(GGUF)
        self.precision = " and ".join(sorted(kinds))
        self.child = Child(
            "omni_edge.apps.bench.llama_peer",
            self.name,
            {
                **{name: str(path) for name, path in files.items()},
                "prefill": prefill_rows(bundle.manifest),
                "context": CONTEXT,
                "steps": STEPS,
                "threads": wanted.threads,
            },
        )

    def own(self, session: Session, found: Mapping[str, Sequence[Timed]]) -> dict[str, float]:
        """See Peer: what was timed just before."""
        return {name: found[name][-1].rows / found[name][-1].seconds for name in self.unit}

    def measure(self) -> dict[str, float]:
        """See Peer."""
        return self.child.ask({})


def _checkpoint(wanted: Wanted, bundle: Bundle) -> Path:
    return checkpoint_folder(wanted.checkpoint or bundle.manifest.source.checkpoint)


def _make(checkpoint: Path, name: str, folder: Path) -> Path:
    try:
        from ...export.checkpoint import Checkpoint
        from ...export.gguf import write_gguf
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "export", "make GGUF files to be measured against") from error
    decoder = "thinker" if name == "thinker" else "talker"
    write_gguf(Checkpoint(checkpoint), decoder, folder, GGUF, lambda _: None)
    return folder / f"{name}.gguf"
