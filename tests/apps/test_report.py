"""`omni-edge report`: what each output says, and what the numbers see."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

from omni_edge.apps.material import built_in
from omni_edge.apps.report import decoders, svg, table
from omni_edge.apps.report.compare import Compared, Comparison
from omni_edge.apps.report.page import page
from omni_edge.apps.report.recording import Recorder
from omni_edge.apps.suite import nano as suite
from omni_edge.apps.suite.figures import Figure, Line
from omni_edge.export.full_precision import FullPrecision
from omni_edge.models.bundle import describe_files, open_bundle, write_manifest
from omni_edge.models.manifest import SUBNETWORKS
from omni_edge.models.nano import __file__ as nano_file
from omni_edge.models.store import resolve

pytestmark = pytest.mark.torch
CHEAP = ("--limit", "3", "--threads", "1")


@pytest.fixture(scope="module")
def nano_checkpoint():
    return Path(nano_file).parent / "checkpoint"


def compare(bundle, checkpoint, limit):
    opened = open_bundle(bundle)
    recorder = Recorder(opened, 1)
    recordings = [recorder.record(conversation) for conversation in built_in(opened.manifest.name, "report", limit)]
    ticks = []
    full = FullPrecision(checkpoint)
    compared = list(Comparison(opened, full, recordings, 1, lambda *each: ticks.append(each)).graphs())
    assert all(0 <= done < total for _, done, total in ticks)
    return {each.subnetwork: each for each in compared}


def damaged(bundle, folder, *names):
    """A copy of a full-precision bundle in which a tenth of some graphs' weights are half as large again."""
    shutil.copytree(bundle, folder)
    manifest = open_bundle(folder).manifest
    for name in names:
        weights = np.memmap(folder / f"{name}.onnx.data", np.float32, "r+")
        weights[weights.size // 2 : weights.size * 6 // 10] *= 1.5
        weights.flush()
    files = describe_files(folder, [entry.path for entry in manifest.files])
    write_manifest(folder, msgspec.structs.replace(manifest, files=files))
    return folder


def sizes(compared):
    return {name: each.report.error.size for name, each in compared.items()}


@pytest.mark.slow
def test_full_precision_costs_nothing(tiny):
    compared = compare(tiny.bundle(), tiny.checkpoint(), 6)
    assert tuple(compared) == SUBNETWORKS
    assert max(sizes(compared).values()) < 1e-4
    errors = {name: each.report.error for name, each in compared.items()}
    assert errors["audio_encoder"].worst_cosine > 0.9999
    assert errors["thinker"].top1 == errors["thinker"].prompt_top1 == errors["talker"].top1 == 1
    assert errors["vocoder"].snr_db > 60
    assert {matrix.error for matrix in errors["thinker"].matrices} == {0}
    assert compared["flow"].pair.full.shape == compared["flow"].pair.bundle.shape
    assert compared["thinker"].report.bits_per_weight > 30


@pytest.mark.slow
def test_damage_is_seen_where_it_is_and_nowhere_else(tiny, tmp_path):
    broken = damaged(tiny.bundle(), tmp_path / "broken", "thinker", "flow")
    compared = compare(broken, tiny.checkpoint(), 6)
    found = sizes(compared)
    assert min(found.pop("thinker"), found.pop("flow")) > 1e-3
    assert max(found.values()) < 1e-4
    matrices = compared["thinker"].report.error.matrices
    hurt = [matrix.error for matrix in matrices if matrix.error]
    assert 0 < len(hurt) < len(matrices)
    assert 0.05 < max(hurt) <= 0.5


def test_eight_bits_cost_little(nano_checkpoint):
    compared = compare(resolve("nano"), nano_checkpoint, 5)
    found = sizes(compared)
    assert all(1e-9 < size < 0.05 for size in found.values()), found
    assert compared["thinker"].report.error.top1 > 0.98
    assert compared["vocoder"].report.error.snr_db > 35
    assert all(0.003 < matrix.error < 0.01 for matrix in compared["talker"].report.error.matrices)
    assert all(
        each.report.precision.startswith("int8") and each.report.bits_per_weight < 12 for each in compared.values()
    )


def test_one_json_object_by_subnetwork(inside, nano_checkpoint):
    result = inside("report", "nano", "--against", nano_checkpoint, *CHEAP, "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert tuple(found) == SUBNETWORKS
    [thinker] = found["thinker"]
    assert (thinker["engine"], thinker["precision"]) == ("onnx", "int8")
    assert {"bytes", "bits_per_weight", "kl", "top1", "positions", "prompt_kl", "matrices"} <= thinker.keys()
    assert {"name", "layer", "part", "error"} == thinker["matrices"][0].keys()
    assert {"spectral_convergence", "log_magnitude", "snr_db"} <= found["vocoder"][0].keys()
    assert result.err.startswith("[answers]\n[audio_encoder, full precision]\n")


def test_lines_in_a_pipe_and_a_page(inside, nano_checkpoint, tmp_path):
    result = inside("report", "nano", "--against", nano_checkpoint, *CHEAP, "--html", "report.html")
    head, *lines = [line.split("\t") for line in result.out.splitlines()]
    assert head == ["subnetwork", "engine", "precision", "bytes", "bits_per_weight", "metric", "value"]
    assert {line[0] for line in lines} == set(SUBNETWORKS)
    assert all(len(line) == len(head) and math.isfinite(float(line[-1])) for line in lines)
    assert result.err.splitlines()[-1] == "written: report.html"
    check_page((tmp_path / "report.html").read_text(encoding="utf-8"))


class References(HTMLParser):
    """What a page would have to fetch, and pictures without words."""

    def __init__(self):
        super().__init__()
        self.fetched, self.silent, self.pictures = [], [], 0

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.fetched += [given[name] for name in ("src", "href", "srcset", "data") if name in given]
        if tag in ("img", "svg"):
            self.pictures += 1
            self.silent += [] if given.get("alt") or given.get("aria-label") else [tag]


def check_page(text):
    found = References()
    found.feed(text)
    assert found.pictures == 6 + 3
    assert not found.silent
    assert all(source.startswith("data:") for source in found.fetched)
    assert not re.search(r"https?:|@import|url\(|<script|<link", text)
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len([ElementTree.fromstring(drawing) for drawing in drawings]) == 3
    assert "prefers-color-scheme: dark" in text


def test_what_the_material_lacks_is_not_measured(inside, nano_checkpoint, tmp_path):
    (tmp_path / "asked.txt").write_text("what is one plus two\n")
    result = inside("report", "nano", "--against", nano_checkpoint, "--data", tmp_path, "--json")
    found = json.loads(result.out)
    assert "nothing to see" in found["vision_encoder"][0]["unmeasured"]
    assert "cosine" not in found["audio_encoder"][0]
    assert 2 <= found["thinker"][0]["positions"] <= 4


def test_the_suite_is_part_of_the_page_when_asked_for(inside, nano_checkpoint, monkeypatch, tmp_path):
    pytest.importorskip("pocketsphinx")

    def measure(tick):
        tick()
        return {"see_typed": Figure("accuracy", 1.0, 1)}

    monkeypatch.setattr(suite, "nano_lines", lambda *_, **__: iter([Line("see_typed", 1, measure)]))
    arguments = ("report", "nano", "--against", nano_checkpoint, *CHEAP, "--suite-limit", "1", "--html", "page.html")
    result = inside(*arguments, "--json")
    assert json.loads(result.out)["end_to_end"] == {"see_typed": {"metric": "accuracy", "value": 1.0, "items": 1}}
    assert "see_typed" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_table_on_a_terminal(nano_checkpoint, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    compared = list(compare(resolve("nano"), nano_checkpoint, 1).values())
    missing = msgspec.structs.replace(compared[3].report, engine="llama", error=None, unmeasured=decoders.MISSING)
    compared.append(Compared("talker", missing))
    table.print_table(compared, {"see_typed": Figure("accuracy", 1.0, 1)})
    out = capsys.readouterr().out
    assert "not measured: there is nothing to see in the material" in out
    assert re.search(r"thinker .* KL .* nats, same token 100.0 %", out)
    assert "not measured: llama.cpp is not installed: pip install 'omni-edge[llama]'" in out
    assert "≥ 97.0 %" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("absent", "--against", "CHECKPOINT"), "absent"),
        (("CHECKPOINT", "--against", "CHECKPOINT"), "is a checkpoint, not a bundle"),
        (("nano", "--against", "nano"), "nano is built in.* folder of its checkpoint"),
        (("nano", "--against", "TINY"), "was not exported from"),
        (("nano", "--against", "CHECKPOINT", "--data", "EMPTY"), "nothing to ask"),
        (("nano", "--against", "CHECKPOINT", "--html", "no/such/page.html"), "cannot be written"),
        (("nano", "--against", "CHECKPOINT", "--html", "EMPTY"), "is a folder"),
        (("TINYBUNDLE", "--against", "TINY", "--suite-limit", "1"), "the suite asks what nano was trained on"),
    ],
)
def test_what_cannot_be_is_one_line(inside, nano_checkpoint, tiny, tmp_path, arguments, complaint):
    (tmp_path / "empty").mkdir()
    places = {"CHECKPOINT": nano_checkpoint, "EMPTY": tmp_path / "empty"}
    if any(word.startswith("TINY") for word in arguments):
        places |= {"TINY": tiny.checkpoint(), "TINYBUNDLE": tiny.bundle()}
    result = inside("report", *(places.get(word, word) for word in arguments))
    assert re.search(complaint, result.complaint)
    assert result.out == ""


