"""One update of critic and actor worked out in NumPy, and the ways to the same update."""

import dataclasses
import functools
from unittest import mock

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax import bank as bank_lib
from aloe_jax import learner as learner_lib
from aloe_jax import policy as policy_lib
from aloe_jax import sharding
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import aloe
from aloe_jax.data import replay

pytestmark = pytest.mark.usefixtures('quick_compilation')

BATCH, RATE = 4, 0.1  # the rate of the tiny learner's SGD
SETTINGS = tiny.SETTINGS


class LinearCritic(nn.Module):
  """q_k = w_k . (sum of the valid actions) + b_k."""

  @nn.compact
  def __call__(self, features, proprio, action, valid, language=None):
    w = self.param('w', nn.initializers.normal(1.0), (2, tiny.ACTION))
    b = self.param('b', nn.initializers.normal(1.0), (2,))
    return w @ jnp.sum(action * valid[..., None], axis=1).T + b[:, None]


class LinearActor(nn.Module):
  """velocity = s x + c t, for every step of the chunk on its own."""

  horizon: int = tiny.HORIZON
  action_size: int = tiny.ACTION

  def setup(self):
    self.s = self.param('s', nn.initializers.constant(0.3), ())
    self.c = self.param('c', nn.initializers.constant(-0.2), ())

  def prefix(self, observation):
    return observation.proprio

  def velocity(self, cache, x, time):
    return self.s * x + self.c * time[:, None, None]

  def __call__(self, observation, x, time):
    return self.velocity(self.prefix(observation), x, time)


LEARNER = tiny.make_learner()  # one for all tests that change nothing about it


def make_linear(name='aloe', **changes):
  return tiny.make_learner(name, LinearActor(), LinearCritic(), **changes)


def critic_batches(count=1, samples=1, seed=0):
  return tiny.make_critic_batches(np.random.default_rng(seed), count, BATCH, samples)


def actor_batches(count=1, weighted=True, seed=0):
  return tiny.make_actor_batches(np.random.default_rng(seed), count, BATCH, weighted)


@functools.cache
def compiled(learner):
  return jax.jit(learner.train_step)


def step(learner, state, critic_batches=None, actor_batches=None):
  return compiled(learner)(state, critic_batches, actor_batches)


def assert_trees_close(found, expected, rtol=1e-5, atol=1e-6):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), found, expected)


