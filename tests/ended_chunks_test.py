"""What a critic learns of chunks that a hazard ended, on worlds whose values are known.

Held against tests/toys.py by the project's own data code and targets. A chunk that is filled up by
what shows the end makes Q of it too low, and that of all others too high.
"""

import numpy as np
import pytest
import toys

from aloe_jax.data import continuations

WHOLE, ENDED = 4000, 4000  # chunks
STEPS = 0.2  # how exact values are


@pytest.fixture(autouse=True)
def every_chunk_may_be_a_donor(monkeypatch):
  """A draw of donors would be noise, in values that are to be exact."""
  monkeypatch.setattr(continuations, 'DONORS', 10**6)


def biases(toy):
  """By what ended chunks are filled up with: what V and the gap between moods are off by."""
  buffer, rows, weights = toys.play(toy, WHOLE, ENDED)
  buffer.continue_ended()
  q, value = toy.exact()
  found = {}
  for past_end in ('executed', 'policy'):
    fitted, estimate = toys.evaluate(toy, buffer, rows, weights, past_end)
    gap = (fitted[-1] - fitted[0]) - (q[-1] - q[0])
    found[past_end] = (estimate - value, gap)
  return found


@pytest.mark.parametrize(
  'hazard, share, old',
  [
    (0.005, 0.02, -1.1),
    (0.005, 0.1, -6.8),
    (0.005, 0.3, -32.6),
    (0.01, 0.02, -1.6),
    (0.01, 0.1, -9.1),
    (0.01, 0.3, -31.5),
    (0.02, 0.02, -1.6),
    (0.02, 0.1, -8.3),
    (0.02, 0.3, -19.6),
  ],
)
def test_v_is_exact_where_every_step_answers_what_is_seen(hazard, share, old):
  executed, plans = toys.reacting(share, every=1), toys.reacting(share, every=toys.STEPS)
  found = biases(toys.Toy(executed, plans, (hazard, hazard), carried_out=executed))
  assert found['executed'][0] == pytest.approx(0, abs=STEPS)
  assert found['policy'][0] == pytest.approx(old, abs=0.1)


@pytest.mark.parametrize('hazard, old', [(0.005, -6.2), (0.01, -8.4), (0.02, -7.8)])
def test_v_is_exact_where_the_policy_plans_anew_every_two_steps(hazard, old):
  executed, plans = toys.reacting(0.2, every=2), toys.reacting(0.2, every=toys.STEPS)
  found = biases(toys.Toy(executed, plans, (hazard, hazard), carried_out=executed))
  assert found['executed'][0] == pytest.approx(0, abs=STEPS)
  assert found['policy'][0] == pytest.approx(old, abs=0.1)


@pytest.mark.parametrize(
  'behaviour, policy, old, old_gap',
  [
    (0.05, 0.05, 4.4, 11.1),
    (0.1, 0.1, 7.8, 9.5),
    (0.3, 0.3, 13.7, 4.2),
    (0.5, 0.5, 11.7, 1.3),
    (0.7, 0.7, 6.7, 0.1),
    (0.5, 0.02, 1.9, 12.2),  # the policy has become careful since the chunks were executed
    (0.5, 0.1, 7.8, 9.5),
    (0.5, 0.3, 13.7, 4.2),
  ],
)
def test_carelessness_that_is_executed_whole_costs_what_it_costs(behaviour, policy, old, old_gap):
  executed, plans = toys.moody(behaviour), toys.moody(policy)
  found = biases(toys.Toy(executed, plans, (0, 0.03), carried_out=plans))
  assert found['executed'] == pytest.approx((0, 0), abs=STEPS)
  assert found['policy'] == pytest.approx((old, old_gap), abs=0.15)


def test_so_it_is_in_plain_frequencies():
  executed, plans = toys.reacting(0.1, every=1), toys.reacting(0.1, every=toys.STEPS)
  toy = toys.Toy(executed, plans, (0.02, 0.02), carried_out=executed)
  ended = round(30_000 * (1 - toy.alive()[:, -1].mean()))
  buffer, rows, weights = toys.play(toy, 30_000 - ended, ended)
  buffer.continue_ended()
  _, value = toy.exact()
  _, found = toys.evaluate(toy, buffer, rows, np.ones_like(weights), 'executed')
  _, old = toys.evaluate(toy, buffer, rows, np.ones_like(weights), 'policy')
  assert found - value == pytest.approx(0, abs=STEPS)
  assert old - value == pytest.approx(-8.3, abs=0.2)
