"""Makes question.flac, the sample question of `make run`: `python -m omni_edge.models.nano.make_question`.

Spoken by flite's voice slt, so that no recording of a person is needed. Needs the command `flite`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import av

QUESTION = "Hello, who are you?"
PLACE = Path(__file__).with_name("question.flac")


def main() -> None:
    """Speak the question into a 16 kHz flac."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "question.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", QUESTION, "-o", str(spoken)], check=True)
        with av.open(spoken) as source, av.open(PLACE, "w") as target:
            stream = target.add_stream("flac", rate=16000)
            stream.layout = "mono"
            for frame in source.decode(audio=0):
                frame.pts = None
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))


if __name__ == "__main__":
    main()
