"""Rows on disk: computed once, and gone on with where a run was stopped."""

import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.data import row_cache

SHAPE = (10, 2, 3)
FEATURES = np.arange(60, dtype=np.float32).reshape(SHAPE)


class Encoder:
  """Gives the rows of FEATURES, and fails when asked for one row too many."""

  def __init__(self, fails_at=None):
    self.asked = []
    self._fails_at = fails_at

  def __call__(self, rows):
    if self._fails_at in rows:
      raise KeyboardInterrupt
    self.asked += rows.tolist()
    return FEATURES[rows]


def build(path, encode, told=None, dtype=jnp.bfloat16):
  progress = (told if told is not None else []).append
  return row_cache.build(path, SHAPE, dtype, encode, batch_size=4, progress=progress)


def test_features_are_computed_in_batches_and_read_from_the_disk_afterwards(tmp_path):
  encode, told = Encoder(), []
  found = build(tmp_path / 'features.npy', encode, told)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(np.float32(found), FEATURES)
  assert encode.asked == [*range(10), 9, 9]  # the last batch is filled up
  assert told == [4, 8, 10]
  again = Encoder()
  np.testing.assert_array_equal(build(tmp_path / 'features.npy', again), found)
  assert again.asked == []
  assert [path.name for path in tmp_path.iterdir()] == ['features.npy']


def test_a_stopped_computation_goes_on_after_its_last_whole_batch(tmp_path):
  path = tmp_path / 'features.npy'
  with pytest.raises(KeyboardInterrupt):
    build(path, Encoder(fails_at=9))
  assert not path.exists()
  encode, told = Encoder(), []
  np.testing.assert_array_equal(np.float32(build(path, encode, told)), FEATURES)
  assert encode.asked == [8, 9, 9, 9]
  assert told == [10]
  assert [path.name for path in tmp_path.iterdir()] == ['features.npy']


def test_what_a_kill_left_unsafe_is_computed_again(tmp_path):
  """Nothing is marked safe for some seconds: a kill leaves the rows and no mark."""
  path = tmp_path / 'features.npy'
  with pytest.raises(KeyboardInterrupt):
    build(path, Encoder(fails_at=9))
  (marks,) = tmp_path.glob('*.0-of-1')
  assert marks.read_bytes() == b'..'
  marks.write_bytes(b'.')
  encode = Encoder()
  np.testing.assert_array_equal(np.float32(build(path, encode)), FEATURES)
  assert encode.asked == [*range(4, 10), 9, 9]


def test_marks_without_their_rows_are_not_believed(tmp_path):
  path = tmp_path / 'features.npy'
  (tmp_path / '.features.npy.partial.0-of-1').write_bytes(b'..')
  np.testing.assert_array_equal(np.float32(build(path, Encoder())), FEATURES)


def test_types_that_numpy_knows_are_kept_as_they_are(tmp_path):
  found = build(tmp_path / 'bank' / 'rows.npy', Encoder(), dtype=np.float32)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(np.load(tmp_path / 'bank' / 'rows.npy'), FEATURES)
