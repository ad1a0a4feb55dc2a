"""llama.cpp behind a few calls: a GGUF file, and a context that reads embedding rows at M-RoPE positions.

The runtime's decoder and the exporter's check both stand on it. llama_cpp is imported when a file is opened and not
before. Facts about llama.cpp (FACTS §8) were checked against version 0.3.36 of llama-cpp-python.
"""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BundleError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ARCHITECTURE = "qwen2vl"
"""llama.cpp's name for Qwen2 decoders with M-RoPE."""
PLANES = 4
"""Position planes of an embedding batch: time, height, width, and one that stays 0."""
_ERROR = 4
"""ggml's level of a log line that says what is wrong."""


class _Log:
    """What llama.cpp complained about last. It prints to stderr unless told otherwise."""

    def __init__(self) -> None:
        self.complaint = ""
        self._callback: Any = None

    def attach(self, library: Any) -> None:
        """Take over the library's log, once; the callback must live as long as the library."""
        if self._callback is None:
            self._callback = library.llama_log_callback(self._take)
            library.llama_log_set(self._callback, ctypes.c_void_p(0))
            library.llama_backend_init()

    def _take(self, level: int, text: bytes, _: object) -> None:
        line = " ".join(text.decode(errors="replace").split()).strip("= ")
        logging.getLogger(__name__).debug("%s", line)
        # The first complaint says what is wrong; those after it only that something was.
        if level == _ERROR and line and not self.complaint:
            self.complaint = line


_log = _Log()


