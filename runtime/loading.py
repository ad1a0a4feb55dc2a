"""A bundle to a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..models.bundle import Bundle, open_bundle
from ..models.errors import RequestError
from ..models.store import resolve
from .decoder import Decoder
from .encoders import AudioEncoder, VisionEncoder
from .engine import DECODERS, DecoderName, EngineChoice, Engines, choose_engines, open_decoder, open_session
from .flow import Flow
from .messages import Message
from .perception import Perception
from .prompt import ChatTemplate, PromptBuilder
from .session import Session, Stages
from .speech import Speech
from .talker import Talker
from .thinker import Embeddings, Thinker
from .tokenizer import Tokenizer
from .vocoder import Vocoder


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
        threads: for one operator; 0 is one a physical core.
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
    """Load all six subnetworks and what goes between them.

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
    flow = Flow(open_session(bundle, "flow", threads), manifest.flow, bundle.path(manifest.flow.tables))
    vocoder = Vocoder(open_session(bundle, "vocoder", threads), manifest.vocoder)
    perception = Perception(
        AudioEncoder(open_session(bundle, "audio_encoder", threads), manifest.audio),
        VisionEncoder(open_session(bundle, "vision_encoder", threads), manifest.vision),
        manifest.audio,
        manifest.vision,
        max_pixels,
    )
    prompts = PromptBuilder(tokenizer, template, manifest.tokens, manifest.clock, manifest.vision.merge)

    def joined(engines: Engines) -> Stages:
        def decoder(name: DecoderName) -> Decoder:
            return open_decoder(bundle, name, engines.of[name], threads)

        thinker = Thinker(decoder("thinker"), words)
        talker = Talker(decoder("talker"), codes, words, manifest.tokens)
        speech = Speech(talker, flow, vocoder, manifest, voices)
        return Stages(bundle, tokenizer, prompts, perception, thinker, speech, engines.notes)

    stages = joined(engines)
    onnx = all(manifest.subnetworks[name].on("onnx") for name in DECODERS)
    if engine == "auto" and onnx and "llama" in engines.of.values():
        return replace(stages, on_onnx=cache(lambda: joined(Engines({"thinker": "onnx", "talker": "onnx"}))))
    return stages
