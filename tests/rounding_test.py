"""Updates too small for a bfloat16 come about on average."""

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax.learning import rounding


def test_a_float32_is_added_to_as_it_is():
  params, updates = {'w': jnp.float32([1.0, -2.0])}, {'w': jnp.float32([1e-5, 3e-7])}
  found = rounding.add(params, updates, jax.random.key(0))
  np.testing.assert_array_equal(found['w'], params['w'] + updates['w'])


def test_a_bfloat16_goes_to_a_neighbour_of_the_sum_and_to_the_sum_on_average():
  count, step = 100_000, 2.0**-7  # between two bfloat16s at 1
  for share in (0.0, 0.1, 0.5, 0.9):
    params, updates = jnp.ones(count, jnp.bfloat16), jnp.full(count, share * step)
    found = np.float64(rounding.add(params, updates, jax.random.key(1)))
    assert set(found) <= {1.0, 1.0 + step}
    deviation = step * np.sqrt(share * (1 - share) / count)
    np.testing.assert_allclose(found.mean(), 1 + share * step, atol=5 * deviation + 1e-12)


def test_negative_parameters_are_rounded_likewise():
  params, updates = jnp.full(100_000, -1, jnp.bfloat16), jnp.full(100_000, -0.25 * 2.0**-7)
  found = np.float64(rounding.add(params, updates, jax.random.key(2)))
  np.testing.assert_allclose(found.mean(), -1 - 0.25 * 2.0**-7, rtol=1e-4)


def test_a_thousand_small_updates_add_up_where_rounding_to_the_nearest_would_lose_them_all():
  def body(params, key):
    return rounding.add(params, -1e-4 * jnp.ones(4096), key), None

  start = jnp.ones(4096, jnp.bfloat16)
  end, _ = jax.lax.scan(body, start, jax.random.split(jax.random.key(3), 1000))
  np.testing.assert_allclose(np.float64(end).mean(), 0.9, atol=0.002)
  assert (start + jnp.bfloat16(-1e-4) == start).all()


def test_what_is_no_number_stays_none():
  params = jnp.asarray([1.0, 1.0], jnp.bfloat16)
  found = rounding.add(params, jnp.float32([np.nan, np.inf]), jax.random.key(4))
  assert np.isnan(found[0]) and np.isinf(found[1])
