"""Options keep the order in which they were given, and stay what click takes them for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from omni_edge.apps.ordered import KEY, OrderedCommand

ORDERED = ("text", "image", "audio", "video")


def pairs(*arguments: str, code: int = 0) -> list[tuple[str, str]]:
    """What a command with these arguments notes."""
    app = typer.Typer()
    noted: list[tuple[str, str]] = []
    collected: dict[str, list[str]] = {}

    @app.command(cls=OrderedCommand)
    def command(
        context: typer.Context,
        text: Annotated[list[str] | None, typer.Option()] = None,
        image: Annotated[list[str] | None, typer.Option()] = None,
        audio: Annotated[list[str] | None, typer.Option()] = None,
        video: Annotated[list[str] | None, typer.Option()] = None,
        out: Annotated[Path, typer.Option()] = Path("x"),
        speech: Annotated[bool, typer.Option("--speech/--no-speech")] = True,
        greedy: Annotated[bool, typer.Option("--greedy")] = False,
    ) -> None:
        noted.extend(context.meta[KEY])
        for name, values in (("text", text), ("image", image), ("audio", audio), ("video", video)):
            collected[name] = list(values or ())

    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    if code == 0:  # click and this command found the same values
        assert collected == {name: [value for kind, value in noted if kind == name] for name in ORDERED}
    return noted


def test_order_across_options():
    assert pairs("--image", "a", "--text", "x", "--image", "b", "--audio", "c", "--video", "d", "--text", "y") == [
        ("image", "a"), ("text", "x"), ("image", "b"), ("audio", "c"), ("video", "d"), ("text", "y"),
    ]  # fmt: skip


def test_with_an_equals_sign():
    assert pairs("--image=a=b", "--text=", "--text=--image") == [("image", "a=b"), ("text", ""), ("text", "--image")]


def test_a_value_that_looks_like_an_option_is_a_value():
    assert pairs("--text", "--image", "--image", "x") == [("text", "--image"), ("image", "x")]
    assert pairs("--out", "--text", "--text", "y") == [("text", "y")]
    assert pairs("--text", "-") == [("text", "-")]


def test_flags_take_no_value():
    assert pairs("--greedy", "--text", "a", "--no-speech", "--image", "b") == [("text", "a"), ("image", "b")]


def test_nothing_and_mistakes():
    assert pairs() == []
    assert pairs("--text", code=2) == []
    assert pairs("--unknown", "x", code=2) == []
    assert pairs("--text", "a", "--", "--image", "b", code=2) == []


words = st.text("ab-= ", max_size=5)


@given(st.lists(st.tuples(st.sampled_from([*ORDERED, "out", "greedy", "no-speech"]), words, st.booleans()), max_size=8))
def test_any_mixture(given_options):
    arguments: list[str] = []
    expected = []
    for name, value, equals in given_options:
        if name in ("greedy", "no-speech"):
            arguments.append(f"--{name}")
            continue
        arguments += [f"--{name}={value}"] if equals else [f"--{name}", value]
        if name != "out":
            expected.append((name, value))
    assert pairs(*arguments) == expected
