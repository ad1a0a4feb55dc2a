"""Samples to a .wav file, as they come."""

from __future__ import annotations

import wave
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..models.errors import OmniError


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Samples in [-1, 1] as little-endian 16-bit integers."""
    return (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()


class WavWriter:
    """Writes a mono 16-bit file beside its place and puts it there when closed without an error.

    Args:
        path: of the file; an older one stays until the new one is complete.
        rate: samples per second.

    Raises:
        OmniError: the folder cannot be written.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        self._beside = path.with_name(f".{path.name}.partial")
        try:
            self._file = wave.open(str(self._beside), "wb")  # noqa: SIM115 (closed in __exit__)
        except OSError as error:
            raise OmniError(f"{path} cannot be written: {error.strerror}. Choose another place with --out") from error
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples [n]."""
        try:
            self._file.writeframes(pcm16(samples))
        except OSError as error:
            raise OmniError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._beside.replace(self.path)
        else:
            self._beside.unlink(missing_ok=True)
