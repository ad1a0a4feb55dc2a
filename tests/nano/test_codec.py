import numpy as np
import pytest

pytest.importorskip("torch")

from omni_edge.models.nano.train.codec import Codec, lloyd, load_codec, nearest

pytestmark = pytest.mark.torch


def toy_codec(codes=24, seed=0):
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((codes, 160)).astype(np.float32)
    return Codec(centroids, np.array([[-5.0] * 80, [-6.0] * 80], np.float32))


def test_lloyd_finds_well_separated_clusters():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((6, 8)).astype(np.float32) * 10
    owner = rng.integers(6, size=3000)
    units = truth[owner] + rng.standard_normal((3000, 8)).astype(np.float32) * 0.1
    # Seeds may put two centroids into one cluster; a dozen centroids cover all six for any.
    found = lloyd(units, 12, 10, seed=0)
    distances = np.linalg.norm(found[:, None] - truth[None], axis=-1).min(0)
    assert distances.max() < 0.3


def test_lloyd_revives_centroids_that_lost_their_units():
    units = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    found = lloyd(units, 8, 5, seed=0)
    assert np.isfinite(found).all()
    assert {int(row.argmax()) for row in found} == {0, 1, 2}


def test_nearest_agrees_with_all_distances_across_blocks():
    rng = np.random.default_rng(2)
    units, centroids = (rng.standard_normal((count, 5)).astype(np.float32) for count in (50, 7))
    wanted = ((units[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
    assert (nearest(units, centroids, block=16) == wanted).all()
    assert len(nearest(units[:0], centroids)) == 0


@pytest.mark.parametrize("speaker", [0, 1])
def test_codes_start_at_one_and_come_back_as_their_own_centroid(speaker):
    codec = toy_codec()
    codes = np.arange(1, codec.each + 1) + speaker * codec.each
    mel = codec.decode(codes, speaker)
    assert mel.shape == (2 * len(codes), 80)
    assert (codec.encode(mel, speaker) == codes).all()


def test_decoded_mels_stay_above_the_floor():
    codec = Codec(np.full((1, 160), -20.0, np.float32), np.zeros((1, 80), np.float32))
    assert codec.decode([1, 1], 0).min() == -11.0


def test_a_saved_codec_gives_the_same_codes(tmp_path):
    codec = toy_codec()
    codec.save(tmp_path / "codec.safetensors")
    again = load_codec(tmp_path / "codec.safetensors")
    mel = np.random.default_rng(3).standard_normal((40, 80)).astype(np.float32) - 5
    assert (codec.encode(mel, 0) == again.encode(mel, 0)).mean() > 0.9  # fp16 may move a border
    assert np.abs(codec.centroids - again.centroids).max() < 1e-2
