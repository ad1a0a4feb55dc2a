"""What `--precision` says."""

import pytest

from omni_edge.export.gguf import GGUF_KINDS
from omni_edge.export.precisions import BY_NAME, RECIPES, choose
from omni_edge.models.errors import RequestError
from omni_edge.models.manifest import SUBNETWORKS
from omni_edge.quant.blocks import Scheme

pytestmark = pytest.mark.torch


def names(*wishes):
    return {name: [each.name for each in graphs] for name, graphs in choose(wishes).items()}


def test_nothing_said_keeps_floats():
    assert names() == {name: ["fp32"] for name in SUBNETWORKS}


def test_the_later_wins_for_the_same_engine():
    chosen = names("int8", "talker=int4-128", "talker=int4", "flow=fp32")
    assert chosen["talker"] == ["int4"]
    assert chosen["flow"] == ["fp32"]
    assert chosen["thinker"] == ["int8"]


def test_two_engines_side_by_side_in_the_order_said():
    assert names("thinker=int4", "thinker=q4_0")["thinker"] == ["int4", "q4_0"]
    assert names("q4_0", "thinker=int4")["thinker"] == ["q4_0", "int4"]


def test_a_kind_of_llama_cpp_for_all_leaves_the_others_to_int8():
    chosen = names("q4_k_m")
    assert chosen["thinker"] == chosen["talker"] == ["q4_k_m"]
    assert {name: kinds for name, kinds in chosen.items() if name not in ("thinker", "talker")} == {
        name: kinds for name, kinds in names("int8").items() if name not in ("thinker", "talker")
    }
    assert names("flow=int4", "q4_k_m")["flow"] == ["int4"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("int5", "'int5' is no precision; use one of fp32, int8"),
        ("", "is no precision"),
        ("brain=int4", "'brain' is no subnetwork; use one of audio_encoder"),
        ("flow=q4_0", "flow has no graph of kind q4_0"),
        ("talker=", "is no precision"),
    ],
)
def test_what_cannot_be(wish, said):
    with pytest.raises(RequestError, match=said) as caught:
        choose([wish])
    assert "\n" not in str(caught.value)


def test_a_recipe_names_a_kind_for_each():
    chosen = names("int4")
    assert chosen["thinker"] == ["int4-128"]
    assert chosen["talker"] == ["int4-mixed"]
    assert chosen["flow"] == chosen["vocoder"] == ["int8-dynamic"]
    for recipe in RECIPES.values():
        assert set(recipe) == set(SUBNETWORKS)
        assert set(recipe.values()) <= set(BY_NAME)


def test_every_kind_has_one_name():
    assert len(BY_NAME) == len(set(BY_NAME)) > len(GGUF_KINDS)


def test_a_mix_keeps_finer_what_the_next_token_depends_on():
    rounding = BY_NAME["int4-mixed"].rounding
    for name in ("self_attn.q_proj.weight+k_proj+v_proj", "self_attn.o_proj.weight", "mlp.down_proj.weight"):
        assert rounding.of(f"layers.0.{name}") == Scheme(8, 128)
    assert rounding.of("codec_head.weight") == Scheme(8, 128)
    assert rounding.of("layers.0.mlp.gate_proj.weight+up_proj") == Scheme(4, 64)
