"""The default bundle until a trained one replaces it: `python -m omni_edge.export.untrained`.

A seeded tiny checkpoint, exported like any other. It shows on any machine, in seconds and offline, that everything
from microphone samples to loudspeaker samples works; what it says is noise, and it says so.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..models.store import NANO
from .bundle import Progress, export_bundle
from .origin import MARKER
from .tiny import LIKE_3B, write_tiny

SEED = 3
README = "---\nlicense: apache-2.0\n---\nSeeded, untrained weights made by omni-edge.\n"


def main() -> None:
    """Write the bundle to its place in the package."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_tiny(Path(folder) / "untrained", LIKE_3B, SEED)
        (checkpoint / MARKER).touch()
        (checkpoint / "README.md").write_text(README)

        def announce(progress: Progress) -> None:
            if progress.part == 0:
                print(f"[{progress.done}/{progress.total}] {progress.step}")

        export_bundle(checkpoint, NANO, announce)


if __name__ == "__main__":
    main()
