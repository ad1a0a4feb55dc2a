"""The runtime without torch, and what starting loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BLOCKED = ("torch", "transformers", "onnx", "onnxscript", "onnx_ir", "optimum", "safetensors", "torchvision")
HEAVY = (*BLOCKED, "numpy", "onnxruntime", "llama_cpp", "numba", "av", "cv2", "sounddevice", "tokenizers", "PIL")
CHAIN = """
import json, sys
for name in {blocked}:
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from omni_edge.runtime.events import AudioDelta
from omni_edge.runtime.loading import load
from omni_edge.runtime.messages import Audio, Image, Video
from omni_edge.runtime.options import Options
bundle, clip = sys.argv[1:]
session = load(bundle)
picture = np.random.default_rng(0).integers(0, 256, (84, 112, 3), np.uint8)
sound = np.sin(np.arange(16000, dtype=np.float32) / 9)
options = Options(greedy=True, max_tokens=5, max_codes=6)
parts = (Image(picture), Audio(sound), Video(clip, use_audio=True), "What is this?")
*events, done = session.respond(*parts, options=options)
samples = sum(event.samples.size for event in events if isinstance(event, AudioDelta))
loaded = [name for name in {blocked} if sys.modules.get(name) is not None]
print(json.dumps([done.samples, samples, len(done.ids), loaded]))
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds with sound."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=4)
        video.width, video.height, video.pix_fmt = 112, 84, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        sound.layout = "mono"
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((84, 112, 3), 20 * index, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        samples = np.sin(np.arange(32000, dtype=np.float32) / 7)[None]
        audio = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        audio.rate = 16000
        container.mux(sound.encode(audio))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


def test_the_whole_chain_without_what_only_export_needs(tiny, clip):
    program = CHAIN.format(blocked=BLOCKED)
    command = [sys.executable, "-c", program, str(tiny.bundle("like-3b")), str(clip)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    samples, heard, tokens, loaded = json.loads(result.stdout)
    assert samples == heard > 0
    assert tokens > 0
    assert loaded == []


@pytest.mark.parametrize("arguments", [[], ["run"], ["export"], ["bench"]], ids=lambda each: " ".join(each) or "none")
def test_help_loads_nothing_heavy(arguments):
    """Help and mistyped options answer at once, because whatever takes long to import waits for who needs it."""
    program = (
        "import sys\n"
        "from omni_edge.apps.cli import app\n"
        "try:\n"
        f"    app({[*arguments, '--help']})\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"print(*[name for name in {HEAVY} if sys.modules.get(name) is not None], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "Usage" in result.stdout
    assert result.stderr.strip() == ""


@pytest.mark.parametrize("statement", ["import omni_edge.runtime", "import omni_edge.apps.cli"])
def test_importing_what_others_start_from_loads_nothing_heavy(statement):
    program = f"import sys\n{statement}\nassert not [name for name in {HEAVY} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_every_runtime_module_loads_nothing_of_export():
    program = (
        "import sys, omni_edge.runtime.loading, omni_edge.runtime.messages\n"
        f"assert not [name for name in {BLOCKED} if name in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
