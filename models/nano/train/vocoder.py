"""Mel → waveform: the real BigVGAN class, small, trained on multi-resolution spectra of the two teacher voices."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniBigVGANConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavBigVGANModel

from .averages import Average, Means
from .marathon import Marathon, StageOptions
from .muon import Muon
from .segments import FlowedMels, Segments
from .snake import use_kernel
from .voices import FLOOR, HOP, N_FFT, VoiceCache, load_voices, mel_bank


@dataclass(frozen=True)
class VocoderShape:
    """Sizes of the vocoder."""

    channels: int = 256
    kernels: tuple[int, ...] = (7,)
    dilations: tuple[int, ...] = (1, 3, 5)


@dataclass(frozen=True)
class VocoderRecipe:
    """How it is trained."""

    batch: int = 4
    frames: int = 32  # of a training segment: 0.32 s
    rate: float = 1e-3  # 2e-3 is faster for 1000 steps, then the held-out error rises again
    mel_weight: float = 1.0
    flowed: float = 0.5  # share of the segments whose mel is what the flow makes of its codes, once there is a flow
    clip: float = 3.0  # norm of all gradients: one wild step would otherwise rule Muon's momentum for twenty


RESOLUTIONS = (2048, 1024, 512, 256)  # samples of the STFT windows that the loss compares


def vocoder_config(shape: VocoderShape) -> Qwen2_5OmniBigVGANConfig:
    """The transformers configuration of a shape."""
    return Qwen2_5OmniBigVGANConfig(
        upsample_initial_channel=shape.channels,
        resblock_kernel_sizes=list(shape.kernels),
        resblock_dilation_sizes=[list(shape.dilations) for _ in shape.kernels],
    )


def new_vocoder(shape: VocoderShape, seed: int) -> Qwen2_5OmniToken2WavBigVGANModel:
    """A vocoder with weights that sound from the first step: the class's own are silent (about 1e-9)."""
    torch.manual_seed(seed)
    model = Qwen2_5OmniToken2WavBigVGANModel(vocoder_config(shape))
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose1d):
            # Only kernel / stride of the taps meet each output sample.
            deviation = math.sqrt(module.stride[0] / (module.in_channels * module.kernel_size[0]))
            nn.init.normal_(module.weight, 0.0, deviation)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.Conv1d):
            module.reset_parameters()
    return model


def synthesize(model: Qwen2_5OmniToken2WavBigVGANModel, mel: Tensor) -> Tensor:
    """The class's forward without its clamp, squeeze and move to the CPU, so that gradients pass.

    Args:
        model: the vocoder.
        mel: natural-log mel [batch, frames, 80].

    Returns:
        Samples [batch, frames * HOP].
    """
    hidden = model.conv_pre(model.process_mel_spectrogram(mel.transpose(1, 2)))
    blocks = model.num_residual_blocks
    for index in range(model.num_upsample_layers):
        hidden = model.ups[index][0](hidden)  # type: ignore[index]
        stage = model.resblocks[index * blocks : (index + 1) * blocks]
        hidden = torch.stack([block(hidden) for block in stage]).mean(0) if blocks > 1 else stage[0](hidden)
    return model.conv_post(model.activation_post(hidden))[:, 0]


@cache
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


def magnitude(wave: Tensor, size: int) -> Tensor:
    """STFT magnitudes with a hop of a quarter window: [batch, bins, frames]."""
    spectrum = torch.stft(
        wave, size, size // 4, window=_window(size), center=True, pad_mode="constant", return_complex=True
    )
    # The small term keeps the gradient of the root finite.
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)


def torch_mel(wave: Tensor) -> Tensor:
    """`voices.log_mel` for gradients: [batch, samples] → [batch, frames, 80]."""
    pad = (N_FFT - HOP) // 2
    padded = F.pad(wave[:, None], (pad, pad), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, N_FFT, HOP, window=_window(N_FFT), center=False, return_complex=True)
    size = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    return (size.transpose(1, 2) @ _bank()).clamp(min=1e-5).log().clamp(min=FLOOR)


@cache
def _bank() -> Tensor:
    return torch.from_numpy(mel_bank())