def assert_trees_equal(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


# The critic


def test_a_critic_of_monte_carlo_returns_does_not_bootstrap():
  learner = make_linear(backup='monte_carlo')
  batches = critic_batches(samples=2)
  _, metrics = step(learner, tiny.make_state(learner), batches)
  scale = learner.settings.reward_scale
  np.testing.assert_allclose(metrics['critic']['target'], batches.returns.mean() / scale, 1e-5)
  other = dataclasses.replace(batches, next_action=3 * batches.next_action)
  _, same = step(learner, tiny.make_state(learner), other)
  assert same['critic']['loss'] == metrics['critic']['loss']


def linear_q(params, action, valid):
  x = (action * valid[..., None]).sum(axis=1)
  return params['w'] @ x.T + params['b'][:, None], x


@pytest.mark.parametrize('target', ['mean', 'min', 'independent'])
def test_a_critic_update_is_the_one_worked_out_by_hand(target):
  learner = make_linear(target=target)
  state, batches = tiny.make_state(learner), critic_batches(samples=2)
  after, metrics = step(learner, state, batches)

  batch = jax.tree.map(lambda x: x[0], batches)
  params, averaged = (
    jax.tree.map(np.asarray, p['params']) for p in (state.critic, state.critic_target)
  )
  everything = np.ones((BATCH, tiny.HORIZON), bool)
  next_q = np.mean(
    [linear_q(averaged, batch.next_action[:, m], everything)[0] for m in range(2)], axis=0
  )  # the expectation of Eq. (7)
  if target != 'independent':
    next_q = np.tile(getattr(next_q, target)(axis=0), (2, 1))
  y = batch.reward + batch.discount * next_q
  # What a terminal end left unplayed is the policy's own; any other end is masked.
  ended = batch.ended[:, None]
  filled = np.where((ended & ~batch.valid)[..., None], batch.own_action, batch.action)
  q, x = linear_q(params, filled, batch.valid | ended)
  gradient = {'w': 2 * (q - y) @ x / (2 * BATCH), 'b': 2 * (q - y).sum(axis=1) / (2 * BATCH)}
  new = {name: params[name] - RATE * gradient[name] for name in params}
  omega = SETTINGS['polyak']
  new_average = {name: omega * new[name] + (1 - omega) * averaged[name] for name in params}

  numbers = metrics['critic']
  np.testing.assert_allclose(numbers['loss'], np.square(q - y).mean(), rtol=1e-5)
  np.testing.assert_allclose(numbers['target'], y.mean() / SETTINGS['reward_scale'], rtol=1e-5)
  norm = np.sqrt(sum(np.square(g).sum() for g in gradient.values()))
  np.testing.assert_allclose(numbers['gradient_norm'], norm, rtol=1e-5)
  assert_trees_close(after.critic['params'], new)
  assert_trees_close(after.critic_target['params'], new_average)
  assert_trees_equal((after.actor, after.actor_ema), (state.actor, state.actor_ema))


def test_no_gradient_reaches_target_networks_or_next_actions():
  learner = make_linear()
  state = tiny.make_state(learner)
  batch = jax.tree.map(lambda x: x[0], critic_batches())

  def loss(target, next_action):
    given = dataclasses.replace(batch, next_action=next_action)
    return learner.agent.critic_loss(
      state.critic, target, given, critic=LinearCritic(), settings=learner.settings
    )[0]

  gradients = jax.grad(loss, argnums=(0, 1))(state.critic_target, batch.next_action)
  assert_trees_equal(gradients, jax.tree.map(np.zeros_like, gradients))


def test_actions_past_the_end_of_a_fragment_cannot_change_the_critics_update():
  learner = LEARNER
  state, batches = tiny.make_state(learner), critic_batches()
  padded = np.where(batches.valid[..., None], batches.action, 50)
  assert (padded != batches.action).any()
  changed = dataclasses.replace(batches, action=padded)
  assert_trees_equal(step(learner, state, batches), step(learner, state, changed))


def test_without_a_bank_the_step_draws_the_next_actions_that_its_state_determines():
  learner = LEARNER
  state, batches = tiny.make_state(learner), critic_batches(samples=None)
  batch = jax.tree.map(lambda x: x[0], batches)
  drawn = jax.jit(learner.sample, static_argnames='samples')(
    state, batch.next_observation, batch.row, samples=1
  )
  own = jax.jit(learner.sample, static_argnames='samples')(
    state, batch.observation, batch.row, samples=1
  )
  given = dataclasses.replace(batches, next_action=drawn[None], own_action=own[:, 0][None])
  assert_trees_close(step(learner, state, batches), step(learner, state, given))


def test_with_and_without_a_bank_equal_noise_gives_equal_targets(tmp_path):
  learner = tiny.make_learner(past_end='mask')
  state = tiny.make_state(learner)
  rng = np.random.default_rng(0)
  ends = [types.EndReason.NONE] * 9 + [types.EndReason.SUCCESS]
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, 0.9, 5.0)
  buffer = replay.Replay(tiny.make_steps([tiny.make_episode(rng, ends)]), tiny.INPUTS, chunking)
  policy = tiny.make_policy(
    params=state.actor_ema, actor=learner.networks.actor, flow_steps=SETTINGS['flow_steps']
  )
  # Noise is keyed by a row and by a draw. The rows are made the same here, those of the buffer,
  # and so is the draw: that of the bank and that of the step go to one key.
  row_noise = policy_lib.row_noise

  def of_one_key(key, row, samples, chunk):
    del key
    return row_noise(jax.random.key(77), row, samples, chunk)

  with mock.patch.object(policy_lib, 'row_noise', of_one_key):
    key = bank_lib.make_key(policy, seed=0, samples=1, rows=len(buffer), data='')
    bank = bank_lib.draw(
      policy,
      buffer.observation,
      key,
      tmp_path,
      layout=sharding.Pmap(),
      batch_size=4,
      progress=lambda done: None,
    )
    banked = buffer.critic_batches(0, 0, 1, 8, bank.action)
    sampled = buffer.critic_batches(0, 0, 1, 8, None)
    shown = sampled.next_observation.proprio
    every = buffer.observation(np.arange(10)).proprio
    next_row = (shown[:, :, None] == every).all(-1).argmax(-1).astype(np.int32)
    sampled = dataclasses.replace(sampled, row=next_row)
    with_bank, without = (step(learner, state, batches) for batches in (banked, sampled))
  for metrics in (with_bank[1], without[1]):
    assert abs(metrics['critic']['target']) > 0.1
  assert_trees_close(with_bank, without)
  other = dataclasses.replace(banked, next_action=np.roll(banked.next_action, 1, axis=1))
  changed = step(learner, state, other)[1]['critic']
  assert abs(changed['target'] - with_bank[1]['critic']['target']) > 1e-4


