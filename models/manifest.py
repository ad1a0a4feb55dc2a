"""manifest.json: everything the runtime knows about a model.

Nothing about a model is a constant in runtime code: ids, sizes, rotary sections, block lengths, rates and
sampling values are all read from here, so the small default, the 3B and the 7B run through the same lines.
Files of another schema are refused by name before anything else is looked at.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec

from .errors import BundleError

SCHEMA = 6
MANIFEST = "manifest.json"

EngineName = Literal["onnx", "llama"]
SubnetworkName = Literal["audio_encoder", "vision_encoder", "thinker", "talker", "flow", "vocoder"]
SolverName = Literal["euler", "midpoint", "rk4"]
SUBNETWORKS: tuple[SubnetworkName, ...] = (
    "audio_encoder",
    "vision_encoder",
    "thinker",
    "talker",
    "flow",
    "vocoder",
)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all manifest records: immutable, and a field it does not know is an error."""


class FileEntry(Record, frozen=True):
    """One file of the bundle. `path` is relative to the bundle and uses forward slashes."""

    path: str
    bytes: int
    sha256: str


class Source(Record, frozen=True):
    """Where the weights came from and what may be done with them."""

    checkpoint: str
    revision: str = ""
    licence: str = ""
    """SPDX-like name, e.g. "apache-2.0"."""
    notice: str = ""
    """Printed by every command that touches the bundle (a non-commercial licence)."""


PROMPT = ".prompt.onnx"
"""End of the name of a decoder's second graph, which reads long prompts."""


