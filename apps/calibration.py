"""What the decoders of a bundle read while it answers: the rows that error-corrected rounding is fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..models.bundle import open_bundle
from .material import Conversation, built_in, conversations
from .report.recording import Recorder

if TYPE_CHECKING:
    from ..export.bundle import Listen

BUILT_IN = "built-in"
COUNT = 48
"""Built-in conversations: some thousand rows."""


def listener(source: str) -> Listen:
    """Let a bundle answer, and note what was read.

    Args:
        source: "built-in", or a folder of questions and media (`material.conversations`).

    Raises:
        RequestError: nothing usable is in the folder.
    """
    from ..export.calibration import Passage

    own = None if source == BUILT_IN else conversations(Path(source))

    def listen(folder: Path) -> dict[str, list[Passage]]:
        bundle = open_bundle(folder)
        asked: list[Conversation] = built_in(bundle.manifest.name, "calibrate", COUNT) if own is None else own
        recorder = Recorder(bundle, threads=0)
        recordings = [found for found in map(recorder.record, asked) if found is not None]
        return {
            "thinker": [Passage(each.thinker.rows, each.thinker.positions) for each in recordings],
            "talker": [Passage(each.talker.rows, each.talker.positions) for each in recordings if each.talker],
        }

    return listen  # pyright: ignore[reportReturnType]  (the keys are literals)
