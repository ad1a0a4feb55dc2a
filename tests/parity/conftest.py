"""The reference: transformers' Qwen2.5-Omni on a tiny checkpoint, with its own front ends where they run on a CPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni_edge.models.bundle import open_bundle
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio, Image, Message, Text, Tokens, Video, system
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.session import Session
from omni_edge.runtime.stages import Stages

torch = pytest.importorskip("torch")

SEED = 11


@dataclass
class Answer:
    """What the reference said."""

    ids: list[int]
    codes: list[int]
    mel: np.ndarray
    wav: np.ndarray
    encoded: dict[str, np.ndarray] = field(default_factory=dict)


def _with_mask(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the talker the attention mask that transformers 5.23's generate drops when it is all ones.

    Without a mask its forward adds neither the codec bos and pad embeddings nor TMRoPE positions, which the model was
    trained with and every earlier version does: speech of an unpadded sample comes from another distribution.
    """
    if kwargs.get("attention_mask") is None:
        cache = kwargs.get("past_key_values")
        new = kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"]
        length = new.shape[1] + (0 if cache is None else cache.get_seq_length())
        kwargs["attention_mask"] = torch.ones(1, length, dtype=torch.long)
    return args, kwargs


class Reference:
    """transformers' model and feature extractors."""

    def __init__(self, checkpoint: Path) -> None:
        from transformers import Qwen2_5OmniForConditionalGeneration, WhisperFeatureExtractor
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        self.model = Qwen2_5OmniForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.model.talker.register_forward_pre_hook(_with_mask, with_kwargs=True)
        self.hear = WhisperFeatureExtractor.from_pretrained(checkpoint)
        self.see = Qwen2VLImageProcessorPil.from_pretrained(checkpoint)

    def inputs(self, stages: Stages, messages: list[Message]) -> dict[str, Any]:
        """Arguments of generate: ids as our prompt builder wrote them, features by the reference's extractors."""
        parts = [part for message in messages for part in message.parts if not isinstance(part, (Text, Tokens))]
        features = [stages.perception.features(part) for part in parts]
        prompt = stages.prompts.build(messages, [feature.size for feature in features])
        inputs: dict[str, Any] = {"input_ids": torch.from_numpy(prompt.ids)[None]}
        sounds = [
            self._sound(part)
            for part in parts
            if isinstance(part, Audio) or (isinstance(part, Video) and part.use_audio)
        ]
        if sounds:
            heard = self.hear(
                sounds, sampling_rate=16000, padding="max_length", return_attention_mask=True, return_tensors="pt"
            )
            inputs["input_features"] = heard["input_features"]
            inputs["feature_attention_mask"] = heard["attention_mask"]
        pictures = [part.source for part in parts if isinstance(part, Image)]
        if pictures:
            seen = self.see(images=pictures, return_tensors="pt")
            inputs["thinker_pixel_values"] = seen["pixel_values"]
            inputs["image_grid_thw"] = seen["image_grid_thw"]
        clips = [feature for part, feature in zip(parts, features, strict=True) if isinstance(part, Video)]
        if clips:
            # The video processor needs torchvision; clips have parity tests of their own (test_clip.py).
            inputs["thinker_pixel_values_videos"] = torch.from_numpy(np.concatenate([c.patches.values for c in clips]))
            inputs["video_grid_thw"] = torch.tensor([c.patches.grid for c in clips])
            inputs["video_second_per_grid"] = torch.tensor([c.patches.step_seconds for c in clips])
            inputs["use_audio_in_video"] = any(isinstance(part, Video) and part.use_audio for part in parts)
        return inputs

    def _sound(self, part: Audio | Video) -> np.ndarray:
        from omni_edge.runtime.audio_file import read_audio

        if isinstance(part.source, np.ndarray):
            return part.source
        return read_audio(part.source, 16000, 300).samples

    def answer(
        self, inputs: dict[str, Any], max_tokens: int, max_codes: int, monkeypatch: pytest.MonkeyPatch
    ) -> Answer:
        """Greedy text and codes; mel and wav from the noise that our session draws for SEED."""
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as modeling

        model = self.model
        captured: dict[str, Any] = {}
        hooks = [
            model.token2wav.register_forward_pre_hook(lambda _, args: captured.update(codes=args[0][0].tolist())),
            model.token2wav.code2wav_bigvgan_model.register_forward_pre_hook(
                lambda _, args: captured.update(mel=args[0][0].T.numpy())
            ),
        ]
        for name, tower in (("audio", model.thinker.model.audio_tower), ("vision", model.thinker.model.visual)):
            keep = lambda _, __, out, name=name: captured.update({name: out.pooler_output.numpy()})  # noqa: E731
            hooks.append(tower.register_forward_hook(keep))
        talker = model.config.talker_config
        noise = Noise(SEED, 80)

        def randn(shape: list[int], **_: Any) -> Any:
            return torch.from_numpy(noise.frames(0, shape[1]).copy())[None]

        monkeypatch.setattr(modeling.torch, "randn", randn)
        try:
            ids, wav = model.generate(
                **inputs,
                speaker="Chelsie",
                thinker_max_new_tokens=max_tokens,
                thinker_do_sample=False,
                thinker_eos_token_id=model.config.thinker_config.eos_token_id,
                thinker_pad_token_id=model.config.thinker_config.pad_token_id,
                talker_max_new_tokens=max_codes,
                talker_do_sample=False,
                talker_eos_token_id=[talker.tts_codec_pad_token_id, talker.tts_codec_end_token_id],
            )
        finally:
            monkeypatch.undo()
            for hook in hooks:
                hook.remove()
        return Answer(
            ids[0, inputs["input_ids"].shape[1] :].tolist(),
            captured.pop("codes"),
            captured.pop("mel"),
            wav.numpy(),
            captured,
        )


class Pair:
    """One tiny shape, in both implementations."""

    def __init__(self, checkpoint: Path, bundle: Path) -> None:
        self.reference = Reference(checkpoint)
        self.stages = load_stages(open_bundle(bundle))

    def session(self) -> Session:
        return Session(self.stages, [system(self.stages.bundle.manifest.speech_prompt)])


@pytest.fixture(scope="session")
def pairs(tiny: Any) -> dict[str, Pair]:
    class Pairs(dict[str, Pair]):
        def __missing__(self, name: str) -> Pair:
            self[name] = Pair(tiny.checkpoint(name), tiny.bundle(name))
            return self[name]

    return Pairs()