def spectral_loss(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Spectral convergence and log-magnitude distance, each averaged over the resolutions."""
    convergence, distance = [], []
    for size in RESOLUTIONS:
        one, two = magnitude(made, size), magnitude(true, size)
        convergence.append(torch.linalg.norm(one - two) / torch.linalg.norm(two).clamp(min=1e-3))
        # Below the floor is what nobody hears: the teacher is silent above 8 kHz.
        floor = 3e-3 * size / 1024
        distance.append((one.clamp(min=floor).log() - two.clamp(min=floor).log()).abs().mean())
    return torch.stack(convergence).mean(), torch.stack(distance).mean()


class HeldOut:
    """The first few held-out sentences of each voice, as (mel [frames, 80], samples)."""

    def __init__(self, voices: tuple[VoiceCache, ...], each: int = 8) -> None:
        self.clips: list[tuple[Tensor, Tensor]] = []
        self.texts: list[str] = []
        self.speakers: list[str] = []
        for voice in voices:
            wave, mel = voice.wave(), voice.mel()
            for utterance in [u for u in voice.utterances if u.held_out][:each]:
                first, last = utterance.start, utterance.start + utterance.samples
                frames = np.asarray(mel[first // HOP : last // HOP], dtype=np.float32)
                samples = np.asarray(wave[first:last], dtype=np.float32) / 32768
                self.clips.append((torch.from_numpy(frames), torch.from_numpy(samples)))
                self.texts.append(utterance.text)
                self.speakers.append(voice.speaker.name)

    @torch.no_grad()
    def measure(self, model: Qwen2_5OmniToken2WavBigVGANModel) -> dict[str, float]:
        """Mel L1 and spectral convergence of copy synthesis."""
        errors, convergence = [], []
        for mel, wave in self.clips:
            made = synthesize(model, mel[None])
            errors.append(float((torch_mel(made)[0] - mel).abs().mean()))
            convergence.append(float(spectral_loss(made, wave[None])[0]))
        return {"mel_l1": float(np.mean(errors)), "convergence": float(np.mean(convergence))}


def train_vocoder(
    options: StageOptions, shape: VocoderShape | None = None, recipe: VocoderRecipe | None = None
) -> None:
    """Train the vocoder for a sitting; its state is `<folder>/vocoder.pt`."""
    shape, recipe = shape or VocoderShape(), recipe or VocoderRecipe()
    voices = load_voices(options.folder / "voices")
    flowed = FlowedMels(options.folder, voices) if (options.folder / "flow.pt").exists() else None
    segments, held_out = Segments(voices, flowed, recipe.flowed), HeldOut(voices)
    model, shadow = new_vocoder(shape, options.seed), new_vocoder(shape, options.seed)
    if not (use_kernel(model) and use_kernel(shadow)):
        print("no C compiler: the vocoder trains several times slower; apt-get install gcc", file=sys.stderr)
    average, optimizer = Average(model), Muon(model.named_parameters(), recipe.rate)
    marathon = Marathon("vocoder", options)
    saved = marathon.load()
    if saved is not None:
        for name, part in (("model", model), ("average", average), ("optimizer", optimizer)):
            if name in saved:  # the repository keeps no momenta
                part.load_state_dict(saved[name])
    sums = Means()
    while not marathon.over:
        mel, wave = segments.draw(recipe.batch, recipe.frames, (options.seed, marathon.step))
        losses = vocoder_losses(synthesize(model, mel), wave)
        optimizer.zero_grad()
        (losses["convergence"] + losses["distance"] + recipe.mel_weight * losses["mel"]).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step(marathon.rate(fall=0.9))
        average.update(model, marathon.step)
        sums.add({**losses, "norm": norm})
        marathon.step += 1
        if marathon.step % 50 == 0:
            marathon.log(**sums.take())
        if marathon.step % 1000 == 0:
            shadow.load_state_dict(average.state_dict())
            marathon.log(**held_out.measure(shadow))
        marathon.save_if_due(_state(model, average, optimizer))
    shadow.load_state_dict(average.state_dict())
    marathon.log(**held_out.measure(shadow))
    marathon.finish(_state(model, average, optimizer))


def _state(model: nn.Module, average: Average, optimizer: Muon) -> dict[str, Any]:
    return {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}


def vocoder_losses(made: Tensor, true: Tensor) -> dict[str, Tensor]:
    """What the vocoder is trained on: spectra at four resolutions, and the mel that it was given."""
    convergence, distance = spectral_loss(made, true)
    error = (torch_mel(made) - torch_mel(true)).abs().mean()
    return {"convergence": convergence, "distance": distance, "mel": error}
