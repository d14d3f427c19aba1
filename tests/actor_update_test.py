"""An update of the actor is the one worked out in NumPy, weighted by the critic or not."""

import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import updates

from aloe_jax.learning import learner as learner_lib
from aloe_jax.models import flow

pytestmark = pytest.mark.usefixtures('quick_compilation')


def test_an_actor_update_is_the_one_worked_out_by_hand():
  learner = updates.make_linear()
  state, batches = tiny.make_state(learner), updates.actor_batches()
  rng = np.random.default_rng(1)
  noise = tiny.normal(rng, updates.BATCH, tiny.HORIZON, tiny.ACTION)
  eta = rng.random(updates.BATCH).astype(np.float32)
  with (
    mock.patch.object(flow, 'chunk_noise', lambda *_: noise[:, None]),
    mock.patch.object(learner_lib, 'flow_time', lambda *_: eta),
  ):
    after, metrics = updates.step(learner, state, None, batches)

  batch = jax.tree.map(lambda x: x[0], batches)
  params = {name: float(value) for name, value in state.actor['params'].items()}
  x = eta[:, None, None] * batch.action + (1 - eta)[:, None, None] * noise
  time = np.broadcast_to((1 - eta)[:, None, None], x.shape)
  miss = noise - batch.action - params['s'] * x - params['c'] * time
  # each chunk's mean over its valid entries, then the weighted mean over the batch
  share = batch.valid[..., None] / (batch.valid.sum(axis=1) * tiny.ACTION)[:, None, None]
  share = batch.weight[:, None, None] * share / updates.BATCH
  gradient = {name: (share * -2 * miss * by).sum() for name, by in (('s', x), ('c', time))}
  new = {name: params[name] - updates.RATE * gradient[name] for name in params}
  decay = updates.SETTINGS['ema']
  average = {
    name: decay * state.actor_ema['params'][name] + (1 - decay) * new[name] for name in new
  }
  np.testing.assert_allclose(metrics['actor']['loss'], (share * miss**2).sum(), rtol=1e-5)
  np.testing.assert_allclose(
    metrics['actor']['gradient_norm'], np.hypot(*gradient.values()), rtol=1e-5
  )
  updates.assert_trees_close(after.actor['params'], new)
  updates.assert_trees_close(after.actor_ema['params'], average)
  updates.assert_trees_equal(
    (after.critic, after.critic_target), (state.critic, state.critic_target)
  )


def test_padded_steps_do_not_count_in_the_actors_loss():
  learner = updates.make_linear()
  state, batches = tiny.make_state(learner), updates.actor_batches()
  changed = dataclasses.replace(
    batches, action=np.where(batches.valid[..., None], batches.action, 50)
  )
  updates.assert_trees_equal(
    updates.step(learner, state, None, batches), updates.step(learner, state, None, changed)
  )


def test_weights_of_one_are_behaviour_cloning():
  aloe, bc = updates.make_linear(), updates.make_linear('bc')
  state, batches = tiny.make_state(aloe), updates.actor_batches()
  ones = dataclasses.replace(batches, weight=np.ones_like(batches.weight))
  imitated, metrics = updates.step(bc, tiny.make_state(bc), None, batches)
  weighted, expected = updates.step(aloe, state, None, ones)
  updates.assert_trees_equal(imitated.actor, weighted.actor)
  updates.assert_trees_equal(metrics, expected)


def test_weights_computed_in_the_step_are_those_computed_for_the_phase_from_the_same_actions():
  learner = updates.LEARNER
  state, batches = tiny.make_state(learner), updates.actor_batches(weighted=False)
  batch = jax.tree.map(lambda x: x[0], batches)

  @jax.jit
  def weigh(state, batch):
    drawn = learner.sample(state, batch.observation, batch.position, updates.SETTINGS['samples'])
    advantage = learner.agent.advantage(
      state.critic, batch, drawn, critic=learner.networks.critic, settings=learner.settings
    )
    return learner_lib.advantage_weights(advantage, learner.settings)

  weight = weigh(state, batch)
  assert np.ptp(weight) > 0.1
  given = dataclasses.replace(batches, weight=weight[None])
  updates.assert_trees_close(
    updates.step(learner, state, None, batches), updates.step(learner, state, None, given)
  )


