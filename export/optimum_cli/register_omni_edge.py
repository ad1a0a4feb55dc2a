"""`optimum-cli export omni-edge CHECKPOINT BUNDLE`: a second door to the exporter.

Installed as optimum.commands.register.register_omni_edge, where optimum looks for commands of other packages.
What is heavy is imported when the command runs, as optimum asks.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class OmniEdgeExportCommand(BaseOptimumCLICommand):
    """Exports a Qwen2.5-Omni checkpoint to an omni-edge bundle."""

    COMMAND = CommandInfo(
        name="omni-edge", help="Export Qwen2.5-Omni to a bundle for the torch-free omni-edge runtime."
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the same arguments as `omni-edge export`."""
        parser.add_argument("checkpoint", type=Path, help="Folder of a Qwen2.5-Omni checkpoint.")
        parser.add_argument("bundle", type=Path, help="Folder to write.")

    def run(self) -> None:
        """Export, with a line on stderr before each step."""
        from omni_edge.export.bundle import export_bundle
        from omni_edge.export.progress import by_step
        from omni_edge.models.errors import OmniError

        arguments = self.args
        assert arguments is not None
        try:
            export_bundle(arguments.checkpoint, arguments.bundle, by_step(partial(print, file=sys.stderr)))
        except OmniError as error:
            sys.exit(f"omni-edge: {error}")
        print(arguments.bundle)


REGISTER_COMMANDS = [(OmniEdgeExportCommand, ExportCommand)]
