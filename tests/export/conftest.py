"""Copies of the tiny checkpoint to do harm to, and an exporter whose graphs cost nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omni_edge.export import bundle as exporting
from omni_edge.export.subnetworks import EXPORTS, Written


@pytest.fixture
def checkpoint(tiny: Any, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny.checkpoint("like-3b"), tmp_path / "checkpoint"))


@pytest.fixture
def shard() -> Callable[[Path, int], Path]:
    """Split a checkpoint's one file into shards with an index, as the published ones are."""

    def split(folder: Path, parts: int = 3) -> Path:
        import json

        from safetensors.torch import load_file, save_file

        single = folder / "model.safetensors"
        tensors = load_file(single)
        names = sorted(tensors)
        weight_map = {}
        for part in range(parts):
            shard = f"model-{part + 1:05}-of-{parts:05}.safetensors"
            mine = names[part::parts]
            save_file({name: tensors[name] for name in mine}, folder / shard, {"format": "pt"})
            weight_map.update(dict.fromkeys(mine, shard))
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        single.unlink()
        return folder

    return split


@pytest.fixture
def cheap(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Exporters that take the graphs from a bundle made earlier; tests put failing ones in their place."""
    made = tiny.bundle("like-3b")

    def copied(name: str) -> Any:
        def export(_: Any, folder: Path, *__: Any) -> Written:
            files = sorted(path.name for path in made.glob(f"{name}.*onnx*"))
            for file in files:
                shutil.copyfile(made / file, folder / file)
            return Written(files[0], tuple(files), 0.0)

        return export

    exports = {name: copied(name) for name in EXPORTS}
    monkeypatch.setattr(exporting, "EXPORTS", exports)
    return exports
