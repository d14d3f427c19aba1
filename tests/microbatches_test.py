"""An update in pieces is the update of the whole batch, whatever is masked or weighs more."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import updates

from aloe_jax import losses
from aloe_jax.learning import microbatches

pytestmark = pytest.mark.usefixtures('quick_compilation')

BATCH = 8


def in_pieces(learner, count):
  settings = dataclasses.replace(learner.settings, batch_size=BATCH, microbatch=BATCH // count)
  return dataclasses.replace(learner, settings=settings)


def test_a_piece_takes_every_nth_row_so_that_each_device_has_its_share():
  rows = {'x': np.arange(6), 'y': np.arange(12).reshape(6, 2)}
  pieces = microbatches.split(rows, 3)
  np.testing.assert_array_equal(pieces['x'], [[0, 3], [1, 4], [2, 5]])
  np.testing.assert_array_equal(pieces['y'][1], [[2, 3], [8, 9]])


def test_rows_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match='6 rows do not divide by 4 pieces'):
    microbatches.split(np.arange(6), 4)


def test_what_is_made_of_each_piece_comes_back_in_the_order_of_the_rows():
  made = microbatches.each(lambda x: jnp.stack([x, -x], axis=1), jnp.arange(6), 3)
  np.testing.assert_array_equal(made, np.stack([np.arange(6), -np.arange(6)], axis=1))


def test_gradients_of_uneven_masks_are_those_of_the_whole_batch_and_no_mean_of_means():
  rng = np.random.default_rng(0)
  rows = {
    'x': tiny.normal(rng, BATCH, 5, 3),
    'valid': np.arange(5) < np.array([1, 5, 2, 5, 1, 1, 4, 5])[:, None],
    'weight': np.float32([9, 0.1, 3, 0.2, 1, 1, 0.5, 2]),
  }
  zeros = np.zeros((BATCH, 5, 3), np.float32)

  def gradient(rows):
    def loss(w):
      error = losses.flow_matching_error(
        rows['x'] @ w, zeros[: len(rows['x'])], zeros[: len(rows['x'])], rows['valid']
      )
      return losses.weighted_mean(error, rows['weight'])

    return jax.grad(loss)(jnp.float32(np.eye(3) + 0.1))

  whole = gradient(rows)
  for count in (2, 4, 8):
    np.testing.assert_allclose(microbatches.mean(gradient, rows, count), whole, rtol=1e-6)
  # What a sum of steps over a sum of counts, piece by piece, would have made of it.
  steps = np.array([np.asarray(gradient({k: v[i::4] for k, v in rows.items()})) for i in range(4)])
  shares = np.array([rows['valid'][i::4].sum() for i in range(4)])
  assert np.abs(np.average(steps, axis=0, weights=shares) - whole).max() > 1e-3


@pytest.mark.parametrize('weighted', [True, False], ids=['per_phase', 'per_step'])
@pytest.mark.parametrize('count', [2, 4])
def test_an_update_in_pieces_is_that_of_the_whole_batch(weighted, count):
  learner = updates.LEARNER
  batches = tiny.make_actor_batches(np.random.default_rng(0), 2, BATCH, weighted)
  state = tiny.make_state(learner)
  expected = updates.step(learner, state, None, batches)
  found = updates.step(in_pieces(learner, count), state, None, batches)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)
