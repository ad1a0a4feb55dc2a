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
        path: of the file; an older one stays until the new one is complete, or for good if nothing is written.
        rate: samples per second.

    Raises:
        OmniError: the folder cannot be written, or `path` is none of a file; from `write` and at the end as well,
            when the disk is full.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        if not path.name or (path.exists() and not path.is_file()):
            # The rename would put a file in the place of a device such as /dev/null.
            raise OmniError(f"{path} is a folder or a device; name a file for the speech with --out")
        self._beside = path.with_name(f".{path.name}.partial")
        try:
            # Opened here, because a wave.open that fails prints a traceback of its own when it is collected.
            self._raw = self._beside.open("wb")
        except OSError as error:
            raise self._unwritable(error) from error
        self._file = wave.open(self._raw, "wb")  # noqa: SIM115 (closed in __exit__)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples [n]."""
        try:
            self._file.writeframes(pcm16(samples))
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            complete = kind is None and self._file.getnframes() > 0
            with self._raw:
                self._file.close()
            if complete:
                self._beside.replace(self.path)
        except OSError as error:
            # What the block ran into comes first: a full disk is in the way of closing the file, too.
            if kind is None:
                raise self._unwritable(error) from error
        finally:
            self._beside.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> OmniError:
        return OmniError(f"{self.path} cannot be written: {error.strerror}. Choose another place with --out")
