"""The second door: optimum finds our command, and it is our exporter that runs."""

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from omni_edge.export import bundle
from omni_edge.export.progress import Progress
from omni_edge.models.errors import BundleError

pytestmark = pytest.mark.torch
optimum_cli = pytest.importorskip("optimum.commands.optimum_cli")


def command(*arguments: str):
    from optimum.commands.register.register_omni_edge import OmniEdgeExportCommand

    parser = ArgumentParser()
    OmniEdgeExportCommand.parse_args(parser)
    instance = OmniEdgeExportCommand.__new__(OmniEdgeExportCommand)
    instance.args = parser.parse_args(arguments)
    return instance


@pytest.mark.slow
def test_optimum_lists_it():
    code = "import sys; from optimum.commands.optimum_cli import main; sys.argv = ['x', 'export', '--help']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "omni-edge" in done.stdout


def test_it_runs_our_exporter(monkeypatch, capsys):
    calls = []

    def export(checkpoint, target, on_progress):
        calls.append((checkpoint, target))
        on_progress(Progress("thinker", 3, 8, 0.2))
        on_progress(Progress("thinker", 3, 8, 0.3, part=0.5))

    monkeypatch.setattr(bundle, "export_bundle", export)
    command("here", "there").run()
    assert calls == [(Path("here"), Path("there"))]
    printed = capsys.readouterr()
    assert printed.out == "there\n"
    assert printed.err == "[3/8] thinker\n"


def test_a_checkpoint_that_cannot_be_exported_is_one_line(monkeypatch):
    def export(*_):
        raise BundleError("here lacks spk_dict.pt")

    monkeypatch.setattr(bundle, "export_bundle", export)
    with pytest.raises(SystemExit, match=r"^omni-edge: here lacks spk_dict\.pt$"):
        command("here", "there").run()
