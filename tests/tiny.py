"""Networks, batches and episodes small enough for a test to run them in milliseconds."""

import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aloe_jax import policy
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import agent
from aloe_jax.data import holds
from aloe_jax.data import rlds
from aloe_jax.data import steps
from aloe_jax.learning import learner
from aloe_jax.models import conv_tower
from aloe_jax.models import critic
from aloe_jax.models import encoder
from aloe_jax.models import small
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer

HORIZON, ACTION, VIEWS, FEATURE, PROMPT, VOCABULARY = 3, 2, 2, 4, 3, 16

SETTINGS = dict(
  action_size=ACTION,
  samples=3,
  flow_steps=2,
  target='mean',
  polyak=0.1,
  beta=1.0,
  beta_unit='sigma',
  clip=3.0,
  reward_scale=0.25,
  return_range=(-1.0, 0.0),
  ema=0.9,
  flow_time='uniform',
  mask_padding=True,
  batch_size=1,
  microbatch=0,
  augment=False,
  critic_reads_prompt=False,
  backup='td',
  pessimism='min',
  past_end='executed',
  value_bins=5,
  positive=0.4,
)


class DenseActor(nn.Module):
  """Two layers from one noised action, the observation and the time to its velocity."""

  horizon: int = HORIZON
  action_size: int = ACTION

  def setup(self):
    self.hidden, self.out = nn.Dense(16), nn.Dense(self.action_size)

  def prefix(self, observation):
    return jnp.concatenate([observation.proprio, observation.features.sum(axis=1)], axis=1)

  def velocity(self, cache, x, time):
    seen = jnp.concatenate([cache, time[:, None]], axis=1)[:, None]
    seen = jnp.broadcast_to(seen, (*x.shape[:2], seen.shape[2]))
    return self.out(jnp.tanh(self.hidden(jnp.concatenate([x, seen], axis=2))))

  def __call__(self, observation, x, time):
    return self.velocity(self.prefix(observation), x, time)


class DenseCritic(nn.Module):
  """Two layers from the state and the sum of the valid actions to K = 2 values."""

  @nn.compact
  def __call__(self, features, proprio, action, valid, prompt=None):
    played = jnp.sum(action * valid[..., None], axis=1)
    x = jnp.concatenate([features.sum(axis=1), proprio, played], axis=1)
    return nn.Dense(2)(jnp.tanh(nn.Dense(16)(x))).T


def make_actor(**changes):
  sizes = dict(width=8, expert_width=8, depth=1, heads=2, head_width=4) | changes
  return small.SmallActor(HORIZON, ACTION, VOCABULARY, **sizes)


def make_critic(kind=critic.Critic, **changes):
  sizes = dict(ensemble=2, horizon=HORIZON, width=8, depth=1, heads=2) | changes
  return kind(**sizes)


def make_settings(name='aloe', **changes):
  """Of the agent of that name."""
  kind = AGENTS[name].settings
  own = {field.name for field in dataclasses.fields(kind)}
  return kind(**{field: x for field, x in (SETTINGS | changes).items() if field in own})


def make_learner(name='aloe', actor=None, critic_module=None, optimizer=None, **changes):
  """The agent of that name on dense networks and SGD, unless others are given."""
  value = critic.ValueCritic(SETTINGS['value_bins'], width=8, depth=1, heads=2)
  modules = {'action': critic_module or DenseCritic(), 'state': value, None: None}
  algorithm = AGENTS[name]
  optimizer = optimizer or optax.sgd(0.1)
  return learner.Learner(
    algorithm,
    agent.Networks(actor or DenseActor(), modules[algorithm.critic]),
    make_settings(name, **changes),
    optimizer,
    optimizer,
  )


def make_state(learner, seed=0):
  """Random parameters, and averages that differ from them; nothing to compile."""
  rng = np.random.default_rng(9)
  example = jax.tree.map(lambda x: x[0], make_actor_batches(rng, 1, 1))
  state = jax.eval_shape(lambda: learner.init(seed, example))
  names = ('actor', 'actor_ema', 'critic', 'critic_target')
  params = {
    name: jax.tree.map(lambda leaf: 0.3 * normal(rng, *leaf.shape), getattr(state, name))
    for name in names
  }
  optimizers = dict(actor_optimizer=learner.actor_optimizer.init(params['actor']))
  if params['critic']:
    optimizers['critic_optimizer'] = learner.critic_optimizer.init(params['critic'])
  step = np.int32(0)
  return dataclasses.replace(state, step=step, seed=np.uint32(seed), **params, **optimizers)


def normal(rng, *shape):
  return rng.standard_normal(shape).astype(np.float32)