def test_weights_in_the_step_are_worked_out_from_what_the_moving_average_would_do():
  """The flow of a linear actor in NumPy, Q by hand, and the weights that its loss then shows."""
  learner = updates.make_linear(flow_steps=3)
  state, batches = tiny.make_state(learner), updates.actor_batches(weighted=False)
  whole = np.ones_like(batches.valid)
  batches = dataclasses.replace(batches, valid=whole, ended=np.zeros_like(batches.ended))
  batch = jax.tree.map(lambda x: x[0], batches)
  samples, rng = updates.SETTINGS['samples'], np.random.default_rng(1)
  noise = tiny.normal(rng, updates.BATCH, samples, tiny.HORIZON, tiny.ACTION)
  eta = rng.random(updates.BATCH).astype(np.float32)

  def worked_out(actor):
    s, c = (float(actor['params'][name]) for name in 'sc')
    plan = noise.astype(float)
    for step in range(3):
      plan = plan - (s * plan + c * (1 - step / 3)) / 3
    w, b = (np.asarray(state.critic['params'][name], float) for name in 'wb')
    q = w @ batch.action.astype(float).sum(1).T + b[:, None]
    v = np.stack([w @ plan[:, m].sum(1).T + b[:, None] for m in range(samples)], 1)
    advantage = q.min(0) - v.min(0).mean(0)
    spread = max(advantage.std(), 1e-6)
    clip, beta = updates.SETTINGS['clip'], updates.SETTINGS['beta']
    weight = np.exp(np.clip(advantage / spread / beta, -clip, clip))
    return weight / weight.mean()

  weight = worked_out(state.actor_ema)
  assert np.abs(weight - worked_out(state.actor)).max() > 0.01
  with (
    mock.patch.object(flow, 'chunk_noise', lambda key, position, m, chunk: noise[:, :m]),
    mock.patch.object(learner_lib, 'flow_time', lambda *_: eta),
  ):
    run = jax.jit(learner.train_step)
    found = run(state, None, batches)
    given = run(state, None, dataclasses.replace(batches, weight=np.float32(weight)[None]))
  updates.assert_trees_close(found, given, rtol=1e-4)


class SeeingActor(tiny.DenseActor):
  """Hands out the images that each pass of the prefix is given."""

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
  updates.step(learner, state, None, batches)
  jax.effects_barrier()
  return [np.asarray(seen) for seen in SEEN]


def with_images(batches, rows=slice(None)):
  """Some rows of the batches, with images of coloured noise, each row its own."""
  images = np.random.default_rng(0).integers(0, 256, (1, updates.BATCH, 12, 12, 3), np.uint8)
  observation = dataclasses.replace(batches.observation, images={'head': images})
  return jax.tree.map(lambda x: x[:, rows], dataclasses.replace(batches, observation=observation))


def test_a_row_is_augmented_by_the_key_of_the_update_and_alike_in_any_batch():
  learner = tiny.make_learner('bc', SeeingActor(), augment=True)
  state, batches = tiny.make_state(tiny.make_learner('bc')), updates.actor_batches(weighted=False)
  plain = with_images(batches).observation.images['head'][0] / 127.5 - 1
  (whole,) = look(learner, state, with_images(batches))
  assert (np.abs(whole - plain).max((1, 2, 3)) > 0.1).all()
  (part,) = look(learner, state, with_images(batches, slice(1, 3)))
  np.testing.assert_allclose(part, whole[1:3], atol=1e-5)
  (later,) = look(learner, dataclasses.replace(state, step=np.int32(1)), with_images(batches))
  assert (np.abs(later - whole).max((1, 2, 3)) > 0.1).all()


