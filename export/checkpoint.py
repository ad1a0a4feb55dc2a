"""A Hugging Face style checkpoint folder, read tensor by tensor.

Tensors are found by the legacy (published) names only: transformers writes those whatever its version
(FACTS §2.4). Nothing is held: each read maps its file, converts one tensor to float32 and lets go.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..models.errors import BundleError
from .config import OmniConfig, read_config

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Checkpoint:
    """An opened checkpoint folder.

    Args:
        folder: holds config.json, safetensors (one file or shards with an index), tokenizer and spk_dict.pt.

    Raises:
        BundleError: no such folder, another model, or a shard that is missing or cut short.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder; give the folder of a Qwen2.5-Omni checkpoint")
        self.folder = folder
        self.config: OmniConfig = read_config(folder / "config.json")

    @cached_property
    def files(self) -> dict[str, Path]:
        """Tensor name -> the safetensors file that holds it."""
        index = self.folder / INDEX
        if index.exists():
            try:
                names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
                shards = {shard: self.folder / shard for shard in sorted(set(names.values()))}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BundleError(f"{index} is not a safetensors index; download the checkpoint again") from error
            missing = [shard for shard, path in shards.items() if not path.exists()]
            if missing:
                raise BundleError(
                    f"{self.folder} lacks {', '.join(missing)} that {INDEX} lists; download the checkpoint again"
                )
            return {name: shards[shard] for name, shard in names.items()}
        single = self.folder / SINGLE
        if not single.exists():
            raise BundleError(f"{self.folder} has neither {SINGLE} nor {INDEX}; download the checkpoint again")
        with self._open(single) as handle:
            return dict.fromkeys(handle.keys(), single)

    def _open(self, path: Path) -> safe_open:  # pyright: ignore[reportInvalidTypeForm]
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} is damaged ({error}); download the checkpoint again") from error

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""
        with self._open(self._file(name)) as handle:
            return tuple(self._slice(handle, name).get_shape())

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Tensor name -> how many values it holds, without reading any."""
        sizes: dict[str, int] = {}
        for path in sorted(set(self.files.values())):
            with self._open(path) as handle:
                for name in handle.keys():  # noqa: SIM118  (not a mapping)
                    sizes[name] = math.prod(handle.get_slice(name).get_shape())
        return sizes

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor as float32."""
        with self._open(self._file(name)) as handle:
            self._slice(handle, name)
            return handle.get_tensor(name).to(torch.float32)

    def array(self, name: str) -> np.ndarray:
        """One tensor as a float32 array."""
        return self.tensor(name).numpy()

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows start..stop of a matrix as float32, so that an embedding table never has to fit memory."""
        with self._open(self._file(name)) as handle:
            return self._slice(handle, name)[start:stop].to(torch.float32).numpy()

    def state(self, prefix: str, *, without: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        """All tensors whose names start with `prefix`, as float32, the prefix cut off.

        Args:
            prefix: of the wanted names.
            without: parts of names that are not wanted.

        Raises:
            BundleError: there is no such tensor.
        """
        return {name.removeprefix(prefix): self.tensor(name) for name in self.names(prefix, without=without)}

    def names(self, prefix: str, *, without: tuple[str, ...] = ()) -> list[str]:
        """Names of all tensors that start with `prefix` and hold none of the parts in `without`.

        Raises:
            BundleError: there is no such tensor.
        """
        found = [name for name in self.files if name.startswith(prefix) and not any(part in name for part in without)]
        if not found:
            raise self._lacks(f"{prefix}*")
        return found

    def _file(self, name: str) -> Path:
        try:
            return self.files[name]
        except KeyError:
            raise self._lacks(name) from None

    def _slice(self, handle: safe_open, name: str):  # pyright: ignore # noqa: ANN202  (an opaque PySafeSlice)
        try:
            return handle.get_slice(name)
        except SafetensorError:
            raise self._lacks(name) from None

    def _lacks(self, name: str) -> BundleError:
        return BundleError(f"{self.folder} lacks the tensor {name}; download the checkpoint again")


def load_weights(module: nn.Module, state: dict[str, torch.Tensor], checkpoint: Checkpoint) -> None:
    """Put a state into a module whose names and shapes must match it exactly.

    Raises:
        BundleError: a tensor is missing, unknown or of another shape than config.json implies.
    """
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise BundleError(f"{checkpoint.folder} does not fit its config.json: {detail[:300]}") from error
