"""The action bank: the frozen policy's chunks at every state of the buffer, drawn once.

While the critic learns, the policy does not move, so one sweep serves every TD target, every
state value and the diagnostics. A bank belongs to one policy; from any other it is refused.
"""

from collections.abc import Callable
import dataclasses
import functools
import hashlib
import pathlib

import jax
import numpy as np

from aloe_jax import policy as policy_lib
from aloe_jax import types
from aloe_jax.data import row_cache
from aloe_jax.parallel import sharding


class StaleBankError(ValueError):
  """The bank was drawn from another policy, seed, sampler or buffer than the one in use."""


@dataclasses.dataclass(frozen=True)
class Bank:
  """Sampled actions.

  Attributes:
    action: [N, M, h, A] float32, M chunks at each row's state, mapped from the disk.
    key: what they were drawn from.
  """

  action: np.ndarray
  key: 'Key'

  def at(self, rows: np.ndarray) -> np.ndarray:
    """Actions [B, M, h, A] at rows [B]."""
    return self.action[rows]

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
    data: digest of the buffer's datasets.
  """

  policy: str
  seed: int
  flow_steps: int
  samples: int
  rows: int
  data: str

  @property
  def name(self) -> str:
    """Of the file that holds the bank."""
    return f'bank-{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}.npy'


def make_key(
  policy: policy_lib.Policy,
  *,
  seed: int,
  samples: int,
  rows: int,
  data: str,
  fingerprint: str | None = None,
) -> Key:
  """The key that a bank of this policy has; its fingerprint is computed unless it is known."""
  fingerprint = fingerprint or policy_lib.fingerprint(policy.params)
  return Key(fingerprint, seed, policy.flow_steps, samples, rows, data)


def draw(
  policy: policy_lib.Policy,
  observation: Callable[[np.ndarray], types.Observation],
  key: Key,
  directory: pathlib.Path,
  *,
  layout: sharding.Layout,
  batch_size: int,
  progress: Callable[[int], None],
) -> Bank:
  """Sweeps the buffer once, going on where a sweep of the same key was stopped.

  Args:
    policy: whose actions are drawn.
    observation: of rows [B].
    key: of this policy, from `make_key`.
    directory: that holds the bank's file.
    layout: of the policy's parameters.
    batch_size: rows per call and host; the result does not depend on it.
    progress: told the rows done so far.

  Returns:
    The bank of all N rows.
  """
  action = row_cache.build(
    directory / key.name,
    (key.rows, key.samples, *policy.chunk_shape),
    np.float32,
    sampler(policy, observation, seed=key.seed, samples=key.samples, layout=layout),
    batch_size=batch_size,
    progress=progress,
  )
  return Bank(action, key)


def sampler(
  policy: policy_lib.Policy,
  observation: Callable[[np.ndarray], types.Observation],
  *,
  seed: int,
  samples: int,
  layout: sharding.Layout,
) -> Callable[[np.ndarray], np.ndarray]:
  """What a bank of the same seed and number of samples holds, drawn when it is asked for.

  Args:
    policy, observation, layout: as for `draw`.
    seed: of the noise.
    samples: M.

  Returns:
    Rows [B] to actions [B, M, h, A]; compiled once for each B.
  """
  # Parameters that are the host's go over once, and not at every call; others lie where they are.
  policy = jax.tree.map(lambda x: x if isinstance(x, jax.Array) else jax.device_put(x), policy)
  # A copy for every device that holds parameters, as they are placed and fetched themselves.
  noise_key = np.asarray(jax.random.key_data(jax.random.key(seed)))
  noise_key = layout.fetch(layout.place_state(noise_key))
  sampled = sharding.guarded(sample_rows)

  def sample(rows: np.ndarray) -> np.ndarray:
    placed = layout.place_rows((observation(rows), rows.astype(np.int32)))
    with layout.traced():
      drawn = sampled(policy, *placed, noise_key, samples)
    return layout.fetch_rows(drawn)

  return sample


@functools.partial(jax.jit, static_argnames='samples')
def sample_rows(
  policy: policy_lib.Policy,
  observation: types.Observation,
  row: jax.Array,
  noise_key: jax.Array,
  samples: int,
) -> jax.Array:
  """A bank's actions at rows [B] that lie on their devices, [B, M, h, A].

  Compiled once, whatever the policy's parameters.
  """
  noise = policy.noise(jax.random.wrap_key_data(noise_key), row, samples)
  return policy.sample(observation, noise)
