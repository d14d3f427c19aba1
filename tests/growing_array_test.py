"""Arrays that grew on disk are the arrays that were appended."""

import numpy as np
import pytest

from aloe_jax.data import growing_array

PLACE = np.dtype([('file', '<i2'), ('offset', '<i8')])


@pytest.mark.parametrize('shape, dtype', [((), np.int64), ((2, 3), np.float32), ((), PLACE)])
def test_rows_come_back_in_order_whatever_their_number(shape, dtype, tmp_path):
  array = growing_array.GrowingArray(tmp_path / 'rows.npy', shape, dtype)
  rows = np.random.default_rng(0).integers(0, 99, (12_345, *shape)).astype(dtype)
  for part in np.split(rows, [0, 1, 5000]):
    array.append(part)
  array.close()
  for mode in (None, 'r'):
    found = np.load(tmp_path / 'rows.npy', mmap_mode=mode)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, rows)


def test_rows_of_another_shape_are_refused(tmp_path):
  array = growing_array.GrowingArray(tmp_path / 'rows.npy', (2,), np.float32)
  with pytest.raises(ValueError, match=r'found rows of \[3\], expected \[2\]'):
    array.append(np.zeros((1, 3), np.float32))
  array.close()
