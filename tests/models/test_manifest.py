"""manifest.json: what is written is read back, and what is not ours is refused by name."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from omni_edge.models.errors import BundleError
from omni_edge.models.manifest import SCHEMA, SUBNETWORKS, Manifest, decode, encode

ORIGIN = Path("/somewhere/manifest.json")


def values(kind: inspect.Type) -> st.SearchStrategy[object]:
    """Whatever a field of this type may hold, so that a field added tomorrow is tested too."""
    match kind:
        case inspect.IntType():
            return st.integers(-(2**53), 2**53)
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.StrType():
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.TupleType():
            return st.tuples(*map(values, kind.item_types))
        case inspect.VarTupleType():
            return st.lists(values(kind.item_type), max_size=2).map(tuple)
        case inspect.DictType():
            return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=2)
        case inspect.StructType():
            return st.builds(kind.cls, **{field.name: values(field.type) for field in kind.fields})
    raise NotImplementedError(kind)


@pytest.fixture
def manifest(make_bundle, tmp_path: Path) -> Manifest:
    path = make_bundle(tmp_path / "bundle") / "manifest.json"
    return decode(path.read_bytes(), path)


def changed(manifest: Manifest, **fields: object) -> bytes:
    return json.dumps({**json.loads(encode(manifest)), **fields}).encode()


@settings(max_examples=50, deadline=None)
@given(written=values(inspect.type_info(Manifest)).map(lambda drawn: msgspec.structs.replace(drawn, schema=SCHEMA)))
def test_what_is_written_is_read_back(written: Manifest) -> None:
    assert decode(encode(written), ORIGIN) == written


def test_the_file_is_readable_text(manifest: Manifest) -> None:
    data = encode(manifest)
    assert data.endswith(b"}\n")
    assert f'\n  "schema": {SCHEMA},'.encode() in data


def test_all_subnetworks_are_named_in_order(manifest: Manifest) -> None:
    assert tuple(manifest.subnetworks) == SUBNETWORKS


def test_records_cannot_be_changed(manifest: Manifest) -> None:
    with pytest.raises(AttributeError):
        manifest.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("schema", [0, 1, 99])
def test_another_schema_is_refused_before_anything_else(schema: int) -> None:
    with pytest.raises(BundleError, match=f"schema {schema}; this version reads schema {SCHEMA}"):
        decode(json.dumps({"schema": schema, "nothing": "else fits"}).encode(), ORIGIN)


@pytest.mark.parametrize(
    "data", [b"", b"not json", b"[]", b"{}", b'{"schema": "1"}', f'{{"schema": {SCHEMA}}}'.encode(), b"\xff\xfe"]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not a valid manifest") as caught:
        decode(data, ORIGIN)
    assert str(ORIGIN) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"colour": "blue"}, "colour"),
        ({"name": 3}, r"\$\.name"),
        ({"files": [{"path": "a", "bytes": "12", "sha256": ""}]}, r"\$\.files\[0\]\.bytes"),
        ({"subnetworks": {"brain": {}}}, "brain"),
        ({"voices": {"file": "v.npz", "names": ["A"]}}, "default"),
        (
            {"subnetworks": {"flow": {"graphs": [{"engine": "abacus", "precision": "", "graph": "", "files": []}]}}},
            "abacus",
        ),
    ],
)
def test_wrong_fields_are_named(manifest: Manifest, fields: dict[str, object], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        decode(changed(manifest, **fields), ORIGIN)


def test_every_field_but_the_extras_is_needed(manifest: Manifest) -> None:
    whole_manifest = json.loads(encode(manifest))
    for missing in whole_manifest.keys() - {"extras"}:
        less = {field: value for field, value in whole_manifest.items() if field != missing}
        with pytest.raises(BundleError, match=missing):
            decode(json.dumps(less).encode(), ORIGIN)