def test_weights_in_the_step_ask_and_judge_by_what_was_recorded():
  learner = tiny.make_learner('aloe', SeeingActor(), SeeingCritic(), augment=True)
  state, batches = (
    tiny.make_state(updates.LEARNER),
    with_images(updates.actor_batches(weighted=False)),
  )
  seen = look(learner, state, batches)
  images = [x for x in seen if x.ndim == 4]
  features = [x for x in seen if x.ndim == 3]
  recorded = batches.observation.images['head'][0]
  assert len(images) == 2  # what the acting policy is asked by, and what the loss augments
  assert [(x == recorded).all() for x in images].count(True) == 1
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
  settings = updates.make_linear(**changes).settings
  weight = learner_lib.advantage_weights(jnp.float32([-0.5, 0, 0.5, 1]), settings)
  expected = np.exp(exponents) / np.exp(exponents).mean()
  np.testing.assert_allclose(weight, expected, rtol=1e-5)
  np.testing.assert_allclose(weight.mean(), 1, rtol=1e-6)


def test_the_zero_of_the_advantage_is_kept_and_its_unit_is_exact_far_from_zero():
  settings = updates.make_linear(clip=1e9, beta=1000.0).settings
  advantage = np.float32(-0.9) + np.float32([-1e-4, 1e-4])
  weight = learner_lib.advantage_weights(jnp.asarray(advantage), settings)
  np.testing.assert_allclose(np.log(weight[1] / weight[0]), 2 / 1000, rtol=0.02)
  equal = learner_lib.advantage_weights(jnp.full(3, 0.25), updates.make_linear().settings)
  np.testing.assert_array_equal(equal, np.ones(3))


@pytest.mark.parametrize('clip', [200.0, 1e9])
@pytest.mark.parametrize(
  'exponents, expected',
  [
    ([100, 101], [2 / (1 + np.e), 2 * np.e / (1 + np.e)]),
    ([-151, -150], [2 / (1 + np.e), 2 * np.e / (1 + np.e)]),
    ([-150, 0, 150], [0, 0, 3]),
    ([88, 88, 88, 87], np.array([1, 1, 1, np.exp(-1)]) / (0.75 + np.exp(-1) / 4)),
  ],
)
def test_weights_are_numbers_whatever_their_exponents_are(clip, exponents, expected):
  settings = updates.make_linear(beta_unit='raw', beta=0.5, clip=clip).settings
  advantage = jnp.float32(exponents) * settings.reward_scale * 0.5
  weight = learner_lib.advantage_weights(advantage, settings)
  np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-30)


def test_replicas_count_their_weights_in_one_unit():
  settings = updates.make_linear(beta_unit='raw', beta=1.0, clip=1e9).settings
  advantage = jnp.float32([[-120, 99], [100, 101]]) * settings.reward_scale

  def on_one(rows):
    mean, highest = (
      functools.partial(over, axis_name='replicas') for over in (jax.lax.pmean, jax.lax.pmax)
    )
    return learner_lib.advantage_weights(rows, settings, mean, highest)

  weight = jax.vmap(on_one, axis_name='replicas')(advantage)
  powers = np.array([[0, np.exp(-2)], [np.exp(-1), 1]])
  np.testing.assert_allclose(weight, powers / powers.mean(), rtol=1e-4)


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
  learner = updates.make_linear()
  state, batches = tiny.make_state(learner), updates.actor_batches(weighted=False)
  keys, chunk_noise, flow_time = [], flow.chunk_noise, learner_lib.flow_time

  def spy(draw):
    def spied(key, *arguments):
      jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
      return draw(key, *arguments)

    return spied

  with (
    mock.patch.object(flow, 'chunk_noise', spy(chunk_noise)),
    mock.patch.object(learner_lib, 'flow_time', spy(flow_time)),
  ):
    for _ in range(2):
      state, _ = updates.step(learner, state, None, batches)
    jax.effects_barrier()
  assert len(keys) == 6
  assert len(set(keys)) == 6
