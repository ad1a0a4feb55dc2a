"""Downloading: what is asked for, what is refused, and how failures are told."""

import errno
import os
from pathlib import Path

import pytest
from huggingface_hub import constants, errors

from omni_edge.models import hub
from omni_edge.models.errors import BundleError, ModelNotFound, OmniError

QWEN_3B = "Qwen/Qwen2.5-Omni-3B"


class TestDownload:
    def test_checkpoint_brings_only_what_is_needed(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        names = fake_hub.names(hub.download(QWEN_3B))
        assert names == set(fake_hub.repos[QWEN_3B]) - {"README.md"}

    def test_bundle_brings_exactly_its_files(self, fake_hub, make_bundle, tmp_path: Path) -> None:
        made = make_bundle(tmp_path / "made")
        fake_hub.add_bundle("org/edge", made)
        folder = hub.download("org/edge")
        assert fake_hub.names(folder) == fake_hub.names(made)

    @pytest.mark.parametrize("model_type", ["llama", "qwen2_5_omni_thinker", ""])
    def test_weights_of_other_models_are_never_asked_for(self, fake_hub, model_type: str) -> None:
        fake_hub.add_checkpoint("org/other", model_type)
        with pytest.raises(ModelNotFound, match="neither a bundle nor a Qwen2"):
            hub.download("org/other")
        assert fake_hub.asked == [["manifest.json", "config.json"]]

    def test_repository_without_either_file(self, fake_hub) -> None:
        fake_hub.repos["org/empty"] = {"config.json": b"not json"}
        with pytest.raises(ModelNotFound, match="neither"):
            hub.download("org/empty")

    def test_bundle_of_another_schema_is_refused_before_its_weights(self, fake_hub) -> None:
        fake_hub.repos["org/new"] = {"manifest.json": b'{"schema": 9}'}
        with pytest.raises(BundleError, match="schema 9"):
            hub.download("org/new")

    def test_incomplete_snapshot_is_refused(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        del fake_hub.repos[QWEN_3B]["model-00001-of-00002.safetensors"]
        with pytest.raises(OmniError, match=r"incomplete: model-00001-of-00002\.safetensors is missing"):
            hub.download(QWEN_3B)

    def test_damaged_index_counts_as_missing(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        fake_hub.repos[QWEN_3B]["model.safetensors.index.json"] = b"{"
        with pytest.raises(OmniError, match=r"model\.safetensors\.index\.json is missing"):
            hub.download(QWEN_3B)

    def test_the_snapshot_of_main_counts_not_the_one_touched_last(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        old = hub.download(QWEN_3B)
        fake_hub.commit = "d" * 40
        fake_hub.repos[QWEN_3B]["LICENSE"] = b"new terms"
        new = hub.download(QWEN_3B)
        os.utime(old / "LICENSE", (4e9, 4e9))
        (cached,) = hub.cached_repos()
        assert cached.folder == hub.cached_snapshot(QWEN_3B) == new != old

    def test_offline_uses_the_cache(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        online = hub.download(QWEN_3B)
        fake_hub.repos.clear()
        assert hub.download(QWEN_3B, offline=True) == online


class TestTrueHubClient:
    """Without the fake: huggingface_hub itself, offline, on a cache folder that the fake has filled."""

    @pytest.fixture
    def filled(self, fake_hub, monkeypatch) -> Path:
        fake_hub.add_checkpoint(QWEN_3B)
        folder = hub.download(QWEN_3B)
        monkeypatch.undo()
        return folder

    @pytest.fixture(autouse=True)
    def cache(self, filled: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))

    def test_cached_checkpoint_is_found(self, filled: Path) -> None:
        assert hub.download(QWEN_3B, offline=True) == filled

    @pytest.mark.parametrize("by_environment", [True, False])
    def test_not_cached(self, by_environment: bool, monkeypatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", by_environment)
        with pytest.raises(ModelNotFound, match=r"this is offline .* Run omni-edge pull org/absent once"):
            hub.download("org/absent", offline=not by_environment)

    @pytest.mark.parametrize("name", ["a/b/c", "-x", "a b/c", "a..b/c"])
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(ModelNotFound, match="give it as org/name"):
            hub.download(name, offline=True)


class TestFailures:
    @pytest.mark.parametrize(
        ("kind", "status", "expected", "words"),
        [
            (errors.RepositoryNotFoundError, 404, ModelNotFound, "the hub has no model org/x"),
            (errors.RevisionNotFoundError, 404, ModelNotFound, "the hub has no model org/x"),
            (errors.GatedRepoError, 403, OmniError, "gated: ask for access"),
            (errors.HfHubHTTPError, 503, OmniError, "the hub refused org/x: 503 Server Error. Try again later"),
        ],
    )
    def test_answers_of_the_hub(self, fake_hub, http_error, kind, status: int, expected: type, words: str) -> None:
        fake_hub.failure = http_error(kind, status, f"\n{status} Server Error\nmany\nmore lines")
        with pytest.raises(expected, match=words) as caught:
            hub.download("org/x")
        assert type(caught.value) is expected
        assert "\n" not in str(caught.value)

    def test_no_network(self, fake_hub) -> None:
        fake_hub.failure = errors.LocalEntryNotFoundError("An error happened")
        fake_hub.failure.__cause__ = OSError("Name or service not known")
        with pytest.raises(OmniError, match="cannot be reached for org/x: Name or service not known") as caught:
            hub.download("org/x")
        assert not isinstance(caught.value, ModelNotFound)

    @pytest.mark.parametrize(
        "failure",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            # Seen from hf_xet: https://github.com/tenstorrent/tt-forge-onnx/issues/2987
            RuntimeError("Data processing error: CAS service error : IO Error: No space left on device (os error 28)"),
        ],
    )
    def test_full_disk(self, fake_hub, failure: Exception) -> None:
        fake_hub.failure = failure
        with pytest.raises(OmniError, match=r"no space left in .*hf for org/x\. Free some, or set HF_HOME"):
            hub.download("org/x")

    def test_connection_lost_midway(self, fake_hub) -> None:
        transport = next(base for base in errors.HfHubHTTPError.__mro__[1:] if issubclass(base, Exception))
        for failure in (transport("peer closed"), ConnectionError("peer closed"), RuntimeError("peer closed")):
            fake_hub.failure = failure
            with pytest.raises(OmniError, match=r"the download of org/x failed: peer closed\..* it resumes"):
                hub.download("org/x")

    def test_failure_without_words(self, fake_hub) -> None:
        fake_hub.failure = ConnectionResetError()
        with pytest.raises(OmniError, match="failed: ConnectionResetError"):
            hub.download("org/x")

    def test_mistakes_of_ours_are_not_dressed_up(self, fake_hub) -> None:
        fake_hub.failure = TypeError("a bug")
        with pytest.raises(TypeError):
            hub.download("org/x")