def test_only_the_option_mask_shows_the_critic_that_a_terminal_end_comes():
  batch = jax.tree.map(lambda x: x[0], critic_batches())
  own = batch.own_action
  action, valid = aloe.past_the_end(batch.action, batch.valid, batch.ended, own, past_end='policy')
  for b in range(BATCH):
    n = batch.valid[b].sum()
    np.testing.assert_array_equal(action[b, :n], batch.action[b, :n])
    if batch.ended[b]:
      assert valid[b].all()
      np.testing.assert_array_equal(action[b, n:], own[b, n:])
    else:
      np.testing.assert_array_equal(valid[b], batch.valid[b])
  _, masked = aloe.past_the_end(batch.action, batch.valid, batch.ended, own, past_end='mask')
  np.testing.assert_array_equal(masked, batch.valid)


# The actor


def test_an_actor_update_is_the_one_worked_out_by_hand():
  learner = make_linear()
  state, batches = tiny.make_state(learner), actor_batches()
  rng = np.random.default_rng(1)
  noise = tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION)
  eta = rng.random(BATCH).astype(np.float32)
  with (
    mock.patch.object(policy_lib, 'row_noise', lambda *_: noise[:, None]),
    mock.patch.object(learner_lib, 'flow_time', lambda *_: eta),
  ):
    after, metrics = step(learner, state, None, batches)

  batch = jax.tree.map(lambda x: x[0], batches)
  params = {name: float(value) for name, value in state.actor['params'].items()}
  x = eta[:, None, None] * batch.action + (1 - eta)[:, None, None] * noise
  time = np.broadcast_to((1 - eta)[:, None, None], x.shape)
  miss = noise - batch.action - params['s'] * x - params['c'] * time
  # each chunk's mean over its valid entries, then the weighted mean over the batch
  share = batch.valid[..., None] / (batch.valid.sum(axis=1) * tiny.ACTION)[:, None, None]
  share = batch.weight[:, None, None] * share / BATCH
  gradient = {name: (share * -2 * miss * by).sum() for name, by in (('s', x), ('c', time))}
  new = {name: params[name] - RATE * gradient[name] for name in params}
  decay = SETTINGS['ema']
  average = {
    name: decay * state.actor_ema['params'][name] + (1 - decay) * new[name] for name in new
  }
  np.testing.assert_allclose(metrics['actor']['loss'], (share * miss**2).sum(), rtol=1e-5)
  np.testing.assert_allclose(
    metrics['actor']['gradient_norm'], np.hypot(*gradient.values()), rtol=1e-5
  )
  assert_trees_close(after.actor['params'], new)
  assert_trees_close(after.actor_ema['params'], average)
  assert_trees_equal((after.critic, after.critic_target), (state.critic, state.critic_target))


