"""Embedding tables in eight bits, written here and read by the runtime."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.quant import tables
from omni_edge.runtime.thinker import Embeddings


def write(path, values, *, rounded):
    tables.write_table(path, values.shape, lambda start, stop: values[start:stop], rounded=rounded)
    return Embeddings(path)


@given(st.integers(1, 40), st.sampled_from([16, 48, 64, 100, 7]), st.integers(0, 99), st.booleans())
def test_rows_come_back_to_half_a_step(tmp_path_factory, count, width, seed, rounded):
    values = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    table = write(tmp_path_factory.mktemp("t") / "table.npy", values, rounded=rounded)
    assert table.width == width
    ids = [0, count - 1, count // 2]
    read = table.rows(ids)
    assert read.dtype == np.float32
    assert np.abs(read - values[ids]).max() <= (np.abs(values).max() / 127 * 0.51 if rounded else 0)


def test_slabs_make_no_difference_and_the_file_is_small(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    write(tmp_path / "a.npy", values, rounded=True)
    monkeypatch.setattr(tables, "SLAB_BYTES", 64 * 4 * 7)
    write(tmp_path / "b.npy", values, rounded=True)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert (tmp_path / "a.npy").stat().st_size < 0.27 * values.nbytes


def test_rows_of_zeros_and_large_values(tmp_path):
    values = np.zeros((2, 32), np.float32)
    values[1, 3] = 3000.0
    read = write(tmp_path / "t.npy", values, rounded=True).rows([0, 1])
    np.testing.assert_allclose(read, values, rtol=1e-3)


@pytest.mark.parametrize("ids", [[5], [-6]])
def test_ids_that_are_not_there(tmp_path, ids):
    table = write(tmp_path / "t.npy", np.ones((5, 32), np.float32), rounded=True)
    with pytest.raises(IndexError):
        table.rows(ids)
