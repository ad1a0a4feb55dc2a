"""Which engine runs which graph of a bundle, and the graphs opened on it.

Only thinker and talker have a choice; the other four networks are ONNX Runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import onnxruntime as ort

from ..models.bundle import Bundle
from ..models.digests import check_digests
from ..models.errors import BundleError, DeviceError, MissingExtra
from ..models.manifest import EngineName, Graph, SubnetworkName
from .decoder import Decoder, OnnxDecoder
from .llama import LlamaDecoder
from .threads import threads_of
from .vocoder import Vocoder
from .vocoder_parts import product_threads, vocoder_of

EngineChoice = Literal["auto", "onnx", "llama"]
DecoderName = Literal["thinker", "talker"]
DECODERS: tuple[DecoderName, ...] = ("thinker", "talker")
_TITLES = {"onnx": "ONNX Runtime", "llama": "llama.cpp"}


@dataclass(frozen=True)
class Engines:
    """What thinker and talker run on."""

    of: Mapping[DecoderName, EngineName]
    notes: tuple[str, ...] = ()
    """What a user who asked for something else should know, a sentence each."""


def choose_engines(bundle: Bundle, engine: EngineChoice) -> Engines:
    """Pick an engine for thinker and talker.

    Args:
        bundle: checked.
        engine: "auto" takes each one's first graph whose engine is installed; "llama" takes onnx for one of the two
            if only the other has a GGUF graph.

    Raises:
        DeviceError: the bundle has no graph for the engine that was asked for.
        MissingExtra: it has none for an engine that is installed.
    """
    of: dict[DecoderName, EngineName]
    if engine == "auto":
        of = {name: _first_installed(bundle, name) for name in DECODERS}
        passed = [name for name, taken in of.items() if taken != _graphs(bundle, name)[0].engine]
        notes = [f"llama-cpp-python is not installed, so the {name} runs on ONNX Runtime" for name in passed]
        return Engines(of, tuple(notes))
    of = {name: engine for name in DECODERS if bundle.manifest.subnetworks[name].on(engine)}
    if not of or (engine == "onnx" and len(of) < len(DECODERS)):
        missing = " and ".join(name for name in DECODERS if name not in of)
        how = "in a GGUF precision" if engine == "llama" else "for onnx"
        raise DeviceError(
            f"{bundle.folder} has no {missing} for {_TITLES[engine]}. Leave --engine out, or export it {how}"
        )
    others = [name for name in DECODERS if name not in of]
    notes = (f"the bundle has no {name} for llama.cpp, so the {name} runs on ONNX Runtime" for name in others)
    return Engines({"thinker": "onnx", "talker": "onnx", **of}, tuple(notes))


def open_decoder(bundle: Bundle, name: DecoderName, engine: EngineName, threads: int) -> Decoder:
    """Load thinker or talker.

    Raises:
        DeviceError: the bundle has it for another engine only.
        BundleError: the engine refuses the graph.
        MissingExtra: the engine is not installed.
    """
    shape = bundle.manifest.thinker if name == "thinker" else bundle.manifest.talker
    graph = _graph(bundle, name, engine)
    if engine == "onnx":
        prompt = session_of(bundle.path(graph.prompt), threads, keep_in_file=True) if graph.prompt else None
        return OnnxDecoder(open_session(bundle, name, threads), shape, prompt)
    projections = [bundle.path(file) for file in graph.files if file.endswith(".npz")]
    return LlamaDecoder(bundle.path(graph.graph), shape, next(iter(projections), None), threads_of(threads))


def open_session(bundle: Bundle, name: SubnetworkName, threads: int) -> ort.InferenceSession:
    """Load one subnetwork.

    Args:
        bundle: checked.
        name: of the subnetwork.
        threads: for one operator; 0 leaves the choice to `threads_of`.

    Raises:
        DeviceError: the bundle has it for another engine only.
        BundleError: ONNX Runtime refuses the graph.
    """
    return session_of(bundle.path(_graph(bundle, name, "onnx").graph), threads)


def open_vocoder(bundle: Bundle, threads: int) -> Vocoder:
    """Load the vocoder; see `open_session`."""

    def opened(each: int) -> list[ort.InferenceSession]:
        return [session_of(bundle.path(part), each, any_length=True) for part in graph.parts]

    graph, count = _graph(bundle, "vocoder", "onnx"), threads_of(threads)
    each = product_threads(session_of(bundle.path(graph.parts[0]), 1), count)
    return vocoder_of(opened(each), bundle.manifest.vocoder, count)


def session_of(
    path: Path, threads: int, *, keep_in_file: bool = False, any_length: bool = False
) -> ort.InferenceSession:
    """Load a graph.

    Args:
        path: of the .onnx file.
        threads: see `open_session`.
        keep_in_file: weights are not rearranged for speed in memory of their own, so that the system may let go of
            them while they are not needed.
        any_length: inputs have many lengths, and no plan of memory is kept for each that there was.

    Raises:
        BundleError: ONNX Runtime refuses the graph.
    """
    options = _options()
    options.enable_mem_pattern = not any_length
    options.intra_op_num_threads = threads_of(threads)
    # Several stages run at once: a thread that has nothing to do must leave its core to the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", str(int(keep_in_file)))
    return _opened(path, options)


class LateSession:
    """A subnetwork that is loaded when it first runs: one that a conversation never needs takes no memory.

    Any number of threads may run it.

    Args:
        bundle, name, threads: see `open_session`.

    Raises:
        DeviceError: the bundle has it for another engine only.
        BundleError: ONNX Runtime refuses the graph. That is found out now: read without being laid out for its
            kernels, a graph opens at once and its weights stay on disk.
    """

    def __init__(self, bundle: Bundle, name: SubnetworkName, threads: int) -> None:
        self._bundle, self._threads = bundle, threads
        self._name: SubnetworkName = name
        self._session: ort.InferenceSession | None = None
        self._opening = Lock()
        options = _options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        _opened(bundle.path(_graph(bundle, name, "onnx").graph), options)

    def run(self, output_names: None, input_feed: dict[str, Any]) -> Sequence[Any]:
        """All outputs, in the graph's order.

        Args:
            output_names: all of them.
            input_feed: by name.

        Raises:
            BundleError: at the first run, the bundle's files are no longer those it was opened with.
        """
        with self._opening:
            if self._session is None:
                self._session = self._load()
        return self._session.run(output_names, input_feed)

    def _load(self) -> ort.InferenceSession:
        bundle, files = self._bundle, _graph(self._bundle, self._name, "onnx").files
        entries = [entry for entry in bundle.manifest.files if entry.path in files]
        check_digests(bundle.folder, entries, None, everything=False)
        return open_session(bundle, self._name, self._threads)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return options


def _opened(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise BundleError(
            f"{path} cannot be loaded: {' '.join(str(error).split())[:200]}. "
            "Export the checkpoint again, or update onnxruntime"
        ) from error


def _graphs(bundle: Bundle, name: SubnetworkName) -> tuple[Graph, ...]:
    graphs = bundle.manifest.subnetworks[name].graphs
    if not graphs:
        raise BundleError(f"{bundle.folder} has no graph of the {name}. Export the checkpoint again")
    return graphs


def _graph(bundle: Bundle, name: SubnetworkName, engine: EngineName) -> Graph:
    graph = bundle.manifest.subnetworks[name].on(engine)
    if graph is None:
        raise DeviceError(f"{bundle.folder} has no {name} for the engine {engine}. Export it for {engine}")
    return graph


def _first_installed(bundle: Bundle, name: DecoderName) -> EngineName:
    for graph in _graphs(bundle, name):
        if graph.engine == "onnx" or find_spec("llama_cpp"):
            return graph.engine
    raise MissingExtra("llama-cpp-python", "llama", f"run the {name} of {bundle.folder}")