def make_params(module, *inputs, seed=0):
  """Random parameters: at first biases and modulations are zero and would hide their absence."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: 0.3 * normal(rng, *leaf.shape), shapes)


# States and actions as they are, and the prompt in words: what the small actor takes.
def make_encoder(image_size=8, width=FEATURE, seed=0):
  """One of a small tower with random parameters, and these."""
  tower = conv_tower.ConvTower(channels=(4, 6), width=width)
  pixels = np.zeros((1, image_size, image_size, 3), np.float32)
  params = make_params(tower, pixels, seed=seed)['params']
  params['norm']['scale'] *= 3  # so that images tell much
  return encoder.TowerEncoder(tower, image_size), params


INPUTS = inputs.Inputs(
  tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(VOCABULARY), PROMPT, discrete_state=False),
  state=normalize.Identity(),
  action=normalize.Identity(),
  state_size=types.PROPRIO_SIZE,
)


def make_policy(seed=0, params=None, actor=None, **changes):
  """A policy of random parameters, unless others are given."""
  actor = actor or make_actor()
  if params is None:
    rng = np.random.default_rng(0)
    action, time = normal(rng, 1, HORIZON, ACTION), np.ones(1, np.float32)
    params = make_params(actor, make_observation(rng, 1), action, time, seed=seed)
  fields = dict(inputs=INPUTS, prompt='put it', action_size=ACTION, flow_steps=2) | changes
  return policy.Policy(params=params, actor=actor, **fields)


def make_observation(rng, *batch):
  return types.Observation(
    proprio=normal(rng, *batch, types.PROPRIO_SIZE),
    prompt_tokens=rng.integers(0, VOCABULARY, (*batch, PROMPT)).astype(np.int32),
    prompt_mask=np.broadcast_to(np.arange(PROMPT) < 2, (*batch, PROMPT)),
    features=normal(rng, *batch, VIEWS, FEATURE),
  )


def make_valid(rng, *batch):
  """At least one valid step in every chunk."""
  return np.arange(HORIZON) < rng.integers(1, HORIZON + 1, (*batch, 1))


def make_critic_batches(rng, count, size, samples=1):
  """Leaves [n, B, ...]; without next actions where `samples` is None."""
  batch = (count, size)
  return types.CriticBatch(
    observation=make_observation(rng, *batch),
    action=normal(rng, *batch, HORIZON, ACTION),
    valid=make_valid(rng, *batch),
    reward=-rng.random(batch).astype(np.float32),
    discount=rng.random(batch).astype(np.float32),
    ended=np.arange(size) % 2 == np.zeros(batch, int),
    returns=-rng.random(batch).astype(np.float32),
    next_observation=make_observation(rng, *batch),
    next_action=samples and normal(rng, *batch, samples, HORIZON, ACTION),
    policy_action=samples and normal(rng, *batch, 1, HORIZON, ACTION),
    unplayed=normal(rng, *batch, HORIZON, ACTION),
    position=np.tile(np.arange(size, dtype=np.int32), (count, 1)),
  )


def make_actor_batches(rng, count, size, weighted=True):
  """Leaves [n, B, ...]; without weights where they are to be computed in the step."""
  batch = (count, size)
  return types.ActorBatch(
    observation=make_observation(rng, *batch),
    action=normal(rng, *batch, HORIZON, ACTION),
    valid=make_valid(rng, *batch),
    ended=np.arange(size) % 2 == np.zeros(batch, int),
    returns=-rng.random(batch).astype(np.float32),
    weight=rng.random(batch).astype(np.float32) if weighted else None,
    unplayed=normal(rng, *batch, HORIZON, ACTION),
    position=np.tile(np.arange(size, dtype=np.int32), (count, 1)),
  )


class Recorded:
  """Episodes in memory, as `steps.Recording` has those of a dataset."""

  def __init__(self, episodes):
    lengths = [len(episode) for episode in episodes]
    self.boundaries = np.cumsum([0, *lengths])
    self.state = np.concatenate([episode.state for episode in episodes])
    self.action = np.concatenate([episode.action for episode in episodes])
    self.source = np.concatenate([episode.source for episode in episodes])
    self.end_reason = np.concatenate([episode.end_reason for episode in episodes])
    self.held = np.concatenate([holds.read(e.metadata, len(e)) for e in episodes])
    self.prompts = [episode.prompt for episode in episodes]
    self.prompt = np.repeat(np.arange(len(episodes), dtype=np.int32), lengths)
    self.reward = None
    self.features = None
    if episodes[0].features is not None:
      self.features = np.concatenate([episode.features for episode in episodes])
    self._episodes = episodes

  def __len__(self):
    return len(self.action)

  def images(self, camera, rows):
    reads = []
    for row in rows:
      number = int(np.searchsorted(self.boundaries, row, side='right')) - 1
      frames = (self._episodes[number].images or {}).get(camera)
      step = row - self.boundaries[number]
      reads.append(None if frames is None else functools.partial(frames.__getitem__, step))
    return reads


def make_steps(episodes):
  """The steps of episodes, as the replay takes them."""
  return steps.Steps([Recorded(episodes)])


def make_episode(rng, end_reason, source=types.Source.DEMO, prompt='put it there'):
  """One episode whose steps carry these end reasons."""
  length = len(end_reason)
  return rlds.Episode(
    state=normal(rng, length, types.PROPRIO_SIZE),
    features=normal(rng, length, VIEWS, FEATURE),
    images=None,
    action=normal(rng, length, ACTION),
    source=np.full(length, source, np.int8),
    end_reason=np.array(end_reason, np.int8),
    prompt=prompt,
    metadata={},
  )