def llama_library(purpose: str) -> Any:
    """The module llama_cpp, its log silenced.

    Args:
        purpose: as `MissingExtra` takes it.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import llama_cpp
    except ImportError as error:
        raise MissingExtra("llama-cpp-python", "llama", purpose) from error
    _log.attach(llama_cpp)
    _log.complaint = ""
    return llama_cpp


def complaint() -> str:
    """The first error llama.cpp has logged since `llama_library` was last called; empty if none."""
    return _log.complaint[:200]


def _has_amx(library: Any) -> bool:
    """Whether this build of llama.cpp uses the processor's tiles."""
    return b"AMX_INT8 = 1" in library.llama_print_system_info()


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LlamaGraph:
    """A GGUF file of the architecture qwen2vl, memory-mapped.

    Args:
        path: the file.
        repack: rearrange weights of some types for speed, into memory of its own, where that is safe. Without it all
            stay in the file, from which the system reads them as they are needed.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        BundleError: the file is damaged or holds another architecture.
    """

    def __init__(self, path: Path, *, repack: bool = True) -> None:
        self.library: Any = llama_library("run GGUF graphs")
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = 0
        # Arranged for AMX, weights end the process: gcc drops stores of ggml's tile configuration, and the first
        # product of several rows is an illegal instruction (llama.cpp's pull request 26954).
        parameters.use_extra_bufts = repack and not _has_amx(self.library)
        self.handle: Any = self.library.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.handle:
            reason = complaint() or "not a GGUF file"
            raise BundleError(f"{path} cannot be loaded: {reason}. Export the checkpoint again")
        # Also when nobody closes it, and after the contexts on it, which hold on to it.
        self._end = weakref.finalize(self, self.library.llama_model_free, self.handle)
        architecture = self._text("general.architecture")
        if architecture != ARCHITECTURE:
            self.close()
            raise BundleError(
                f"{path} is a GGUF of architecture {architecture}, not {ARCHITECTURE}. Export the checkpoint again"
            )
        self.width: int = self.library.llama_model_n_embd(self.handle)
        vocabulary = self.library.llama_model_get_vocab(self.handle)
        self.vocab: int = self.library.llama_vocab_n_tokens(vocabulary)

    def close(self) -> None:
        """Let go of the file; contexts on it must be closed before."""
        self._end()

    def _text(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(128)
        self.library.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace")


class LlamaContext:
    """A cache on a graph.

    Args:
        graph: stays open for as long as this is.
        rows: how many the cache holds.
        batch: most rows of one `read`.
        threads: of one operator; 0 is one a core.
        exact: keeps keys and values in f32 rather than f16, as a check of an export wants them.

    Raises:
        BundleError: llama.cpp cannot make a context for it.
    """

    def __init__(self, graph: LlamaGraph, rows: int, batch: int, threads: int, *, exact: bool = False) -> None:
        self._graph = graph
        self._library = graph.library
        parameters = self._library.llama_context_default_params()
        parameters.n_ctx = rows
        parameters.n_batch = parameters.n_ubatch = batch
        parameters.n_seq_max = 1
        parameters.n_threads = parameters.n_threads_batch = threads or core_count()
        # With pooling off, embeddings are the rows after the final norm, and logits come with them.
        parameters.embeddings = True
        parameters.pooling_type = self._library.LLAMA_POOLING_TYPE_NONE
        # Its fused attention sums in f16: with it a row depends on how the prompt was cut into batches.
        parameters.flash_attn_type = self._library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.no_perf = True
        if exact:
            parameters.type_k = parameters.type_v = self._library.GGML_TYPE_F32
        self._handle: Any = self._library.llama_init_from_model(graph.handle, parameters)
        if not self._handle:
            raise BundleError(f"llama.cpp makes no context of {rows} rows: {complaint()}. Update llama-cpp-python")
        self._end = weakref.finalize(self, self._library.llama_free, self._handle)
        self._memory: Any = self._library.llama_get_memory(self._handle)

    def read(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read one batch.

        Args:
            rows: [S, width].
            positions: [3, S], in lexicographic order and none below a cached time, or llama.cpp masks wrongly
                or refuses (FACTS §8).

        Returns:
            Hidden rows after the final norm [S, width], and the last row's logits [vocab]; both are copies.

        Raises:
            BundleError: llama.cpp refuses the batch.
        """
        import numpy as np

        library, count = self._library, len(rows)
        embeddings = np.ascontiguousarray(rows, np.float32)
        places = np.zeros((PLANES, count), np.int32)
        places[:3] = positions
        # Built here and not by llama_batch_init, which makes room for one plane of positions only.
        first = (library.llama_seq_id * 1)(0)
        pointer = ctypes.POINTER(library.llama_seq_id)
        batch = library.llama_batch(
            n_tokens=count,
            token=None,
            embd=embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=places.ctypes.data_as(ctypes.POINTER(library.llama_pos)),
            n_seq_id=(ctypes.c_int32 * count)(*([1] * count)),
            seq_id=(pointer * count)(*([ctypes.cast(first, pointer)] * count)),
            logits=(ctypes.c_int8 * count)(*([1] * count)),
        )
        status = library.llama_decode(self._handle, batch)
        if status:
            raise BundleError(f"llama.cpp refused {count} rows ({status}): {complaint()}. Use --engine onnx")
        hidden = np.ctypeslib.as_array(library.llama_get_embeddings(self._handle), (count, self._graph.width))
        logits = np.ctypeslib.as_array(library.llama_get_logits_ith(self._handle, -1), (self._graph.vocab,))
        return hidden.copy(), logits.copy()

    def forget(self, time: int) -> None:
        """Forget all rows whose time is at or above `time`."""
        self._library.llama_memory_seq_rm(self._memory, 0, time, -1)

    def move_to(self, other: LlamaContext) -> None:
        """Hand the cache over to an empty context that holds more rows."""
        library = self._library
        size = library.llama_state_seq_get_size(self._handle, 0)
        buffer = (ctypes.c_uint8 * size)()
        library.llama_state_seq_get_data(self._handle, buffer, size, 0)
        if library.llama_state_seq_set_data(other._handle, buffer, size, 0) != size:
            raise BundleError("llama.cpp cannot move its cache to a larger one. Update llama-cpp-python")

    def close(self) -> None:
        """Free the cache."""
        self._end()
