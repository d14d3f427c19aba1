"""The action bank: the frozen policy's chunks at every state of the buffer, drawn once.

While the critic learns, the policy does not move, so one sweep serves every TD target, every
state value and the diagnostics. A bank belongs to one policy; from any other it is refused.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import numpy as np

from aloe_jax import policy as policy_lib
from aloe_jax import types


class StaleBankError(ValueError):
  """The bank was drawn from another policy, seed, sampler or buffer than the one in use."""


@dataclasses.dataclass(frozen=True)
class Bank:
  """Sampled actions.

  Attributes:
    action: [N, M, h, A] float32, M chunks at each row's state.
    key: what they were drawn from.
  """

  action: np.ndarray
  key: 'Key'

  def check(self, expected: 'Key') -> None:
    """Refuses a bank that was drawn from something else, naming what differs."""
    for field in dataclasses.fields(Key):
      found, wanted = getattr(self.key, field.name), getattr(expected, field.name)
      if found != wanted:
        raise StaleBankError(
          f'the action bank was drawn with {field.name} {found}, but {field.name} {wanted} is '
          'in use. Its actions are those of another policy, and critic targets from it '
          'would be wrong; draw a new bank.'
        )


@dataclasses.dataclass(frozen=True)
class Key:
  """What a bank's actions are a function of.

  Attributes:
    policy: `policy.fingerprint` of the parameters.
    seed: of the noise.
    flow_steps: Euler steps of the sampler.
    samples: M.
    rows: N of the buffer.
  """

  policy: str
  seed: int
  flow_steps: int
  samples: int
  rows: int


def make_key(policy: policy_lib.Policy, *, seed: int, samples: int, rows: int) -> Key:
  """The key that a bank of this policy has."""
  return Key(policy_lib.fingerprint(policy.params), seed, policy.flow_steps, samples, rows)


def draw(
  policy: policy_lib.Policy,
  observe: Callable[[np.ndarray], types.Observation],
  key: Key,
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> Bank:
  """Sweeps the buffer once.

  Args:
    policy: whose actions are drawn.
    observe: rows [B] to their observations.
    key: of this policy, from `make_key`.
    batch_size: rows per call; the result does not depend on it.
    progress: told the rows done so far.

  Returns:
    The bank of all N rows.
  """
  noise_key = jax.random.key(key.seed)
  action = np.empty((key.rows, key.samples, *policy.chunk_shape), np.float32)
  for start in range(0, key.rows, batch_size):
    # The last batch is filled up with the last row, so that one program serves them all.
    rows = np.minimum(np.arange(start, start + batch_size), key.rows - 1)
    drawn = _sample(policy, observe(rows), noise_key, rows.astype(np.int32), key.samples)
    count = min(batch_size, key.rows - start)
    action[start : start + count] = np.asarray(drawn)[:count]
    progress(start + count)
  return Bank(action, key)


@functools.partial(jax.jit, static_argnames='samples')
def _sample(
  policy: policy_lib.Policy,
  observation: types.Observation,
  noise_key: jax.Array,
  row: jax.Array,
  samples: int,
) -> jax.Array:
  """[B, M, h, A]; compiled once, whatever the policy's parameters."""
  return policy.sample(observation, policy.noise(noise_key, row, samples))
