"""The command line, as a process of its own and, where many short runs are wanted, inside this one."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from omni_edge.models.bundle import open_bundle
from omni_edge.runtime.session import Session

loading = importlib.import_module("omni_edge.runtime.loading")  # the package has a function of that name
PROGRAM = [sys.executable, "-m", "omni_edge.apps.cli"]
CHEAP = ("--greedy", "--max-tokens", "5", "--max-codes", "6", "--solver", "euler", "--flow-steps", "2")


@pytest.fixture(scope="session")
def bundle(tiny: Any) -> Path:
    return tiny.bundle("like-3b")


@pytest.fixture
def omni(tmp_path: Path, outcome: type) -> Callable[..., Any]:
    """Run the program in an empty folder."""

    def run(*arguments: str | Path, stdin: str | bytes = "", cwd: Path = tmp_path) -> Any:
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        command = [*PROGRAM, *map(str, arguments)]
        result = subprocess.run(command, input=given, capture_output=True, cwd=cwd, check=False)
        return outcome(result.returncode, result.stdout.decode(), result.stderr.decode())

    return run


@pytest.fixture(scope="session")
def stages(bundle: Path) -> Any:
    return loading.load_stages(open_bundle(bundle))


@pytest.fixture
def asked(inside: Callable[..., Any], stages: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`omni-edge run` inside this process, on a model that is loaded already."""
    monkeypatch.setattr(loading, "load", lambda _, *, history, **__: Session(stages, history))
    return lambda *arguments: inside("run", *CHEAP, *arguments)


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    """Float samples [n] of a sound that rises."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 200 * time * (1 + time))).astype(np.float32)


def write_clip(path: Path, seconds: float, *, sound: bool = True) -> Path:
    """A clip at ten frames a second, with AAC sound."""
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        streams: list[Any] = [video]
        if sound:
            heard = container.add_stream("aac", rate=16000)
            heard.layout = "mono"
            streams.append(heard)
        for index in range(round(10 * seconds)):
            pixels = np.random.default_rng(index).integers(0, 256, (120, 160, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if sound:
            frame = av.AudioFrame.from_ndarray(tone(seconds)[None], format="fltp", layout="mono")
            frame.rate = 16000
            container.mux(heard.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip() -> Callable[..., Path]:
    return write_clip
