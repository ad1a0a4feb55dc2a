"""Who may import whom (DESIGN §2), and how large files and functions may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "apps": {"apps", "runtime", "export", "quant", "models"},
    "runtime": {"runtime", "models"},
    "export": {"export", "quant", "models"},
    "quant": {"quant", "models"},
    "models": {"models"},
}
TRAINING = "models/nano/train"
"""Makes the built-in model, is part of no installation's runtime, and may import what it needs."""
EXPORT_ONLY = {"torch", "transformers", "onnx", "onnxscript", "onnx_ir", "optimum", "safetensors", "ml_dtypes"}
LONGEST_FILE, LONGEST_FUNCTION = 350, 60


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports, inside functions as well."""
    package = ["omni_edge", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_directions(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        if TRAINING not in path.as_posix()
        for name in imports(path)
        if name.startswith("omni_edge.") and name.split(".")[1] not in MAY_IMPORT[folder]
    ]
    assert not wrong


def test_torch_and_its_like_belong_to_export():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("apps", "runtime", "models", "quant")
        for path in files(folder)
        if TRAINING not in path.as_posix()
        for name in imports(path)
        if name.split(".")[0] in EXPORT_ONLY - ({"onnx", "onnx_ir"} if folder == "quant" else set())
    ]
    assert not wrong


def test_the_commands_import_the_exporter_only_when_they_run():
    """At the head of a file it would make every command need torch."""
    for path in files("apps"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        heads = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in heads if (node.module or "").startswith(("export", "quant"))], path


def test_files_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files(*MAY_IMPORT, "tests")}
    assert not {path.name: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_functions_are_short():
    """Counted from the first statement: the options of a command stand in its signature."""
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {length} lines"
        for path in files(*MAY_IMPORT, "tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.body[0].lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long


def test_the_checks_see_what_they_look_for():
    path = ROOT / "runtime" / "session.py"
    assert {"omni_edge.models.errors.RequestError", "omni_edge.runtime.response.Response", "numpy"} <= set(
        imports(path)
    )
