"""Actions of another scale: than that of the noise they are made of, or than a world's."""

from collections.abc import Iterable

from absl import logging
import numpy as np

from aloe_jax.data import steps as steps_lib
from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import worlds

FAR = 10.0  # deviations of that noise
_ROWS = 4096  # that are looked at, from all over
_SHOWN = 8  # numbers that are told


def say_unscaled(steps: steps_lib.Steps) -> None:
  """Warns of numbers of actions, which nothing normalises, of which 1 in 100 is beyond `FAR`."""
  reach = np.quantile(np.abs(_some(steps)), 0.99, axis=0)
  if not (far := np.flatnonzero(reach > FAR)).size:
    return
  logging.warning(
    "Actions of the episodes are far from unit scale, and config.data.normalization is 'none': "
    '%s; expected up to %g, as a policy begins from noise of deviation 1 and is slow to learn '
    'what is much larger. Give --config.data.normalization=zscore in another --workdir.',
    _listed(f'number {i} reaches {reach[i]:.4g}' for i in far),
    FAR,
  )


def say_outside(steps: steps_lib.Steps, world: worlds.World) -> None:
  """Warns of numbers of recorded actions that the robot of a simulator does not carry out."""
  if world.action_limits is None:
    return
  (low, high), actions = world.action_limits, _some(steps)
  lowest, highest = gymnasium_numbers.passing(low, high)
  if not (far := np.flatnonzero(((actions < lowest) | (actions > highest)).any(0))).size:
    return
  logging.warning(
    'Actions of the episodes are outside of what %s carries out: %s. What a policy learns of them '
    'is clipped as it acts; convert the episodes, where they are of another unit or another robot.',
    world.name,
    _listed(
      f'number {i} reaches from {actions[:, i].min():.4g} to {actions[:, i].max():.4g}, expected '
      f'{low[i]:.4g} to {high[i]:.4g}'
      for i in far
    ),
  )


def _some(steps: steps_lib.Steps) -> np.ndarray:
  """[m, A] actions from all over."""
  return steps.action(np.unique(np.linspace(0, len(steps) - 1, _ROWS).astype(int)))


def _listed(told: Iterable[str]) -> str:
  sentences = list(told)
  more = [f'and {len(sentences) - _SHOWN} more'] if len(sentences) > _SHOWN else []
  return ', '.join([*sentences[:_SHOWN], *more])
