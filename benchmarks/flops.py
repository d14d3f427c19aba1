"""What the actor does, and its FLOPs, counted without running or compiling it.

They are the compiler's count of a program as it is lowered. It takes the body of a loop once, so
layers are laid out one after another (`Pi05.unroll`), and the Euler steps that the sampler's loop
leaves out are added.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import numpy as np

from aloe_jax import types
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import flow

Work = Callable[[learner_lib.Learner, TrainState, types.ActorBatch], Any]


def update(learner: learner_lib.Learner, state: TrainState, batches: types.ActorBatch):
  """Actor updates on batches [n, B, ...]: the new state, and metrics."""
  return learner.train_step(state, None, batches)


def gradient(learner: learner_lib.Learner, state: TrainState, batches: types.ActorBatch):
  """Loss and gradient alone: what the optimiser makes is not returned, and so never computed.

  Its few FLOPs a parameter are counted all the same: only compilation finds out.
  """
  return update(learner, state, batches)[1]


def sample(
  learner: learner_lib.Learner, state: TrainState, batches: types.ActorBatch, *, samples: int
) -> jax.Array:
  """M chunks [B, M, h, A] at each state of the first batch."""
  batch = jax.tree.map(lambda x: x[0], batches)
  return learner.sample(state, batch.observation, batch.position, samples)


def count(
  work: Work,
  learner: learner_lib.Learner,
  state: TrainState,
  batches: types.ActorBatch,
  *,
  samples: int = 0,
  remat: str = 'none',
) -> float:
  """FLOPs of some work.

  Args:
    work: such as `update`.
    learner: on a π0.5.
    state: shapes of its state.
    batches: shapes [1, B, ...].
    samples: M, chunks that the work draws per row.
    remat: what the backward pass recomputes, see `models.remat.apply`; that counts, too.
  """
  networks = learner.networks
  actor = networks.actor.clone(unroll=True, remat=remat)
  learner = dataclasses.replace(learner, networks=dataclasses.replace(networks, actor=actor))
  flops = _lowered(lambda *arguments: work(learner, *arguments), state, batches)
  if samples:
    step = _euler_step(actor, state.acting, batches.observation, samples)
    flops += (learner.settings.flow_steps - 1) * step
  return flops


def _euler_step(actor, params, observation: types.Observation, samples: int) -> float:
  """FLOPs of one Euler step of M samples a row, from shapes; observation [1, B, ...]."""

  def prefix(params, observation):
    observation = jax.tree.map(lambda x: x[0], observation)
    return actor.apply(params, observation, method='prefix')

  rows = observation.proprio.shape[1]
  noise = jax.ShapeDtypeStruct((rows, samples, actor.horizon, actor.action_size), np.float32)
  cache = jax.eval_shape(prefix, params, observation)
  return _lowered(lambda *inputs: flow.denoise(actor, *inputs, 1), params, cache, noise)


def _lowered(function: Callable[..., Any], *shapes) -> float:
  with jax.default_device(jax.local_devices(backend='cpu')[0]):  # others do not count
    return jax.jit(function).lower(*shapes).cost_analysis()['flops']
