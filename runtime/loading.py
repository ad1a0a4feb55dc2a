"""A bundle to a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..models.bundle import Bundle, open_bundle
from ..models.errors import RequestError
from ..models.store import resolve
from .decoder import Decoder
from .encoders import AudioEncoder, VisionEncoder
from .engine import (
    DECODERS,
    DecoderName,
    EngineChoice,
    LateSession,
    choose_engines,
    open_decoder,
    open_session,
    open_vocoder,
)
from .flow import Flow
from .messages import Message
from .perception import Perception
from .prompt import ChatTemplate, PromptBuilder
from .session import Session
from .speech import Speech
from .stages import Stages
from .talker import Talker
from .thinker import Embeddings, Thinker
from .tokenizer import Tokenizer


def load(
    model: str | Path = "nano",
    *,
    history: Sequence[Message] = (),
    threads: int = 0,
    max_pixels: int | None = None,
    engine: EngineChoice = "auto",
) -> Session:
    """Open a model for one conversation.

    Args:
        model: a bundle folder, or a name that `omni-edge list` shows.
        history: messages so far, a system message first if there is one.
        threads: for one operator; 0 leaves the choice to `threads_of`.
        max_pixels: largest area of a picture; larger ones are scaled down. None keeps the model's own limit.
        engine: of thinker and talker, if the bundle has them for more than one; "auto" takes what it lists first.

    Raises:
        ModelNotFound: nothing goes by that name.
        BundleError: the bundle is incomplete, altered or of another schema.
        DeviceError: the bundle has no graph for the engine.
        MissingExtra: the engine is not installed.
    """
    bundle = open_bundle(resolve(str(model)))
    return Session(load_stages(bundle, threads=threads, max_pixels=max_pixels, engine=engine), history)


def load_stages(
    bundle: Bundle, *, threads: int = 0, max_pixels: int | None = None, engine: EngineChoice = "auto"
) -> Stages:
    """Load the subnetworks and what goes between them; the two encoders only when there is first something to encode.

    Raises:
        RequestError: a limit that leaves no pixels, or a negative number of threads.
        DeviceError: the bundle has no graph for the engine.
        MissingExtra: the engine is not installed.
    """
    if max_pixels is not None and max_pixels < 1:
        raise RequestError(f"pictures of at most {max_pixels} pixels cannot be; use 1 or more")
    if threads < 0:
        raise RequestError(f"{threads} threads cannot be; use 1 or more, or 0 for one a core")
    engines = choose_engines(bundle, engine)
    manifest = bundle.manifest
    tokenizer = Tokenizer(bundle.path(manifest.tokenizer))
    template = ChatTemplate(bundle.path(manifest.chat_template).read_text(encoding="utf-8"))
    words = Embeddings(bundle.path(manifest.embeddings))
    codes = Embeddings(bundle.path(manifest.codec_embeddings))
    with np.load(bundle.path(manifest.voices.file)) as arrays:
        voices = {name: int(arrays[f"{name}.bos_token"]) for name in manifest.voices.names}
    # Most of the time goes into laying weights out for the kernels, one core a graph: together they take half of it.
    with ThreadPoolExecutor() as pool:
        decoders: dict[DecoderName, Future[Decoder]] = {
            name: pool.submit(open_decoder, bundle, name, engines.of[name], threads) for name in DECODERS
        }
        session = pool.submit(open_session, bundle, "flow", threads)
        vocoder = pool.submit(open_vocoder, bundle, threads)
    flow = Flow(session.result(), manifest.flow, bundle.path(manifest.flow.tables))
    perception = Perception(
        AudioEncoder(LateSession(bundle, "audio_encoder", threads), manifest.audio),
        VisionEncoder(LateSession(bundle, "vision_encoder", threads), manifest.vision),
        manifest.audio,
        manifest.vision,
        max_pixels,
    )
    prompts = PromptBuilder(tokenizer, template, manifest.tokens, manifest.clock, manifest.vision.merge)

    def joined(decoders: Mapping[DecoderName, Decoder], notes: tuple[str, ...] = ()) -> Stages:
        thinker = Thinker(decoders["thinker"], words)
        talker = Talker(decoders["talker"], codes, words, manifest.tokens)
        speech = Speech(talker, flow, vocoder.result(), manifest, voices)
        return Stages(bundle, tokenizer, prompts, perception, thinker, speech, notes)

    chosen: dict[DecoderName, Decoder] = {name: opened.result() for name, opened in decoders.items()}
    stages = joined(chosen, engines.notes)
    onnx = all(manifest.subnetworks[name].on("onnx") for name in DECODERS)
    if engine == "auto" and onnx and "llama" in engines.of.values():

        def on_onnx() -> Stages:
            opened: dict[DecoderName, Decoder] = {
                name: open_decoder(bundle, name, "onnx", threads) for name in DECODERS
            }
            return joined(opened)

        return replace(stages, on_onnx=cache(on_onnx))
    return stages
