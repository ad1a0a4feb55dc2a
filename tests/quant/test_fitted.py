"""What the recipes cost decoders that have learnt something, on sequences that they have not seen."""

import shutil

import pytest
from msgspec.structs import replace

pytest.importorskip("torch")

from omni_edge.apps.report.decoders import DecoderComparison
from omni_edge.export.calibration import Passage
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.correction import correct
from omni_edge.export.full_precision import FullPrecision
from omni_edge.export.precisions import BY_NAME, RECIPES
from omni_edge.export.subnetworks import write_decoder
from omni_edge.models.bundle import describe_files, open_bundle, write_manifest
from omni_edge.models.manifest import Graph
from omni_edge.runtime.engine import DECODERS

pytestmark = [pytest.mark.torch, pytest.mark.slow]
NEAREST, CORRECTED = "to the nearest", "corrected"


class Exports:
    """What the report says of the fitted decoders at a recipe's precisions, exported when first asked for."""

    def __init__(self, fitted, root):
        self.fitted, self.root, self.checkpoint = fitted, root, Checkpoint(fitted.checkpoint)
        self.full, self.found = FullPrecision(fitted.checkpoint), {}

    def error(self, recipe, name, how):
        if (recipe, how) not in self.found:
            bundle = self.bundle(self.root / f"{recipe} {how}", recipe, how)
            self.found[recipe, how] = {name: self.measured(bundle, name) for name in DECODERS}
        return self.found[recipe, how][name]

    def bundle(self, folder, recipe, how):
        shutil.copytree(self.fitted.others, folder)
        manifest = open_bundle(folder).manifest
        networks = dict(manifest.subnetworks)
        for name in DECODERS:
            precision = BY_NAME[RECIPES[recipe][name]]
            files = self.files(name, precision, folder, how)
            graph = Graph(engine="onnx", precision=precision.name, graph=files[0], files=files)
            networks[name] = replace(networks[name], graphs=(graph,))
        files = describe_files(folder, [entry.path for entry in manifest.files])
        write_manifest(folder, replace(manifest, subnetworks=networks, files=files))
        return open_bundle(folder)

    def files(self, name, precision, folder, how):
        if how == NEAREST:
            return write_decoder(name, self.checkpoint, folder, precision.rounding, lambda _: None).files
        passages = [Passage(each.rows, each.positions) for each in self.fitted.calibration[name].inputs()]
        return correct(self.checkpoint, name, precision, passages, folder, lambda _: None)()

    def measured(self, bundle, name):
        inputs = self.fitted.measured[name].inputs()
        [(_, error)] = DecoderComparison(bundle, self.full, name, inputs, 1, lambda *_: None).errors()
        return error


@pytest.fixture(scope="module")
def exports(fitted, tmp_path_factory):
    return Exports(fitted, tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", DECODERS)
def test_there_is_something_to_lose(fitted, name):
    """Nearly all that can be known of the language is known; who knows nothing of it lacks 1.7 nats."""
    assert fitted.excess[name] < 0.1


@pytest.mark.parametrize("name", DECODERS)
def test_sequences_are_not_those_of_calibration(fitted, name):
    lessons = (fitted.calibration[name], fitted.measured[name])
    seen, asked = ({each.rows.tobytes() for each in lesson.inputs()} for lesson in lessons)
    assert not seen & asked


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("how", [NEAREST, CORRECTED])
def test_eight_bits(exports, name, how):
    error = exports.error("int8", name, how)
    assert error.top1 >= 0.99
    assert error.kl <= 0.01


@pytest.mark.parametrize("name", DECODERS)
def test_four_bits_corrected(exports, name):
    error = exports.error("int4", name, CORRECTED)
    assert error.top1 >= 0.97
    assert error.kl <= 0.05


@pytest.mark.parametrize("name", DECODERS)
def test_correction_pays(exports, name):
    assert exports.error("int4", name, CORRECTED).kl < exports.error("int4", name, NEAREST).kl