def test_padded_steps_do_not_count_in_the_actors_loss():
  learner = make_linear()
  state, batches = tiny.make_state(learner), actor_batches()
  changed = dataclasses.replace(
    batches, action=np.where(batches.valid[..., None], batches.action, 50)
  )
  assert_trees_equal(step(learner, state, None, batches), step(learner, state, None, changed))


def test_weights_of_one_are_behaviour_cloning():
  aloe, bc = make_linear(), make_linear('bc')
  state, batches = tiny.make_state(aloe), actor_batches()
  ones = dataclasses.replace(batches, weight=np.ones_like(batches.weight))
  imitated, metrics = step(bc, tiny.make_state(bc), None, batches)
  weighted, expected = step(aloe, state, None, ones)
  assert_trees_equal(imitated.actor, weighted.actor)
  assert_trees_equal(metrics, expected)


def test_weights_computed_in_the_step_are_those_computed_for_the_phase_from_the_same_actions():
  learner = LEARNER
  state, batches = tiny.make_state(learner), actor_batches(weighted=False)
  batch = jax.tree.map(lambda x: x[0], batches)

  @jax.jit
  def weigh(state, batch):
    # In the step V is that of the policy being trained; for a phase, that of its average.
    entered = dataclasses.replace(state, actor_ema=state.actor)
    drawn = learner.sample(entered, batch.observation, batch.row, SETTINGS['samples'])
    advantage = learner.agent.advantage(
      state.critic, batch, drawn, critic=learner.networks.critic, settings=learner.settings
    )
    return learner_lib.advantage_weights(advantage, learner.settings)

  weight = weigh(state, batch)
  assert np.ptp(weight) > 0.1
  given = dataclasses.replace(batches, weight=weight[None])
  assert_trees_close(step(learner, state, None, batches), step(learner, state, None, given))


class SeeingActor(tiny.DenseActor):
  """Hands out the pictures that each pass of the prefix is given."""

  def prefix(self, observation):
    jax.debug.callback(SEEN.append, observation.images['head'])
    return super().prefix(observation) + observation.images['head'].mean((1, 2))[:, :1]


class SeeingCritic(tiny.DenseCritic):
  """Hands out the features that each pass is given."""

  def __call__(self, features, *inputs):
    jax.debug.callback(SEEN.append, features)
    return super().__call__(features, *inputs)


SEEN = []


def look(learner, state, batches):
  """What `SeeingActor` and `SeeingCritic` were given in one step."""
  SEEN.clear()
  step(learner, state, None, batches)
  jax.effects_barrier()
  return [np.asarray(seen) for seen in SEEN]


def with_pictures(batches, rows=slice(None)):
  """Some rows of the batches, with pictures of coloured noise, each row its own."""
  pictures = np.random.default_rng(0).integers(0, 256, (1, BATCH, 12, 12, 3), np.uint8)
  observation = dataclasses.replace(batches.observation, images={'head': pictures})
  return jax.tree.map(lambda x: x[:, rows], dataclasses.replace(batches, observation=observation))


def test_a_row_is_augmented_by_the_key_of_the_update_and_alike_in_any_batch():
  learner = tiny.make_learner('bc', SeeingActor(), augment=True)
  state, batches = tiny.make_state(tiny.make_learner('bc')), actor_batches(weighted=False)
  plain = with_pictures(batches).observation.images['head'][0] / 127.5 - 1
  (whole,) = look(learner, state, with_pictures(batches))
  assert (np.abs(whole - plain).max((1, 2, 3)) > 0.1).all()
  (part,) = look(learner, state, with_pictures(batches, slice(1, 3)))
  np.testing.assert_allclose(part, whole[1:3], atol=1e-5)
  (later,) = look(learner, dataclasses.replace(state, step=np.int32(1)), with_pictures(batches))
  assert (np.abs(later - whole).max((1, 2, 3)) > 0.1).all()


