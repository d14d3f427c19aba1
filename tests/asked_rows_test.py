"""Rows that are computed when they are asked for: once, in batches of one size, and no others."""

import numpy as np

from aloe_jax.data import asked_rows


def make_rows(shape=(10, 2), batch_size=4):
  """Each row holds its number; and the batches that were computed."""
  batches = []

  def compute(rows):
    batches.append(rows.tolist())
    return np.repeat(rows[:, None], shape[1], axis=1)

  return asked_rows.AskedRows(shape, np.float32, compute, batch_size=batch_size), batches


def test_a_row_is_computed_once_and_others_never():
  rows, batches = make_rows()
  assert (len(rows), rows.shape, rows.dtype) == (10, (10, 2), np.float32)
  np.testing.assert_array_equal(rows[np.array([7, 2, 7])][:, 0], [7, 2, 7])
  assert batches == [[2, 7, 7, 7]]
  np.testing.assert_array_equal(rows.missing(np.array([9, 7, 2, 9])), [9])
  np.testing.assert_array_equal(rows[np.array([[2, 9], [9, 0]])][..., 1], [[2, 9], [9, 0]])
  assert batches[1:] == [[0, 9, 9, 9]]


def test_numpys_take_reads_them_as_it_reads_an_array():
  rows, batches = make_rows()
  out = np.empty((3, 2), np.float32)
  asked = np.array([3, 1, 3])
  assert np.take(rows, asked, axis=0, out=out, mode='clip') is out
  np.testing.assert_array_equal(out[:, 0], asked)
  assert batches == [[1, 3, 3, 3]]


def test_rows_may_be_computed_ahead_with_progress():
  rows, batches = make_rows()
  done = []
  rows.add(np.array([8, 1, 3, 5, 6, 1]), done.append)
  assert (batches, done) == ([[1, 3, 5, 6], [8, 8, 8, 8]], [4, 5])
  rows.add(np.array([8, 1]), done.append)
  assert len(done) == len(batches) == 2
