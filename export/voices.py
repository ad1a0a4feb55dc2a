"""spk_dict.pt, the checkpoint's speakers, read once without executing anything, into plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..models.errors import BundleError

SPEAKERS = "spk_dict.pt"


@dataclass(frozen=True)
class Voice:
    """A speaker: bos_token starts its speech in the talker; cond [c] and ref_mel [frames, bins] f32 colour the flow."""

    bos_token: int
    cond: np.ndarray
    ref_mel: np.ndarray


def read_voices(folder: Path) -> dict[str, Voice]:
    """Speakers of a checkpoint, by name.

    Raises:
        BundleError: spk_dict.pt is missing, damaged, or holds anything but tensors and numbers.
    """
    path = folder / SPEAKERS
    try:
        # weights_only refuses every pickle opcode that could run code.
        content = torch.load(path, weights_only=True, map_location="cpu")
        return {
            name: Voice(
                bos_token=int(speaker["bos_token"]),
                cond=speaker["cond"].float().reshape(-1).numpy(),
                ref_mel=speaker["ref_mel"].float().squeeze(0).numpy(),
            )
            for name, speaker in content.items()
        }
    except FileNotFoundError as error:
        raise BundleError(f"{folder} lacks {SPEAKERS} (the voices); download the checkpoint again") from error
    except Exception as error:  # torch's reader of pickles lets out whatever it stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{path} is damaged or is no speaker file ({reason}); download it again") from error


def voice_arrays(voices: dict[str, Voice]) -> dict[str, np.ndarray]:
    """Content of voices.npz: <name>.bos_token, <name>.cond, <name>.ref_mel."""
    arrays: dict[str, np.ndarray] = {}
    for name, voice in voices.items():
        arrays[f"{name}.bos_token"] = np.array(voice.bos_token, np.int64)
        arrays[f"{name}.cond"] = voice.cond
        arrays[f"{name}.ref_mel"] = voice.ref_mel
    return arrays


def voices_from_arrays(arrays: dict[str, np.ndarray]) -> dict[str, Voice]:
    """The inverse of `voice_arrays`."""
    names = [name.removesuffix(".bos_token") for name in arrays if name.endswith(".bos_token")]
    return {
        name: Voice(int(arrays[f"{name}.bos_token"]), arrays[f"{name}.cond"], arrays[f"{name}.ref_mel"])
        for name in names
    }