def test_weights_in_the_step_take_one_prefix_and_judge_by_what_was_recorded():
  learner = tiny.make_learner('aloe', SeeingActor(), SeeingCritic(), augment=True)
  state, batches = tiny.make_state(LEARNER), with_pictures(actor_batches(weighted=False))
  seen = look(learner, state, batches)
  pictures = [x for x in seen if x.ndim == 4]
  features = [x for x in seen if x.ndim == 3]
  assert len(pictures) == 1 and pictures[0].shape == (BATCH, 12, 12, 3)
  assert len(features) == 2  # Q of the data, then of all samples
  for judged in features:
    np.testing.assert_array_equal(judged, batches.observation.features[0])


@pytest.mark.parametrize(
  'changes, exponents',
  [
    (dict(beta_unit='sigma', beta=1.0), np.array([-0.5, 0, 0.5, 1]) / np.sqrt(0.3125)),
    (dict(beta_unit='sigma', beta=2.0), np.array([-0.25, 0, 0.25, 0.5]) / np.sqrt(0.3125)),
    (dict(beta_unit='raw', beta=2.0), np.array([-1, 0, 1, 2])),  # -0.5 / 0.25 / 2 = -1
    (dict(beta_unit='raw', beta=2.0, clip=0.75), np.array([-0.75, 0, 0.75, 0.75])),
  ],
)
def test_weights_are_exponentials_of_the_advantage_in_its_unit_over_their_mean(changes, exponents):
  settings = make_linear(**changes).settings
  weight = learner_lib.advantage_weights(jnp.float32([-0.5, 0, 0.5, 1]), settings)
  expected = np.exp(exponents) / np.exp(exponents).mean()
  np.testing.assert_allclose(weight, expected, rtol=1e-5)
  np.testing.assert_allclose(weight.mean(), 1, rtol=1e-6)


def test_the_zero_of_the_advantage_is_kept_and_its_unit_is_exact_far_from_zero():
  settings = make_linear(clip=1e9, beta=1000.0).settings
  advantage = np.float32(-0.9) + np.float32([-1e-4, 1e-4])
  weight = learner_lib.advantage_weights(jnp.asarray(advantage), settings)
  np.testing.assert_allclose(np.log(weight[1] / weight[0]), 2 / 1000, rtol=0.02)
  equal = learner_lib.advantage_weights(jnp.full(3, 0.25), make_linear().settings)
  np.testing.assert_array_equal(equal, np.ones(3))


@pytest.mark.parametrize(
  'distribution, quantile',
  [
    ('uniform', lambda p: p),
    ('beta', lambda p: 0.001 + 0.999 * p ** (2 / 3)),  # of t ~ Beta(1.5, 1), squeezed
  ],
)
def test_flow_times_have_their_distribution(distribution, quantile):
  rows = np.arange(20_000)
  time = 1 - learner_lib.flow_time(jax.random.key(0), rows, distribution)
  p = np.linspace(0, 1, 21)[1:-1]
  np.testing.assert_allclose(np.quantile(time, p), quantile(p), atol=0.012)
  assert time.min() >= 0
  assert time.max() <= 1


def test_policy_samples_flow_times_and_flow_noise_are_independent_draws():
  learner = make_linear()
  state, batches = tiny.make_state(learner), actor_batches(weighted=False)
  keys, row_noise, flow_time = [], policy_lib.row_noise, learner_lib.flow_time

  def spy(draw):
    def spied(key, *arguments):
      jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
      return draw(key, *arguments)

    return spied

  with (
    mock.patch.object(policy_lib, 'row_noise', spy(row_noise)),
    mock.patch.object(learner_lib, 'flow_time', spy(flow_time)),
  ):
    for _ in range(2):
      state, _ = step(learner, state, None, batches)
    jax.effects_barrier()
  assert len(keys) == 6
  assert len(set(keys)) == 6


