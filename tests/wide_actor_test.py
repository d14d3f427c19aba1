"""The loss of an actor wider than the robot, with padding left out and, as openpi has it, not."""

import functools
import pathlib
from unittest import mock

from flax import linen as nn
from flax import traverse_util
import jax
import numpy as np
import optax
import pytest
import tiny

from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import agent
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import flow
from aloe_jax.models import pi05

THEIRS = ('base_0_rgb', 'left_wrist_0_rgb', 'right_wrist_0_rgb')
CAMERAS = dict(zip(types.CAMERAS, THEIRS, strict=True))
pytestmark = pytest.mark.usefixtures('quick_compilation')

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'pi05_case_a.npz'
BATCH, WIDTH, RATE = 4, 5, 0.1  # the network's actions are wider than the robot's of 2


class MixingActor(nn.Module):
  """velocity = x w: every number of an action moves every other."""

  horizon: int = tiny.HORIZON
  action_size: int = WIDTH

  def setup(self):
    self.w = self.param('w', nn.initializers.normal(1.0), (WIDTH, WIDTH))

  def prefix(self, observation):
    return observation.proprio

  def velocity(self, cache, x, time):
    return x @ self.w

  def __call__(self, observation, x, time):
    return self.velocity(self.prefix(observation), x, time)


def update(learner, state, batches, noise, eta):
  """One update of the actor on noise [B, h, A] and eta [B]."""
  with (
    mock.patch.object(flow, 'chunk_noise', lambda *_: noise[:, None]),
    mock.patch.object(learner_lib, 'flow_time', lambda *_: eta),
  ):
    return learner.train_step(state, None, batches)


@pytest.mark.parametrize('mask_padding', [True, False])
def test_an_update_of_a_wider_actor_is_the_one_worked_out_by_hand(mask_padding):
  learner = tiny.make_learner(actor=MixingActor(), mask_padding=mask_padding)
  rng = np.random.default_rng(0)
  batches = tiny.make_actor_batches(rng, 1, BATCH)
  batch = jax.tree.map(lambda x: x[0], batches)
  assert 0 < batch.valid.sum() < batch.valid.size
  state = tiny.make_state(learner)
  noise, eta = tiny.normal(rng, BATCH, tiny.HORIZON, WIDTH), np.float32(rng.random(BATCH))
  after, metrics = jax.jit(functools.partial(update, learner))(state, batches, noise, eta)

  w, share = state.actor['params']['w'], np.zeros((BATCH, tiny.HORIZON, WIDTH))
  gradient, loss = np.zeros((WIDTH, WIDTH)), 0.0
  for b in range(BATCH):  # the share of each number in the loss
    if mask_padding:
      share[b, batch.valid[b], : tiny.ACTION] = 1 / (batch.valid[b].sum() * tiny.ACTION)
    else:
      share[b] = 1 / (tiny.HORIZON * WIDTH)
    for k in range(tiny.HORIZON):
      action = np.append(batch.action[b, k], [0, 0, 0])
      x = eta[b] * action + (1 - eta[b]) * noise[b, k]
      miss = noise[b, k] - action - x @ w
      scale = batch.weight[b] / BATCH * share[b, k]
      loss += (scale * miss**2).sum()
      gradient += np.outer(x, -2 * scale * miss)
  np.testing.assert_allclose(metrics['actor']['loss'], loss, rtol=1e-5)
  np.testing.assert_allclose(after.actor['params']['w'], w - RATE * gradient, atol=1e-5)
  # What goes in at the padded numbers is noise in training, as it is in sampling.
  assert np.abs(gradient[tiny.ACTION :, : tiny.ACTION]).min() > 1e-4
  moved = np.asarray(after.actor['params']['w']) != w
  assert moved[:, : tiny.ACTION].all()
  assert moved[:, tiny.ACTION :].any() != mask_padding


def test_actions_drawn_in_a_step_are_as_wide_as_the_robots():
  learner = tiny.make_learner(actor=MixingActor())
  state, observation = tiny.make_state(learner), tiny.make_observation(np.random.default_rng(0), 3)
  noise = tiny.normal(np.random.default_rng(1), 3, 2, tiny.HORIZON, WIDTH)
  with mock.patch.object(flow, 'chunk_noise', lambda *_: noise):
    drawn = learner.sample(state, observation, np.arange(3), samples=2)
  once = np.eye(WIDTH) - state.actor_ema['params']['w'] / 2  # one of two Euler steps
  np.testing.assert_allclose(drawn, (noise @ once @ once)[..., : tiny.ACTION], atol=1e-5)


def test_counting_padding_gives_the_recorded_loss_of_openpi():
  with np.load(GOLDEN) as file:
    case = dict(file)
  flat = {name.removeprefix('params/'): x for name, x in case.items() if name.startswith('params/')}
  params = traverse_util.unflatten_dict(flat, sep='/')
  actor = pi05.make(pi05.sizes_of(params), horizon=10)
  settings = tiny.make_settings('bc', action_size=32, mask_padding=False)
  networks, still = agent.Networks(actor, None), optax.sgd(0.0)
  learner = learner_lib.Learner(AGENTS['bc'], networks, settings, still, still)
  variables = {'params': params}
  step, seed = np.int32(0), np.uint32(0)
  state = TrainState(step, seed, variables, variables, still.init(variables), {}, {}, ())
  batch = types.ActorBatch(
    observation=types.Observation(
      proprio=case['inputs/state'],
      prompt_tokens=case['inputs/tokenized_prompt'],
      prompt_mask=case['inputs/tokenized_prompt_mask'],
      images={ours: case[f'inputs/image_uint8/{theirs}'] for ours, theirs in CAMERAS.items()},
    ),
    action=case['inputs/actions'],
    valid=np.arange(10) < np.array([[4], [10]]),
    ended=np.zeros(2, bool),
    returns=np.zeros(2, np.float32),
    weight=None,
    unplayed=None,
    position=np.arange(2, dtype=np.int32),
  )
  batches = jax.tree.map(lambda x: x[None], batch)

  @jax.jit
  def loss(*inputs):  # alone: the compiler drops the gradient, which pi05_test.py compares
    return update(learner, *inputs)[1]['actor']['loss']

  with jax.default_matmul_precision('highest'):
    found = loss(state, batches, case['inputs/noise'], 1 - case['inputs/time'])
  np.testing.assert_allclose(found, case['outputs/mean_loss'], atol=2e-4, rtol=1e-3)
