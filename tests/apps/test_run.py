"""`omni-edge run` as its users see it: processes, pipes, files and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import wave
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import CHEAP, PROGRAM

FIELDS = {"type", "text", "ids", "codes", "samples", "rate", "stats"}


def picture(path: Path, seed: int, size: tuple[int, int] = (84, 112)) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_event_a_line_and_the_file_holds_the_speech(omni, bundle, tmp_path):
    out = tmp_path / "answer.wav"
    result = omni("run", "--model", bundle, "--text", "Hello", "--json", "--out", out, *CHEAP)
    assert (result.code, result.err) == (0, "")
    *deltas, done = events(result.out)
    assert done["type"] == "done"
    assert done.keys() >= FIELDS
    assert {event["type"] for event in deltas} == {"text", "audio"}
    assert "".join(event["delta"] for event in deltas if event["type"] == "text") == done["text"]
    assert sum(event["samples"] for event in deltas if event["type"] == "audio") == done["samples"] > 0
    assert done["wav"] == str(out)
    assert all(isinstance(number, int) for number in [*done["ids"], *done["codes"]])
    with wave.open(str(out), "rb") as file:
        assert (file.getnframes(), file.getframerate(), file.getnchannels()) == (done["samples"], done["rate"], 1)
    assert list(tmp_path.iterdir()) == [out]


def test_text_goes_to_stdout_and_what_is_said_about_it_to_stderr(omni, bundle, tmp_path):
    told = omni("run", "--model", bundle, "--text", "Hello", *CHEAP)
    answer = events(omni("run", "--model", bundle, "--text", "Hello", "--json", "--no-speech", *CHEAP).out)[-1]
    assert told.code == 0
    assert told.out == answer["text"] + "\n"
    assert "reply.wav" in told.err
    assert "seed" in told.err
    assert (tmp_path / "reply.wav").exists()


def test_a_person_sees_what_is_waited_for_and_pipes_do_not(bundle, tmp_path):
    pty = pytest.importorskip("pty")
    terminal, end = pty.openpty()
    command = [*PROGRAM, "run", "--model", str(bundle), "--text", "Hello", *CHEAP]
    piped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, check=True)
    assert b"loading" not in piped.stderr + piped.stdout
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, cwd=tmp_path)
    os.close(end)
    seen = b""
    with suppress(OSError):  # how a terminal ends whose program has gone
        while part := os.read(terminal, 1000):
            seen += part
    out, _ = process.communicate()
    os.close(terminal)
    assert process.returncode == 0
    assert seen.index(f"loading {bundle.name}".encode()) < seen.index(b"reading") < seen.index(b"seed")
    assert seen.count(b"\x1b[2K") >= 2  # gone again, each
    assert out == piped.stdout


def test_no_speech_writes_no_file(asked, tmp_path):
    done = events(asked("--text", "Hello", "--no-speech", "--json").out)[-1]
    assert (done["codes"], done["samples"], done["wav"]) == ([], 0, None)
    assert not any(tmp_path.iterdir())


def test_a_reply_without_speech_leaves_an_older_file(asked, tmp_path):
    (tmp_path / "reply.wav").write_bytes(b"older")
    done = events(asked("--text", "Hello", "--json", "--max-tokens", "1").out)[-1]
    assert (done["samples"], done["wav"]) == (0, None)
    assert (tmp_path / "reply.wav").read_bytes() == b"older"


def test_order_counts_in_either_spelling(asked, tmp_path, stages):
    a, b = picture(tmp_path / "a.png", 1), picture(tmp_path / "b.png", 2, (140, 56))
    prompts = []
    for arguments in (
        ("--image", a, "--text", "x", "--image", b, "--text", "?"),
        (f"--image={a}", "--text=x", f"--image={b}", "--text=?"),
        ("--image", b, "--text", "x", "--image", a, "--text", "?"),
        ("--image", a, "--image", b, "--text", "x", "--text", "?"),
    ):
        done = events(asked(*arguments, "--json", "--no-speech").out)[-1]
        prompts.append(tuple(stages.thinker.context.ids[: done["stats"]["prompt_rows"]]))
    assert prompts[0] == prompts[1]
    assert len(set(prompts)) == 3


def test_a_dash_reads_standard_input(omni, bundle):
    spoken = ("run", "--model", bundle, "--json", "--no-speech", *CHEAP)
    piped = omni(*spoken, "--text", "-", stdin="Grüße, 世界\n")
    given = omni(*spoken, "--text", "Grüße, 世界")
    assert events(piped.out)[-1]["ids"] == events(given.out)[-1]["ids"]


def test_text_streams(bundle, tmp_path):
    """The first piece is there before the speech is done, which here takes far longer."""
    command = [*PROGRAM, "run", "--model", str(bundle), "--text", "Hello", "--greedy", "--max-codes", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)


def test_a_reader_that_leaves_is_no_mistake(bundle, tmp_path):
    arguments = [*PROGRAM, "run", "--model", str(bundle), "--text", "Hello", "--greedy", "--no-speech"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_leaves_nothing_behind(bundle, tmp_path):
    (tmp_path / "reply.wav").write_bytes(b"older")
    command = [*PROGRAM, "run", "--model", str(bundle), "--text", "Hello", "--greedy", "--max-codes", "400"]
    # A shell's background job ignores the signal, and so would its children; one started by hand does not.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    with process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["reply.wav"]
    assert (tmp_path / "reply.wav").read_bytes() == b"older"


def test_a_system_prompt_of_ones_own_is_mentioned(asked, stages):
    assert "own system prompt" in asked("--text", "Hello", "--system", "Be brief.").err
    assert "own system prompt" not in asked("--text", "Hello", "--system", stages.bundle.manifest.speech_prompt).err
    first, *_ = events(asked("--text", "Hello", "--system", "Be brief.", "--json").out)
    assert first["type"] == "notice"


@pytest.mark.parametrize("arguments", [["--seed", "7"], ["--greedy"]])
def test_an_answer_can_be_repeated(arguments, asked):
    one, two = (events(asked("--text", "Hello", "--json", *arguments).out)[-1] for _ in range(2))
    assert (one["ids"], one["codes"]) == (two["ids"], two["codes"])


def test_version_and_help(inside):
    assert inside("--version").out.startswith("omni-edge ")
    text = inside("--help").out
    assert all(f"omni-edge run {option}" in text for option in ("--text", "--image", "--video"))
    assert all(command in text for command in ("run", "export", "list", "pull", "show", "rm"))
    text = inside("run", "--help").out
    assert all(option in text for option in ("--image", "--use-audio-in-vid", "--flow-steps", "--json", "--max-codes"))
    assert inside("-h").out == inside("--help").out