# Both


def test_equal_states_and_batches_give_equal_bits():
  learner = LEARNER
  state = tiny.make_state(learner)
  batches = critic_batches(2, samples=None), actor_batches(2, weighted=False)
  assert_trees_equal(step(learner, state, *batches), step(learner, state, *batches))


def test_one_call_equals_a_call_of_each_update():
  learner = LEARNER
  whole = state = tiny.make_state(learner)
  critics, actors = critic_batches(2, samples=None), actor_batches(2, weighted=False)
  whole, metrics = step(learner, whole, critics, actors)
  series = []
  for batches, phase in ((critics, 0), (actors, 1)):
    for number in range(2):
      one = jax.tree.map(lambda x, n=number: x[n : n + 1], batches)
      state, numbers = step(learner, state, *((one, None) if phase == 0 else (None, one)))
      series.append(numbers)
  assert whole.step == state.step == 4
  assert_trees_close(whole, state)
  for name in ('critic', 'actor'):
    losses = [numbers[name]['loss'] for numbers in series if name in numbers]
    np.testing.assert_allclose(metrics[name]['loss'], np.mean(losses), rtol=1e-5)


def test_another_seed_draws_other_flow_noise():
  learner = make_linear()
  first = tiny.make_state(learner)
  second = dataclasses.replace(first, seed=jnp.uint32(1))
  losses = [step(learner, s, None, actor_batches())[1]['actor']['loss'] for s in (first, second)]
  assert losses[0] != losses[1]


# The other algorithms


def test_the_value_critic_of_awr_learns_the_distribution_of_returns():
  learner = tiny.make_learner('awr')
  state, batches = tiny.make_state(learner), critic_batches(samples=None)
  _, metrics = step(learner, state, batches)
  batch = jax.tree.map(lambda x: x[0], batches)
  logits = jax.jit(learner.networks.critic.apply)(
    state.critic, batch.observation.features, batch.observation.proprio
  )
  probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  support, losses = np.linspace(-1, 0, 5), []
  for p, value in zip(probability, batch.returns, strict=True):
    low = min(int((value + 1) / 0.25), 3)
    upper = (value - support[low]) / 0.25
    losses.append(-(1 - upper) * np.log(p[low]) - upper * np.log(p[low + 1]))
  np.testing.assert_allclose(metrics['critic']['loss'], np.mean(losses), rtol=1e-5)

  actor_batch = jax.tree.map(lambda x: x[0], actor_batches())
  advantage = jax.jit(
    lambda params: learner.agent.advantage(
      params, actor_batch, None, critic=learner.networks.critic, settings=learner.settings
    )
  )(state.critic)
  logits = jax.jit(learner.networks.critic.apply)(
    state.critic, actor_batch.observation.features, actor_batch.observation.proprio
  )
  value = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)) @ support
  np.testing.assert_allclose(advantage, actor_batch.returns - value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  'name, expected',
  [
    ('aloe', [True, True, True, True]),
    ('awr', [True, True, True, True]),
    ('bc', [True, False, False, False]),
    ('dagger', [True, False, False, True]),
    ('filtered_bc', [True, False, True, True]),
  ],
)
def test_each_algorithm_imitates_its_own_rows(name, expected):
  kinds = types.Source
  source = np.array([kinds.DEMO, kinds.POLICY, kinds.POLICY, kinds.HUMAN])
  succeeded = np.array([False, False, True, False])
  np.testing.assert_array_equal(AGENTS[name].imitates(source, succeeded), expected)


def test_imitation_has_no_critic_to_update():
  learner = make_linear('bc')
  state = tiny.make_state(learner)
  assert state.critic == {}
  with pytest.raises(ValueError, match='bc has no critic to update; give it no critic batches'):
    learner.train_step(state, critic_batches(), None)
