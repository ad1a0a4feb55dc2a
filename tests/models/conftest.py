"""A made-up bundle and a made-up hub, shared by the tests of models/ and of the commands on it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from msgspec import inspect

from omni_edge.models import manifest as m
from omni_edge.models import store
from omni_edge.models.bundle import describe_files, write_manifest

NETWORK_FILES = {name: (f"{name}.onnx", f"{name}.onnx.data") for name in m.SUBNETWORKS}
ODD = "extra/odd [1].bin"
"""In a subfolder, and with marks that a pattern would take for its own."""
TABLES = (
    *("tokenizer.json", "chat_template.jinja", "embeddings.npy", "codec_embeddings.npy", "voices.npz", "flow.npz"),
    ODD,
)


def filled(record: type, **known: object) -> Any:
    """A record with the fields of interest given, and any value of the right type in the others."""
    fields = {field.name: field for field in inspect.type_info(record).fields}
    assert known.keys() <= fields.keys()
    needed = {name: _any_value(field.type) for name, field in fields.items() if field.required and name not in known}
    return record(**needed, **known)


def _any_value(kind: inspect.Type) -> object:
    match kind:
        case inspect.IntType():
            return 1
        case inspect.FloatType():
            return 0.5
        case inspect.StrType():
            return "x"
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.TupleType():
            return tuple(_any_value(item) for item in kind.item_types)
        case inspect.VarTupleType():
            return (_any_value(kind.item_type),)
        case inspect.DictType():
            return {_any_value(kind.key_type): _any_value(kind.value_type)}
        case inspect.StructType():
            return filled(kind.cls)
    raise NotImplementedError(kind)


def _manifest(files: tuple[m.FileEntry, ...], source: m.Source) -> m.Manifest:
    return filled(
        m.Manifest,
        schema=m.SCHEMA,
        name="tiny",
        source=source,
        subnetworks={
            name: m.Subnetwork(
                graphs=(
                    m.Graph(
                        engine="onnx",
                        precision="int4" if name in ("thinker", "talker") else "fp32",
                        graph=graph,
                        files=(graph, data),
                    ),
                ),
                parameters=1_500_000,
            )
            for name, (graph, data) in NETWORK_FILES.items()
        },
        files=files,
        tokenizer="tokenizer.json",
        chat_template="chat_template.jinja",
        embeddings="embeddings.npy",
        codec_embeddings="codec_embeddings.npy",
        thinker=filled(m.Decoder, hidden=8, mrope_section=(1, 1, 0)),
        talker=filled(m.Decoder, hidden=4, mrope_section=(1, 1, 0)),
        audio=filled(m.AudioFrontEnd, mels=128),
        flow=filled(m.Flow, tables="flow.npz"),
        vocoder=filled(m.Vocoder, rate=24000),
        voices=m.Voices(file="voices.npz", names=("Chelsie", "Ethan"), default="Chelsie"),
    )


def file_names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


BundleMaker = Callable[..., Path]


@pytest.fixture
def make_bundle() -> BundleMaker:
    """Writes a whole bundle with a few bytes in each file."""

    def make(folder: Path, checkpoint: str = "org/model", notice: str = "") -> Path:
        (folder / ODD).parent.mkdir(parents=True)
        names = (*TABLES, *(name for pair in NETWORK_FILES.values() for name in pair))
        for name in names:
            (folder / name).write_bytes(name.encode() * 3)
        source = m.Source(checkpoint=checkpoint, revision="abc123", licence="apache-2.0", notice=notice)
        write_manifest(folder, _manifest(describe_files(folder, names), source))
        return folder

    return make


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: BundleMaker) -> None:
    """No test sees or changes the user's folders, or needs the real nano bundle."""
    monkeypatch.setenv("OMNI_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMNI_EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(store, "NANO", make_bundle(tmp_path / "package" / "nano", checkpoint="nano"))


@dataclass
class FakeHub:
    """Repositories as folders of bytes; `fetch` stands in for snapshot_download and fills the true cache layout."""

    cache: Path
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    failure: Exception | None = None
    """Raised by the next fetch."""
    asked: list[list[str]] = field(default_factory=list)
    """Patterns of all fetches so far."""
    commit: str = "c0ffee" + "0" * 34

    def add_bundle(self, repo: str, folder: Path) -> None:
        self.repos[repo] = {name: (folder / name).read_bytes() for name in file_names(folder)}
        self.repos[repo]["big.bin"] = b"unwanted"

    def names(self, folder: Path) -> set[str]:
        """Of the files in a snapshot."""
        return file_names(folder)

    def add_checkpoint(self, repo: str, model_type: str = "qwen2_5_omni") -> None:
        shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        index = {"weight_map": {"thinker.a": shards[0], "talker.b": shards[1]}}
        self.repos[repo] = {
            "config.json": json.dumps({"model_type": model_type}).encode(),
            "model.safetensors.index.json": json.dumps(index).encode(),
            "spk_dict.pt": b"voices",
            "LICENSE": b"terms",
            "README.md": b"unwanted",
            **dict.fromkeys(shards, b"w" * 1000),
        }

    def fetch(
        self,
        repo: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        local_files_only: bool,
    ) -> str:
        self.asked.append(allow_patterns)
        if self.failure is not None:
            raise self.failure
        root = self.cache / f"models--{repo.replace('/', '--')}"
        snapshot = root / "snapshots" / self.commit
        if local_files_only:
            if not snapshot.is_dir():
                raise LocalEntryNotFoundError("nothing in the cache")
            return str(snapshot)
        assert revision in (None, self.commit)
        for folder in (root / "refs", root / "blobs", snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text(self.commit)
        for name, data in self.repos[repo].items():
            if any(fnmatch(name, pattern) for pattern in allow_patterns) and not (snapshot / name).exists():
                blob = root / "blobs" / sha256(data).hexdigest()
                blob.write_bytes(data)
                (snapshot / name).parent.mkdir(exist_ok=True)
                (snapshot / name).symlink_to(Path(os.path.relpath(blob, (snapshot / name).parent)))
        return str(snapshot)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub(tmp_path / "hf")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.fetch)
    return hub


@pytest.fixture
def http_error() -> Callable[..., HfHubHTTPError]:
    """Makes an error of the hub without knowing which HTTP library the installed huggingface_hub uses."""

    def make(kind: type[HfHubHTTPError], status: int, message: str = "Client Error") -> HfHubHTTPError:
        error = kind.__new__(kind)
        Exception.__init__(error, message)
        error.response = type("Response", (), {"status_code": status})()
        return error

    return make
