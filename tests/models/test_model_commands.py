"""list, pull, show and rm, through a small program of their own."""

import json
from pathlib import Path

import pytest
import typer
from huggingface_hub import errors
from typer.testing import CliRunner, Result

from omni_edge.apps import model_commands, tables
from omni_edge.apps.terminal import size
from omni_edge.models import hub
from omni_edge.models.errors import BundleError, ModelNotFound, OmniError

QWEN_3B = "Qwen/Qwen2.5-Omni-3B"
NOTICE = "notice: Qwen2.5-Omni-3B is under the Qwen Research License"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "home" / "bundles"


@pytest.fixture
def terminal(monkeypatch) -> None:
    for module in (model_commands, tables):
        monkeypatch.setattr(module, "on_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str, answer: str | None = None) -> Result:
    app = typer.Typer()
    model_commands.register(app)
    result = CliRunner().invoke(app, list(arguments), input=answer)
    if isinstance(result.exception, OmniError):
        raise result.exception
    return result


def good(*arguments: str, answer: str | None = None) -> Result:
    result = run(*arguments, answer=answer)
    assert result.exit_code == 0, result.output
    return result


def test_four_commands_with_help() -> None:
    text = good("--help").output
    assert all(name in text for name in ("list", "pull", "show", "rm"))


class TestList:
    def test_pipe(self) -> None:
        header, nano, *_, seven = good("list").stdout.splitlines()
        assert header.split("\t") == ["name", "state", "size", "precision", "licence", "path"]
        assert nano.split("\t")[:2] == ["nano", "ready"]
        assert seven.split("\t") == ["7b", "available", "22.4 GB", "", "apache-2.0", ""]

    def test_json(self, tmp_path: Path) -> None:
        rows = json.loads(good("list", "--json").stdout)
        assert rows[0]["path"] == str(tmp_path / "package" / "nano")
        assert [row["state"] for row in rows] == ["ready", "available", "available"]

    @pytest.mark.usefixtures("terminal")
    def test_terminal(self) -> None:
        text = good("list").stdout
        assert "│" in text
        assert "22.4 GB" in text

    def test_notice_only_for_what_is_here(self, make_bundle, shelf: Path) -> None:
        assert good("list").stderr == ""
        make_bundle(shelf / "3b", checkpoint=QWEN_3B)
        result = good("list", "--json")
        assert result.stderr.count(NOTICE) == 1
        assert json.loads(result.stdout)[1]["state"] == "ready"


class TestPull:
    def test_checkpoint(self, fake_hub, shelf: Path) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        result = good("pull", "3b")
        folder = Path(result.stdout.strip())
        assert (folder / "spk_dict.pt").is_file()
        assert NOTICE in result.stderr
        assert f'next: omni-edge export "{folder}" "{shelf / "3b"}"' in result.stderr

    def test_bundle_is_checked_when_it_arrives(self, fake_hub, make_bundle, tmp_path: Path) -> None:
        fake_hub.add_bundle("org/edge", make_bundle(tmp_path / "made", notice="untrained"))
        result = good("pull", "org/edge")
        assert "notice: untrained" in result.stderr
        assert "next: omni-edge run --model org/edge" in result.stderr
        fake_hub.repos["org/bad"] = {**fake_hub.repos["org/edge"], "voices.npz": b"voices.npZ" * 3}
        with pytest.raises(BundleError, match=r"voices\.npz of bundle .*: content differs"):
            run("pull", "org/bad")

    @pytest.mark.usefixtures("terminal")
    def test_bundle_with_a_bar(self, fake_hub, make_bundle, tmp_path: Path) -> None:
        fake_hub.add_bundle("org/edge", make_bundle(tmp_path / "made"))
        assert Path(good("pull", "org/edge").stdout.strip()).is_dir()

    def test_nano_is_here_already(self, fake_hub) -> None:
        result = good("pull", "nano")
        assert (result.stdout, fake_hub.asked) == ("", [])
        assert "ships in the package" in result.stderr

    def test_offline(self, fake_hub) -> None:
        fake_hub.add_checkpoint(QWEN_3B)
        with pytest.raises(ModelNotFound, match="this is offline"):
            run("pull", "3b", "--offline")
        online = good("pull", "3b").stdout
        assert good("pull", "3b", "--offline").stdout == online

    @pytest.mark.parametrize("name", ["3bb", "./folder", ""])
    def test_unknown_name_never_asks_the_hub(self, fake_hub, name: str) -> None:
        with pytest.raises(ModelNotFound, match="there is no model"):
            run("pull", name)
        assert fake_hub.asked == []

    def test_no_such_repository(self, fake_hub, http_error) -> None:
        fake_hub.failure = http_error(errors.RepositoryNotFoundError, 404)
        with pytest.raises(ModelNotFound, match="the hub has no model org/absent"):
            run("pull", "org/absent")


class TestShow:
    def test_pipe(self, make_bundle, tmp_path: Path) -> None:
        folder = make_bundle(tmp_path / "made", checkpoint=QWEN_3B)
        result = good("show", str(folder))
        lines = set(result.stdout.splitlines())
        assert {
            f"tiny\tcheckpoint\t{QWEN_3B}",
            "tiny\tlicence\tapache-2.0",
            "tiny\tvoices\tChelsie (default), Ethan",
            "subnetworks\tthinker\tonnx\tint4\t87 B\t1.5 M",
            "decoders\tmrope_section\t(1, 1, 0)\t(1, 1, 0)",
            "decoders\thidden\t8\t4",
            "settings\taudio\tmels\t128",
            "settings\tvocoder\trate\t24000",
            "settings\tvocoder\tparts\trate 1 reach 1",
        } <= lines
        assert any(line.startswith("tiny\ttotal size\t") for line in lines)
        assert NOTICE in result.stderr

    def test_json_is_the_manifest_and_nothing_else(self, tmp_path: Path) -> None:
        shown = json.loads(good("show", "nano", "--json").stdout)
        folder = tmp_path / "package" / "nano"
        assert shown["manifest"] == json.loads((folder / "manifest.json").read_bytes())
        assert (shown["path"], shown["verified"]) == (str(folder), False)

    @pytest.mark.usefixtures("terminal")
    def test_terminal(self) -> None:
        text = good("show", "nano", "--verify").stdout
        assert "subnetworks" in text
        assert "(1, 1, 0)" in text
        assert "verified now" in text

    def test_extras_are_listed_with_their_purpose(self, make_bundle, tmp_path: Path) -> None:
        folder = make_bundle(tmp_path / "made")
        manifest = json.loads((folder / "manifest.json").read_bytes())
        entry = manifest["files"][0]
        manifest["extras"] = [{"path": entry["path"], "purpose": "for other programs"}]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        line = f"extras\t{entry['path']}\t{size(entry['bytes'])}\tfor other programs"
        assert line in good("show", str(folder)).stdout.splitlines()
        assert "\nextras\t" not in good("show", "nano").stdout

    @pytest.mark.usefixtures("terminal")
    def test_brackets_are_no_markup(self, make_bundle, tmp_path: Path) -> None:
        folder = make_bundle(tmp_path / "made", checkpoint="[bold]x[/bold]")
        assert "[bold]x[/bold]" in good("show", str(folder)).stdout

    def test_verify(self, tmp_path: Path) -> None:
        assert json.loads(good("show", "nano", "--verify", "--json").stdout)["verified"] is True
        victim = tmp_path / "package" / "nano" / "voices.npz"
        victim.write_bytes(victim.read_bytes().swapcase())
        good("show", "nano")
        with pytest.raises(BundleError, match=r"voices\.npz .*content differs"):
            run("show", "nano", "--verify")

    def test_not_here(self) -> None:
        with pytest.raises(ModelNotFound, match="omni-edge pull 7b"):
            run("show", "7b")


class TestRemove:
    @pytest.fixture
    def three(self, make_bundle, shelf: Path) -> Path:
        return make_bundle(shelf / "3b", checkpoint=QWEN_3B)

    def test_yes(self, three: Path) -> None:
        result = good("rm", "3b", "--yes")
        assert not three.exists()
        assert NOTICE in result.stderr
        assert f"to be deleted: {three}" in result.stderr
        assert result.stdout == ""

    def test_without_a_terminal_it_must_be_said(self, three: Path) -> None:
        with pytest.raises(OmniError, match="add --yes"):
            run("rm", "3b", answer="y\n")
        assert three.is_dir()

    @pytest.mark.usefixtures("terminal")
    @pytest.mark.parametrize(("answer", "kept"), [("y\n", False), ("n\n", True), ("\n", True), ("", True)])
    def test_asks(self, three: Path, answer: str, kept: bool) -> None:
        result = run("rm", "3b", answer=answer)
        assert "Delete 3b" in result.stderr
        assert (result.exit_code == 1) is kept
        assert three.is_dir() is kept

    def test_download_goes_too(self, fake_hub) -> None:
        fake_hub.add_checkpoint("org/model")
        folder = hub.download("org/model")
        good("rm", "org/model", "-y")
        assert not folder.exists()

    def test_nano(self) -> None:
        with pytest.raises(OmniError, match="cannot be removed"):
            run("rm", "nano", "--yes")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_900, "1 MB"),
        (87_654_321, "87.7 MB"),
        (22_362_861_192, "22.4 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
