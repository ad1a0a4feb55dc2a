"""What all tests share: tiny checkpoints and bundles, made when the exporter changes, and a cache of their own."""

import hashlib
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Digests that tests compute are not remembered in the user's cache."""
    os.environ["OMNI_EDGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


class Tiny:
    """Tiny checkpoints and bundles by shape name, made when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def checkpoint(self, name: str = "like-3b") -> Path:
        from omni_edge.export.tiny import SHAPES, write_tiny

        folder = self.root / "checkpoints" / name
        if not folder.exists():
            shape = next(shape for shape in SHAPES if shape.name == name)
            # Written elsewhere first: an interrupted run must not leave half of one in the cache.
            write_tiny(folder.with_suffix(".partial"), shape, seed=3).rename(folder)
        return folder

    def bundle(self, name: str = "like-3b") -> Path:
        from omni_edge.export.bundle import export_bundle

        folder = self.root / "bundles" / name
        if not folder.exists():
            export_bundle(self.checkpoint(name), folder)
        return folder


@pytest.fixture(scope="session")
def tiny(pytestconfig: pytest.Config) -> Tiny:
    """Exports take half a minute each, so they are kept in pytest's cache for as long as the code that makes them."""
    pytest.importorskip("torch")
    root = Path(__file__).parents[1]
    sources = sorted([*root.glob("export/*.py"), *root.glob("models/*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return Tiny(pytestconfig.cache.mkdir(f"tiny-{digest}"))
