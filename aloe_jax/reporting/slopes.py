"""How well the advantage foretells what comes of a chunk: its slope on outcomes, beside V.

The outcome of a chunk that starts at t is what came of it over n steps, with the critic's V of the
state that it led to, less V of its own state: what the advantage is an estimate of. n is two
chunks: what a chunk does shows by then, and later luck does not yet hide it. With V of its own
state held, an error of V, which outcome and advantage share, makes no slope.

Legend of shapes: R chunks.
"""

import numpy as np

from aloe_jax import estimates
from aloe_jax.learning import outcomes as outcomes_lib
from aloe_jax.reporting import judgement as judgement_lib
from aloe_jax.reporting import numbers as report_numbers


def measure(
  judged: judgement_lib.Judgement,
  episode: np.ndarray,
  *,
  horizon: int,
  execute: int,
  discount: float,
) -> dict[str, estimates.Estimate]:
  """By how much outcomes of the policy's own chunks rise with their advantage.

  Args:
    judged: R chunks.
    episode: [R] int, that each lies in: what intervals are taken over.
    horizon: h, steps of a chunk.
    execute: e, steps after which the next one is planned.
    discount: gamma.

  Returns:
    `advantage_slope`, of the outcome after `steps`, and `advantage_slope_full`, of the return: 1
    where advantages come true as they are, 0 where they tell nothing.
  """
  own = report_numbers.is_own(judged)
  after = outcomes_lib.realised(
    judged.row,
    judged.left,
    judged.terminal,
    judged.returns,
    judged.v,
    after=outcomes_lib.steps(horizon, execute),
    discount=discount,
  )
  outcomes = {
    'advantage_slope': after,
    'advantage_slope_full': judged.returns - judged.v,
  }
  return {
    name: estimates.estimate(
      estimates.slope(outcome, judged.advantage, judged.v, own & np.isfinite(outcome)), episode
    )
    for name, outcome in outcomes.items()
  }
