"""A command whose media and text options keep the order in which they were given.

Click collects the values of each option on its own, so `--image a --text x --image b` would lose that x stands
between the pictures. This command reads the order from the arguments before click takes them apart.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

ORDERED = ("--text", "--image", "--audio", "--video")
"""Options whose common order counts."""
KEY = "omni_edge.parts"
"""Where the order is kept in the context's meta: a list of (option without dashes, value)."""


class OrderedCommand(TyperCommand):
    """Notes (option, value) pairs of ORDERED in their order, then parses as usual."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command, after a look at the arguments."""
        ctx.meta[KEY] = list(self._pairs(args))
        return super().parse_args(ctx, args)

    def _pairs(self, args: list[str]) -> list[tuple[str, str]]:
        valued = {
            name
            for parameter in self.params
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        pairs: list[tuple[str, str]] = []
        rest = iter(args)
        for argument in rest:
            if argument == "--":
                break
            name, equals, value = argument.partition("=")
            if name not in valued:
                continue
            # The next argument is the value whatever it looks like; click takes it so, too.
            value = value if equals else next(rest, "")
            if name in ORDERED:
                pairs.append((name.removeprefix("--"), value))
        return pairs