def test_without_torch_the_extra_is_named(inside, nano_checkpoint, monkeypatch):
    monkeypatch.delitem(sys.modules, "omni_edge.export.full_precision")
    monkeypatch.setitem(sys.modules, "torch", None)
    result = inside("report", "nano", "--against", nano_checkpoint)
    assert "pip install 'omni-edge[export]'" in result.complaint


def test_matrices_that_cannot_be_read_are_said_to_be_so(nano_checkpoint):
    bundle = resolve("nano")
    compared = compare(bundle, nano_checkpoint, 1)["thinker"]
    error = msgspec.structs.replace(compared.report.error, matrices=())
    report = msgspec.structs.replace(compared.report, engine="llama", precision="q2_0", error=error)
    text = page(open_bundle(bundle).manifest, [Compared("thinker", report)], {}, 1)
    assert "<p>thinker, llama q2_0: matrices of this kind cannot be read back.</p>" in text


def test_plots_take_extremes():
    """One bar, many layers, equal points: axes and labels still come out."""
    bars = [svg.Bar("0", "a", 0.0, "zero")]
    assert "NaN" not in svg.bar_plot(bars, ["a"], "x", "y", "nothing")
    many = [svg.Bar(str(layer), "a", 0.01 * layer, "<&>") for layer in range(80)]
    drawing = svg.bar_plot(many, ["a"], "x", "y", 'a "quoted" text')
    root = ElementTree.fromstring(re.search(r"<svg.*</svg>", drawing, re.DOTALL)[0])
    assert root.get("aria-label") == 'a "quoted" text'
    labels = [text.text for text in root.iter("text") if (text.text or "").isdigit()]
    assert len(labels) < 45
    points = [svg.Point(1e6, 1e-8, name, name) for name in "abc"]
    drawn = ElementTree.fromstring(
        re.search(r"<svg.*</svg>", svg.scatter(points, svg.SIZE_AXIS, svg.ERROR_AXIS, "z"), re.DOTALL)[0]
    )
    heights = [float(text.get("y")) for text in drawn.iter("text") if text.text in ("a", "b", "c")]
    assert min(np.diff(sorted(heights))) > 12
