"""The conversations that bundles are calibrated and compared on."""

from __future__ import annotations

import numpy as np
import pytest

from omni_edge.apps import material
from omni_edge.models.errors import RequestError
from omni_edge.models.nano.world.spoken import SynthesiserMissing
from omni_edge.runtime.messages import Audio, Image, Text, Video


def kinds(conversation):
    return tuple(type(part) for part in conversation)


def texts(conversations):
    return {part.text for parts in conversations for part in parts if isinstance(part, Text)}


def test_lines_are_questions(tmp_path):
    (tmp_path / "asked.txt").write_text("\ufeffwho are you\n\n  what is this  \n", encoding="utf-8")
    assert material.conversations(tmp_path) == [(Text("who are you"),), (Text("what is this"),)]


def test_a_file_goes_with_the_lines_beside_it(tmp_path):
    (tmp_path / "photo.txt").write_text("what colour\nhow many\n")
    (tmp_path / "photo.JPG").touch()
    found = material.conversations(tmp_path)
    assert [kinds(parts) for parts in found] == [(Image, Text)] * 2
    assert texts(found) == {"what colour", "how many"}
    assert found[0][0].source == tmp_path / "photo.JPG"


def test_a_file_alone_is_asked_about(tmp_path):
    for name in ("a.wav", "b.png", "c.mp4", "d.pdf", ".hidden.txt"):
        (tmp_path / name).touch()
    (tmp_path / "b.txt").write_text("\n")
    found = material.conversations(tmp_path)
    assert [kinds(parts) for parts in found] == [(Audio, Text), (Image, Text), (Video, Text)]
    assert [parts[1].text for parts in found] == [material.HEARD, material.SEEN, material.WATCHED]
    assert found[2][0].use_audio


@pytest.mark.parametrize("content", [{}, {"notes.pdf": b"x"}, {"empty.txt": b"\n"}])
def test_nothing_to_ask_says_what_to_put_there(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(RequestError, match=r"nothing to ask; put a \.txt file"):
        material.conversations(tmp_path)


def test_other_bad_folders(tmp_path):
    with pytest.raises(RequestError, match="not a folder"):
        material.conversations(tmp_path / "none")
    (tmp_path / "latin.txt").write_bytes("où".encode("latin-1"))
    with pytest.raises(RequestError, match=r"latin\.txt is no UTF-8 text"):
        material.conversations(tmp_path)


@pytest.mark.parametrize("model", ["nano", "Qwen2.5-Omni-3B"])
def test_built_in_material_holds_every_kind_and_is_always_the_same(model):
    one, two = (material.built_in(model, "report", 12) for _ in range(2))
    assert len(one) == 12
    assert {kind for parts in one for kind in kinds(parts)} == {Text, Audio, Image, Video}
    assert [kinds(parts) for parts in one] == [kinds(parts) for parts in two]
    pictures = [[parts[0].source for parts in half if isinstance(parts[0], Image)] for half in (one, two)]
    assert all(np.array_equal(*pair) for pair in zip(*pictures, strict=True))


def test_the_halves_share_no_question():
    halves = [texts(material.built_in("other", half, 100)) for half in ("calibrate", "report")]
    assert halves[0] & halves[1] == {material.HEARD, material.SEEN, material.WATCHED}
    assert min(map(len, halves)) == 16 + 3
    assert len(material.built_in("other", "report", 2)) == 2


def test_without_synthesisers_nano_is_asked_in_writing(monkeypatch):
    def missing():
        raise SynthesiserMissing("espeak-ng is not installed")

    monkeypatch.setattr(material, "espeak", missing)
    found = material.built_in("nano", "report", 10)
    assert all(isinstance(parts[-1], Text) for parts in found)
    assert {kind for parts in found for kind in kinds(parts)} == {Text, Image, Video}
