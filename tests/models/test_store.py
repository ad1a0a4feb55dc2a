"""Names, and what they stand for on this machine."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from omni_edge.models import catalogue, hub, store
from omni_edge.models.bundle import open_bundle
from omni_edge.models.errors import BundleError, ModelNotFound, OmniError

QWEN_3B = "Qwen/Qwen2.5-Omni-3B"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "home" / "bundles"


def make_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_omni"}')
    (folder / "model.safetensors").write_bytes(b"w")
    return folder


class TestCatalogue:
    @pytest.mark.parametrize("name", ["3b", "3B", QWEN_3B, QWEN_3B.lower()])
    def test_found_by_short_name_or_id_in_any_case(self, name: str) -> None:
        found = catalogue.find(name)
        assert found is not None
        assert found.short == "3b"

    @pytest.mark.parametrize("name", ["", "4b", "Qwen2.5-Omni-3B", "qwen"])
    def test_nothing_else_is_found(self, name: str) -> None:
        assert catalogue.find(name) is None

    def test_only_the_3b_is_non_commercial(self) -> None:
        assert {row.short for row in catalogue.CATALOGUE if "no commercial use" in row.notice} == {"3b"}
        assert {row.short: row.licence for row in catalogue.CATALOGUE} == {
            "nano": "apache-2.0",
            "3b": "Qwen Research License",
            "7b": "apache-2.0",
        }


class TestResolve:
    def test_nano_ships(self, tmp_path: Path) -> None:
        assert store.resolve("nano") == tmp_path / "package" / "nano"

    def test_nano_lost_from_the_installation(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(store, "NANO", tmp_path / "lost")
        with pytest.raises(BundleError, match=r"built-in nano is missing at .*lost; install omni-edge again"):
            store.resolve("nano")

    def test_folder_of_a_bundle(self, make_bundle, tmp_path: Path, monkeypatch) -> None:
        make_bundle(tmp_path / "mine")
        monkeypatch.chdir(tmp_path)
        for model in ("mine", "./mine", str(tmp_path / "mine")):
            assert store.resolve(model) == tmp_path / "mine"

    def test_folder_of_a_checkpoint(self, tmp_path: Path) -> None:
        folder = make_checkpoint(tmp_path / "hf")
        with pytest.raises(BundleError, match=f'omni-edge export "{folder}" BUNDLE'):
            store.resolve(str(folder))

    def test_other_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"has no manifest\.json"):
            store.resolve(str(tmp_path))

    def test_folder_that_may_not_be_entered(self, monkeypatch) -> None:
        def closed(self: Path) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        monkeypatch.setattr(Path, "is_file", closed)
        with pytest.raises(ModelNotFound):
            store.resolve("/closed/folder")

    @pytest.mark.parametrize("name", ["3b", "3B", QWEN_3B])
    def test_exported_catalogue_model(self, name: str, make_bundle, shelf: Path) -> None:
        make_bundle(shelf / "3b")
        assert store.resolve(name) == shelf / "3b"

    def test_exported_model_by_id_and_by_plain_name(
        self, make_bundle, shelf: Path, tmp_path: Path, monkeypatch
    ) -> None:
        make_bundle(shelf / "org--model")
        make_bundle(shelf / "mine")
        # An unrelated folder of that name where the command happens to run does not hide the store.
        (tmp_path / "mine").mkdir()
        monkeypatch.chdir(tmp_path)
        assert store.resolve("org/model") == shelf / "org--model"
        assert store.resolve("mine") == shelf / "mine"

    def test_neither_downloaded_nor_exported(self, shelf: Path) -> None:
        with pytest.raises(ModelNotFound) as caught:
            store.resolve(QWEN_3B)
        message = str(caught.value)
        assert "omni-edge pull 3b (12 GB)" in message
        assert f'omni-edge export FOLDER "{shelf / "3b"}"' in message

    def test_downloaded_but_not_exported(self, fake_hub, shelf: Path) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        folder = hub.download(QWEN_3B)
        with pytest.raises(ModelNotFound) as caught:
            store.resolve("3b")
        assert f'omni-edge export "{folder}" "{shelf / "3b"}"' in str(caught.value)
        assert "pull" not in str(caught.value)

    def test_half_downloaded(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        (hub.download(QWEN_3B) / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(ModelNotFound, match=r"incomplete\. Resume it: omni-edge pull 3b"):
            store.resolve("3b")

    def test_repository_that_is_a_bundle_is_used_in_the_cache(self, fake_hub, make_bundle, tmp_path: Path) -> None:
        fake_hub.add_bundle("org/edge", make_bundle(tmp_path / "made"))
        folder = hub.download("org/edge")
        assert store.resolve("org/edge") == folder
        assert open_bundle(folder).manifest.name == "tiny"

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("nanoo", "nano"),
            ("Nan", "nano"),
            ("7bb", "7b"),
            ("qwen/qwen2.5-omni-3bb", QWEN_3B),
            ("Qwen2.5-Omni-3B", QWEN_3B),
        ],
    )
    def test_misspelt_name(self, name: str, meant: str) -> None:
        with pytest.raises(ModelNotFound, match=f"Did you mean {meant}"):
            store.resolve(name)

    @pytest.mark.parametrize("name", ["", "whisper", "./nowhere", "/nowhere/at/all", "a/b/c", "-x", "a b"])
    def test_unknown_name_lists_the_known(self, name: str) -> None:
        with pytest.raises(ModelNotFound, match="Known are nano, 3b, 7b"):
            store.resolve(name)


class TestStored:
    def test_nothing_yet(self) -> None:
        rows = {row.name: row for row in store.stored()}
        assert [(row.name, row.state) for row in rows.values()] == [
            ("nano", "ready"),
            ("3b", "available"),
            ("7b", "available"),
        ]
        assert rows["nano"].precision == "fp32, int4"
        assert rows["7b"].bytes == 22_400_000_000
        assert rows["7b"].path is None

    def test_everything_at_once(self, fake_hub, make_bundle, shelf: Path, tmp_path: Path) -> None:
        make_bundle(shelf / "3b", checkpoint=QWEN_3B)
        make_bundle(shelf / "org--model")
        (shelf / "half" / "sub").mkdir(parents=True)
        (shelf / "half" / "sub" / "thinker.onnx").write_bytes(b"1234")
        (shelf / ".hidden").mkdir()
        (shelf / "stray.txt").write_text("")
        fake_hub.add_checkpoint(QWEN_3B)
        fake_hub.add_checkpoint("org/partial")
        fake_hub.add_checkpoint("org/llama", "llama")
        fake_hub.add_bundle("org/edge", make_bundle(tmp_path / "made"))
        for repo in (QWEN_3B, "org/partial", "org/edge"):
            hub.download(repo)
        with pytest.raises(ModelNotFound):
            hub.download("org/llama")
        next((tmp_path / "hf" / "models--org--partial" / "snapshots").glob("*/*.safetensors")).unlink()
        rows = store.stored()
        assert [(row.name, row.state) for row in rows] == [
            ("nano", "ready"),
            ("3b", "ready"),
            ("3b", "downloaded"),
            ("7b", "available"),
            ("half", "incomplete"),
            ("org/edge", "ready"),
            ("org/model", "ready"),
            ("org/partial", "incomplete"),
        ]
        by_name = {row.name: row for row in rows}
        assert by_name["half"].bytes == 4
        assert by_name["org/edge"].path == store.resolve("org/edge")
        assert all("no commercial use" in row.notice for row in rows if row.name == "3b")
        assert all(row.licence == "Qwen Research License" for row in rows if row.state == "downloaded")

    def test_a_missing_nano_is_told(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(store, "NANO", tmp_path / "absent")
        assert store.stored()[0].state == "incomplete"

    def test_notice_of_the_bundle_itself_goes_first(self, make_bundle, tmp_path: Path) -> None:
        plain = open_bundle(make_bundle(tmp_path / "a", checkpoint=QWEN_3B)).manifest
        own = open_bundle(make_bundle(tmp_path / "b", checkpoint=QWEN_3B, notice="untrained")).manifest
        assert "no commercial use" in store.notice_of(plain)
        assert store.notice_of(own) == "untrained"


class TestRemove:
    def test_bundle_and_download(self, fake_hub, make_bundle, shelf: Path, tmp_path: Path) -> None:
        make_bundle(shelf / "3b")
        make_bundle(shelf / "7b")
        fake_hub.add_checkpoint(QWEN_3B)
        hub.download(QWEN_3B)
        root = tmp_path / "hf" / "models--Qwen--Qwen2.5-Omni-3B"
        assert store.removal("3B").paths == (shelf / "3b", root)
        assert store.removal("3b").bytes > 2000
        store.remove("3b")
        assert not (shelf / "3b").exists()
        assert not root.exists()
        assert (shelf / "7b").is_dir()

    def test_bundle_alone(self, make_bundle, shelf: Path) -> None:
        make_bundle(shelf / "org--model")
        assert store.remove("org/model").cached is None
        assert not (shelf / "org--model").exists()

    def test_download_alone(self, fake_hub) -> None:
        fake_hub.add_checkpoint("org/model")
        hub.download("org/model")
        assert store.remove("org/model").bundle is None
        assert hub.cached_repos() == ()

    def test_copy_with_the_same_commits_stays(self, fake_hub) -> None:
        copies = [f"org/copy-{index}" for index in range(8)]
        for repo in copies:
            fake_hub.add_checkpoint(repo)
            hub.download(repo)
        for index, repo in enumerate(copies):
            store.remove(repo)
            assert [left.repo for left in hub.cached_repos()] == copies[index + 1 :]

    def test_link_to_another_disk_is_only_unlinked(self, make_bundle, shelf: Path, tmp_path: Path) -> None:
        elsewhere = make_bundle(tmp_path / "disk2" / "3b")
        shelf.mkdir(parents=True)
        (shelf / "3b").symlink_to(elsewhere)
        store.remove("3b")
        assert not (shelf / "3b").exists()
        assert (elsewhere / "manifest.json").is_file()

    def test_nano_stays(self) -> None:
        with pytest.raises(OmniError, match="nano ships in the package and cannot be removed"):
            store.remove("Nano")
        assert store.resolve("nano").is_dir()

    def test_nothing_there(self) -> None:
        with pytest.raises(ModelNotFound, match="nothing of 7b is on this machine"):
            store.remove("7b")

    def test_other_models_in_the_cache_are_not_ours_to_remove(self, fake_hub, tmp_path: Path) -> None:
        fake_hub.add_checkpoint("org/llama", "llama")
        with pytest.raises(ModelNotFound):
            hub.download("org/llama")
        with pytest.raises(ModelNotFound, match="nothing of org/llama"):
            store.remove("org/llama")
        assert (tmp_path / "hf" / "models--org--llama").is_dir()

    @pytest.mark.parametrize("name", ["../..", "..", "/tmp", "", ".", "a/../b"])
    def test_paths_are_not_names(self, name: str) -> None:
        with pytest.raises(ModelNotFound, match="there is no model"):
            store.remove(name)

    def test_folder_that_cannot_be_deleted(self, make_bundle, shelf: Path, monkeypatch) -> None:
        make_bundle(shelf / "3b")

        def refuse(_: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(store.shutil, "rmtree", refuse)
        with pytest.raises(OmniError, match="could not be deleted: Permission denied"):
            store.remove("3b")

    def test_download_that_cannot_be_deleted(self, fake_hub, monkeypatch) -> None:
        fake_hub.add_checkpoint("org/model")
        hub.download("org/model")
        from huggingface_hub.utils import DeleteCacheStrategy

        monkeypatch.setattr(DeleteCacheStrategy, "execute", lambda self: None)
        with pytest.raises(OmniError, match="could not be deleted"):
            store.remove("org/model")


def test_import_is_light() -> None:
    """Neither huggingface_hub nor a console library is loaded by importing the store."""
    code = (
        "import sys, omni_edge.models.store;"
        "print(sorted({'huggingface_hub', 'httpx', 'requests', 'rich', 'typer', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
