"""A program of its own that measures when it is asked to, so that neither side touches the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from ...models.errors import DeviceError


class Child:
    """A module run as a program. It reads JSON objects, one a line, and answers each with one.

    Args:
        module: its name.
        name: for people.
        setup: the first object; it is answered with {} when all is loaded.

    Raises:
        DeviceError: it ended instead of answering.
    """

    def __init__(self, module: str, name: str, setup: Mapping[str, object]) -> None:
        self._name = name
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        try:
            self.ask(setup)
        except BaseException:
            self.close()
            raise

    def ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        """One question, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise DeviceError(f"{self._name} cannot be measured: {self._last_words()}. Leave --against out")
        return json.loads(answer)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints if line.strip()]
        if lines:
            return lines[-1][:200]
        code = self._process.returncode
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with status {code}"
