"""What all tests share: tiny checkpoints and bundles, made when the exporter changes, and a cache of their own."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine is doing than about the code.
settings.register_profile("omni-edge", deadline=None)
settings.load_profile("omni-edge")
# Their files import the exporter. Other tests ask for what they need of it, and skip themselves.
collect_ignore = [] if find_spec("torch") else ["export", "parity", "test_optimum_cli.py"]


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


@pytest.fixture(scope="session")
def with_llama() -> Callable[..., Any]:
    """(bundle folder, checkpoint, new folder, names) -> a copy whose first graphs of `names` are GGUF in f32."""

    def made(source: Path, checkpoint: Path, folder: Path, names: tuple[str, ...] = ("thinker", "talker")) -> Any:
        from omni_edge.export.checkpoint import Checkpoint
        from omni_edge.export.gguf import write_gguf
        from omni_edge.models.bundle import describe_files, open_bundle, write_manifest
        from omni_edge.models.manifest import Graph

        shutil.copytree(source, folder)
        manifest = open_bundle(folder).manifest
        networks: dict[Any, Any] = dict(manifest.subnetworks)
        listed = [entry.path for entry in manifest.files]
        for name in names:
            files = write_gguf(Checkpoint(checkpoint), name, folder, "f32", lambda _: None)  # pyright: ignore
            graph = Graph(engine="llama", precision="f32", graph=files[0], files=files)
            networks[name] = msgspec.structs.replace(networks[name], graphs=(graph, *networks[name].graphs))
            listed += files
        files = describe_files(folder, listed)
        write_manifest(folder, msgspec.structs.replace(manifest, subnetworks=networks, files=files))
        return open_bundle(folder)

    return made


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr, notices apart, of a command that failed as it should."""
        lines = [line for line in self.err.splitlines() if not line.startswith(("note: ", "["))]
        assert self.code not in (0, None)
        assert "Traceback" not in self.err
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def outcome() -> type[Outcome]:
    return Outcome


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path) -> Callable[..., Outcome]:
    """Run `main` in this process, in an empty folder."""
    from omni_edge.apps import cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["omni-edge", *map(str, arguments)])
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run