class Graph(Record, frozen=True):
    """A network for one engine, at one precision."""

    engine: EngineName
    precision: str
    graph: str
    """The file handed to the engine; one of `files`."""
    files: tuple[str, ...]
    """Graph and weights; each has an entry in `Manifest.files`."""

    @property
    def prompt(self) -> str | None:
        """The second graph, if there is one."""
        return next((file for file in self.files if file.endswith(PROMPT)), None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Files of the graphs that follow one another: the vocoder's are several, all others are one."""
        return tuple(file for file in self.files if file.endswith(".onnx") and not file.endswith(PROMPT))


class Subnetwork(Record, frozen=True):
    """One of the six networks."""

    graphs: tuple[Graph, ...]
    """One an engine; the first is taken when no engine is asked for."""
    parameters: int = 0

    def on(self, engine: EngineName) -> Graph | None:
        """The graph for an engine, if there is one."""
        return next((graph for graph in self.graphs if graph.engine == engine), None)


class Extra(Record, frozen=True):
    """A file that the runtime does not read: something for other programs."""

    path: str
    """It has an entry in `Manifest.files`."""
    purpose: str
    """What it is for, a sentence."""


class Decoder(Record, frozen=True):
    """Shape of an autoregressive network. Sizes in elements, `context` in rows."""

    rows: int
    """Width of an input row (thinker: hidden size; talker: the thinker's hidden size)."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    mrope_section: tuple[int, int, int]
    context: int


class TokenIds(Record, frozen=True):
    """Ids the runtime must know by meaning. Thinker vocabulary, except `codec_*` (talker vocabulary)."""

    audio: int
    image: int
    video: int
    audio_start: int
    audio_end: int
    vision_start: int
    vision_end: int
    eos: tuple[int, ...]
    pad: int
    tts_text_start: int
    tts_text_end: int
    tts_text_pad: int
    codec_start: int
    codec_end: int
    codec_pad: int
    codec_mask: int


class AudioFrontEnd(Record, frozen=True):
    """Log-mel settings (FACTS §4.1) and the audio encoder's chunking (§4.2)."""

    rate: int
    n_fft: int
    hop: int
    mels: int
    max_seconds: int
    chunk_frames: int
    """Mel frames of one independent encoder chunk: 2·n_window (200 = 2 s)."""


class VisionFrontEnd(Record, frozen=True):
    """Picture and clip settings (FACTS §4.3), encoder window (§4.4). Pixel limits are areas."""

    patch: int
    temporal_patch: int
    merge: int
    window: int
    """Side of an attention window in pixels."""
    min_pixels: int
    max_pixels: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    video_fps: float
    video_min_frames: int
    video_max_frames: int
    video_min_pixels: int
    video_max_pixels: int
    video_total_pixels: int


class Clock(Record, frozen=True):
    """TMRoPE time base (FACTS §3.4): temporal ids per second, and the length of an interleaving chunk."""

    ids_per_second: int
    seconds_per_chunk: float


class Flow(Record, frozen=True):
    """The DiT and its ODE solver (FACTS §6.1, §6.2). `steps` counts time points (num_steps)."""

    mel_bins: int
    codes: int
    """Rows of the code table; ids at or above it are read as 0."""
    repeats: int
    """Mel frames per code."""
    block: int
    """Frames of one attention block."""
    back_layers: int
    """Layers that look at the block before, and keep keys and values for the next chunk."""
    width: int
    """Of a frame's keys or values: heads · head size."""
    solver: SolverName
    steps: int
    guidance: float
    sway: float
    schedules: dict[SolverName, tuple[int, ...]]
    """Step counts the modulation table covers, by solver."""
    tables: str
    """File of modulations by time point and speaker rows, .npz."""
    guided_until: float = 1.0
    """Intervals of the solver that begin before this time are guided."""


class VocoderPart(Record, frozen=True):
    """One of the vocoder's graphs: an upsampling and its residual blocks."""

    rate: int
    """Rows that come out for one that goes in."""
    reach: int
    """Rows on either side of one that what comes out depends on."""


class Vocoder(Record, frozen=True):
    """Mel frames to samples (FACTS §6.3)."""

    rate: int
    parts: tuple[VocoderPart, ...]
    """What one makes, the next one takes; one a graph."""
    dilations: tuple[tuple[int, ...], ...]
    """Of the first convolution of each step of each residual block; the second ones have none."""

    @property
    def hop(self) -> int:
        """Samples a mel frame."""
        return math.prod(part.rate for part in self.parts)

    @property
    def held(self) -> int:
        """Samples at the end of what is to be spoken that hang on what may still follow."""
        held = 0
        for part in self.parts:
            held = (held + part.reach) * part.rate
        return held

    @property
    def whole(self) -> VocoderPart:
        """All parts as one, from mel frames to samples."""
        return VocoderPart(rate=self.hop, reach=math.ceil(self.held / self.hop))


class Sampling(Record, frozen=True):
    """How a token is drawn from logits. Order: penalty, suppression, temperature, top-k, top-p (FACTS §5).

    `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 switch those filters off.
    """

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    suppress: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()


class Voices(Record, frozen=True):
    """Speakers in voices.npz and the one used when none is named."""

    file: str
    names: tuple[str, ...]
    default: str


class Manifest(Record, frozen=True):
    """The whole of manifest.json."""

    schema: int
    name: str
    source: Source
    subnetworks: dict[SubnetworkName, Subnetwork]
    files: tuple[FileEntry, ...]
    tokenizer: str
    chat_template: str
    embeddings: str
    """The thinker's input embedding table, .npy, [vocab, hidden]."""
    codec_embeddings: str
    """The talker's input embedding table, .npy, [codec vocab, thinker hidden]."""
    tokens: TokenIds
    thinker: Decoder
    talker: Decoder
    audio: AudioFrontEnd
    vision: VisionFrontEnd
    clock: Clock
    flow: Flow
    vocoder: Vocoder
    thinker_sampling: Sampling
    talker_sampling: Sampling
    voices: Voices
    speech_prompt: str
    """System prompt the model was trained to speak under; another one degrades its speech. Empty: it had none."""
    extras: tuple[Extra, ...] = ()

    @property
    def code_samples(self) -> int:
        """Samples of speech, at the vocoder's rate, that a code becomes."""
        return self.flow.repeats * self.vocoder.hop


class _Schema(msgspec.Struct):
    schema: int


def encode(manifest: Manifest) -> bytes:
    """Manifest as indented JSON, UTF-8, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode(data: bytes, origin: Path) -> Manifest:
    """Parse and validate manifest.json.

    Args:
        data: the file's bytes.
        origin: its path, for error messages.

    Raises:
        BundleError: not JSON, another schema, or a field that is missing, unknown or of the wrong type.
    """
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema != SCHEMA:
            raise BundleError(
                f"{origin} has schema {schema}; this version reads schema {SCHEMA}. "
                "Export the checkpoint again, or install the omni-edge version that wrote it"
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BundleError(f"{origin} is not a valid manifest: {error}. Export the checkpoint again") from error
