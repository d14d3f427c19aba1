"""Actions that are far from the scale of the noise that a policy makes them of."""

from absl import logging
import numpy as np

from aloe_jax.data import steps as steps_lib

FAR = 10.0  # deviations of that noise
_ROWS = 4096  # that are looked at, from all over
_SHOWN = 8  # numbers that are told


def say(steps: steps_lib.Steps) -> None:
  """Warns of numbers of actions, which nothing normalises, of which 1 in 100 is beyond `FAR`."""
  rows = np.unique(np.linspace(0, len(steps) - 1, _ROWS).astype(int))
  reach = np.quantile(np.abs(steps.action(rows)), 0.99, axis=0)
  if not (far := np.flatnonzero(reach > FAR)).size:
    return
  told = ', '.join(f'number {i} reaches {reach[i]:.4g}' for i in far[:_SHOWN])
  more = f', and {far.size - _SHOWN} more' if far.size > _SHOWN else ''
  logging.warning(
    "Actions of the episodes are far from unit scale, and config.data.normalization is 'none': "
    '%s%s; expected up to %g, as a policy begins from noise of deviation 1 and is slow to learn '
    'what is much larger. Give --config.data.normalization=zscore in another --workdir.',
    told,
    more,
    FAR,
  )
