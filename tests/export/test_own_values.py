import pytest

from omni_edge.export.own_values import FILE, OwnValues, read_own_values
from omni_edge.models.errors import BundleError


def test_a_published_checkpoint_has_none(tmp_path):
    values = read_own_values(tmp_path)
    assert values == OwnValues()
    assert (values.solver, values.steps, values.guidance, values.sway) == ("euler", 5, 0.0, -1.0)
    assert values.codes.sampling(stop=(1,), suppress=(2,)).repetition_penalty == 1.05


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not valid"),
        ('{"steps": "two"}', "is not valid"),
        ('{"stepps": 2}', "stepps"),
        ('{"solver": "euler", "steps": 12}', "no schedule of euler with 12 steps"),
        ('{"solver": "heun"}', "is not valid"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, content, says):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BundleError, match=says):
        read_own_values(tmp_path)
