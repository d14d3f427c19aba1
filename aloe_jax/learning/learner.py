"""The train step of Algorithm 1: N_Q critic updates with Polyak targets, then N_pi of the actor.

Written once for one device or many: under pmap `axis_name` is set and means over the batch
are averaged over the replicas; under a mesh they are global already.
"""

from collections.abc import Callable
import dataclasses
import enum
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent as agent_lib
from aloe_jax.learning import microbatches
from aloe_jax.learning import rounding
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import first_use
from aloe_jax.models import flow
from aloe_jax.models import parts
from aloe_jax.models import prompt_embedding
from aloe_jax.preprocessing import augment
from aloe_jax.preprocessing import inputs as inputs_lib

Mean = Callable[[Any], Any]  # mean over the replicas of a pytree
Highest = Callable[[Any], Any]  # likewise the maximum

# Up to which exponents of e weights are counted as they are: far from where single precision ends,
# and far above those of any setting that was ever of use.
_PLAIN = 20.0


class Draw(enum.IntEnum):
  """What random numbers of one update are for; each has a key of its own."""

  POLICY = 0
  FLOW_TIME = 1
  FLOW_NOISE = 2
  AUGMENTATION = 3
  ROUNDING = 4


def advantage_weights(
  advantage: jax.Array,
  settings: agent_lib.Settings,
  mean: Mean = lambda x: x,
  highest: Highest = lambda x: x,
) -> jax.Array:
  """Weights of Eq. (11), in the units that the settings name, divided by their mean.

  The division keeps the learning rate's meaning and moves no optimum. Neither it nor the
  standard deviation shifts the advantage: its zero is the policy's own value (Eq. 10).

  Args:
    advantage: [B].
    settings: `beta`, `beta_unit`, `clip`, `reward_scale`.
    mean: average over the replicas.
    highest: maximum over the replicas.

  Returns:
    [B], of mean one.
  """
  unit = advantage_unit(advantage, settings, mean)
  return relative_weights(advantage / unit, settings, mean, highest)


def relative_weights(
  advantage: jax.Array,
  settings: agent_lib.Settings,
  mean: Mean = lambda x: x,
  highest: Highest = lambda x: x,
) -> jax.Array:
  """Weights of Eq. (11) divided by their mean, however large or small they would be.

  Only their ratios count, so the largest of them is a number that single precision holds: it takes
  e to the power of 88 and no more, and all of e to the power of -104 and less for 0. Of a clip
  that bounds nothing the mean would be infinite, or zero.

  Args:
    advantage: [B], in the unit that beta counts in.
    settings: `beta` and `clip`.
    mean: average over the replicas.
    highest: maximum over the replicas.

  Returns:
    [B], of mean one.
  """
  beta, clip = settings.beta, settings.clip
  top = highest(jnp.clip(advantage / beta, -clip, clip).max())
  weight = losses.advantage_weight(advantage, beta, clip, top - jnp.clip(top, -_PLAIN, _PLAIN))
  return weight / mean(weight.mean())


def advantage_unit(
  advantage: types.Array, settings: agent_lib.Settings, mean: Mean = lambda x: x
) -> jax.Array:
  """What `beta` counts in, in scaled rewards: the standard deviation of A [B], or a step."""
  if settings.beta_unit == 'raw':
    return jnp.float32(settings.reward_scale)
  centred = advantage - mean(advantage.mean())
  return jnp.maximum(jnp.sqrt(mean(jnp.square(centred).mean())), 1e-6)


def flow_time(key: jax.Array, position: types.Array, distribution: str) -> jax.Array:
  """eta of Eq. (15), [B]: uniform on [0, 1], or π0.5's, where t = 1 - eta ~ Beta(1.5, 1)."""

  def one(p: jax.Array) -> jax.Array:
    u = jax.random.uniform(jax.random.fold_in(key, p))
    return 1 - (u ** (1 / 1.5) * 0.999 + 0.001) if distribution == 'beta' else u

  return jax.vmap(one)(position)


@dataclasses.dataclass(frozen=True)
class Learner:
  """An agent, its networks and optimisers.

  Attributes:
    agent: the algorithm.
    networks: actor and critic modules.
    settings: numbers of the losses.
    actor_optimizer: of the actor; phases of other lengths differ in its state alone.
    critic_optimizer: of the critic.
    trained: which parameters of the actor are.
    param_dtype: type of the parameters of the actor that are trained.
    inputs: whose limits the policy's chunks are held to, where it is sampled in the step; None for
      no limits.
  """

  agent: agent_lib.Agent
  networks: agent_lib.Networks
  settings: agent_lib.Settings
  actor_optimizer: optax.GradientTransformation
  critic_optimizer: optax.GradientTransformation
  trained: parts.Trained = parts.EVERYTHING
  param_dtype: str = 'float32'
  inputs: inputs_lib.Inputs | None = None

  def init_actor(self, seed: int, example: types.ActorBatch) -> Any:
    """Fresh parameters of the actor; `example` as in `init`."""
    key, _ = jax.random.split(jax.random.key(seed))
    action = _widened(example.action, self.networks.actor.action_size)
    time = jnp.zeros(action.shape[0])
    params = self.networks.actor.init(key, example.observation, action, time)
    return jax.tree.map(lambda x: x.astype(self.param_dtype), params)

  def init(self, seed: int, example: types.ActorBatch, actor: Any = None) -> TrainState:
    """A fresh state.

    Args:
      seed: of the parameters and of all random numbers to come.
      example: a batch of any size B whose shapes the networks take.
      actor: parameters to start from; by default fresh ones.
    """
    if actor is None:
      actor = self.init_actor(seed, example)
    actor, frozen = self.trained.split(actor)
    _, key_critic = jax.random.split(jax.random.key(seed))
    observation, action = example.observation, example.action
    critic: Any = {}
    critic_optimizer: optax.OptState = ()
    if self.networks.critic is not None:
      inputs = [observation.features, observation.proprio]
      if self.agent.critic == 'action':
        inputs += [action, example.valid]
      if self.settings.critic_reads_prompt:
        inputs.append(prompt_embedding.bag_of_tokens(observation))
      critic = self.networks.critic.init(key_critic, *inputs)
      critic_optimizer = self.critic_optimizer.init(critic)
    return TrainState(
      step=jnp.int32(0),
      seed=jnp.uint32(seed),
      actor=actor,
      actor_ema=_float32_copy(actor),
      actor_optimizer=self.actor_optimizer.init(actor),
      critic=critic,
      critic_target=jax.tree.map(jnp.copy, critic),
      critic_optimizer=critic_optimizer,
      actor_frozen=frozen,
    )

  def train_step(
    self,
    state: TrainState,
    critic_batches: types.CriticBatch | None,
    actor_batches: types.ActorBatch | None,
    axis_name: str | None = None,
  ) -> tuple[TrainState, dict[str, agent_lib.Metrics]]:
    """Lines 4-15 of Algorithm 1 on batches that were drawn beforehand.

    Args:
      state: donated by the compiled step.
      critic_batches: leaves [N_Q, B, ...], or None for no critic updates.
      actor_batches: leaves [N_pi, B, ...], or None for no actor updates.
      axis_name: of the replicas under pmap.

    Returns:
      The state after N_Q + N_pi updates, and metrics averaged over each phase.
    """

    def mean(tree: Any) -> Any:
      return jax.lax.pmean(tree, axis_name) if axis_name else tree

    def highest(tree: Any) -> Any:
      return jax.lax.pmax(tree, axis_name) if axis_name else tree

    metrics = {}
    if critic_batches is not None:
      state, series = jax.lax.scan(
        lambda s, batch: self._critic_update(s, batch, mean), state, critic_batches
      )
      metrics['critic'] = jax.tree.map(jnp.mean, series)
    if actor_batches is not None:
      state, series = jax.lax.scan(
        lambda s, batch: self._actor_update(s, batch, mean, highest), state, actor_batches
      )
      metrics['actor'] = jax.tree.map(jnp.mean, series)
    return state, metrics

  def _critic_update(
    self, state: TrainState, batch: types.CriticBatch, mean: Mean
  ) -> tuple[TrainState, agent_lib.Metrics]:
    """Lines 5-8 of Algorithm 1: target (Eq. 7), ensemble (Eq. 8), Polyak."""
    critic_loss = self.agent.critic_loss
    if critic_loss is None:
      raise ValueError(f'{self.agent.name} has no critic to update; give it no critic batches.')
    if self.agent.samples_policy and batch.next_action is None:
      batch = dataclasses.replace(
        batch,
        next_action=self.sample(state, batch.next_observation, batch.position, samples=1),
        policy_action=self.sample(state, batch.observation, batch.position, samples=1),
      )

    def loss(params: Any) -> tuple[jax.Array, agent_lib.Metrics]:
      critic, settings = self.networks.critic, self.settings
      target = state.critic_target
      return critic_loss(params, target, batch, critic=critic, settings=settings)

    gradients, metrics = jax.grad(loss, has_aux=True)(state.critic)
    gradients, metrics = mean((gradients, metrics))
    metrics['gradient_norm'] = optax.tree.norm(gradients)
    updates, optimizer = self.critic_optimizer.update(
      gradients, state.critic_optimizer, state.critic
    )
    critic = optax.apply_updates(state.critic, updates)
    target = optax.incremental_update(critic, state.critic_target, self.settings.polyak)
    state = dataclasses.replace(
      state,
      step=state.step + 1,
      critic=critic,
      critic_target=target,
      critic_optimizer=optimizer,
    )
    return state, metrics

  def _actor_update(
    self, state: TrainState, batch: types.ActorBatch, mean: Mean, highest: Highest
  ) -> tuple[TrainState, agent_lib.Metrics]:
    """Lines 11-14 of Algorithm 1: weight (Eqs. 9-11), weighted flow matching (Eq. 15)."""
    batch = batch.replace(weight=self._weight(state, batch, mean, highest))
    gradient = functools.partial(self._actor_gradient, state)
    pieces = self.settings.pieces
    gradients, metrics = (
      gradient(batch) if pieces == 1 else microbatches.mean(gradient, batch, pieces)
    )
    gradients, metrics = mean((gradients, metrics))
    metrics['gradient_norm'] = optax.tree.norm(jax.tree.map(jnp.float32, gradients))
    updates, optimizer = self.actor_optimizer.update(gradients, state.actor_optimizer, state.actor)
    actor = rounding.add(state.actor, updates, _key(state, Draw.ROUNDING))
    moved = jax.tree.map(lambda x: x.astype(jnp.float32), actor)
    ema = optax.incremental_update(moved, state.actor_ema, 1 - self.settings.ema)
    state = dataclasses.replace(
      state, step=state.step + 1, actor=actor, actor_ema=ema, actor_optimizer=optimizer
    )
    return state, metrics

  def _actor_gradient(
    self, state: TrainState, batch: types.ActorBatch
  ) -> tuple[Any, agent_lib.Metrics]:
    """Of the weighted loss (Eq. 15) over rows, with respect to the actor; and metrics."""
    actor, settings = self.networks.actor, self.settings
    action = _widened(jnp.asarray(batch.action), actor.action_size)
    eta = flow_time(_key(state, Draw.FLOW_TIME), batch.position, settings.flow_time)
    key_noise = _key(state, Draw.FLOW_NOISE)
    noise = flow.chunk_noise(key_noise, batch.position, 1, action.shape[1:])[:, 0]
    noisy = losses.noised_action(action, noise, eta)
    observation = batch.observation
    if settings.augment:
      images = augment.augment(_key(state, Draw.AUGMENTATION), observation.images, batch.position)
      observation = observation.replace(images=images)
    counted, valid = slice(None), jnp.ones_like(batch.valid)
    if settings.mask_padding:
      counted, valid = slice(settings.action_size), jnp.asarray(batch.valid)

    weight = jnp.asarray(batch.weight)

    def loss(trained: Any) -> tuple[jax.Array, agent_lib.Metrics]:
      params = parts.join(trained, state.actor_frozen)
      # Before the loops over layers: stacks of gradients are in the same type then.
      given = observation, noisy, 1 - eta
      params = first_use.rounded_for(actor, params, *given)
      velocity: Any = actor.apply(params, *given)
      velocity = velocity.astype(jnp.float32)  # of parameters in half precision
      error = losses.flow_matching_error(
        velocity[..., counted], action[..., counted], noise[..., counted], valid
      )
      value = losses.weighted_mean(error, weight)
      return value, {'loss': value, 'error': error.mean(), 'weight': weight.mean()}

    return jax.grad(loss, has_aux=True)(state.actor)

  def _weight(
    self, state: TrainState, batch: types.ActorBatch, mean: Mean, highest: Highest
  ) -> types.Array:
    """[B] weights: those of the phase, those of this very step, or ones for imitation.

    In the step, V is that of the policy that acts at this state, the moving average, on images as
    they were recorded: what a bank drawn now would say.
    """
    if self.agent.advantage is None:
      return jnp.ones(batch.action.shape[0])
    if batch.weight is not None:
      return batch.weight
    policy_action = None
    if self.agent.samples_policy:
      samples, pieces = self.settings.samples, self.settings.pieces

      def sample(rows: tuple[types.Observation, types.Array]) -> jax.Array:
        return self.sample(state, *rows, samples)

      rows = batch.observation, batch.position
      policy_action = sample(rows) if pieces == 1 else microbatches.each(sample, rows, pieces)
    advantage = self.agent.advantage(
      state.critic, batch, policy_action, critic=self.networks.critic, settings=self.settings
    )
    return advantage_weights(advantage, self.settings, mean, highest)

  def sample(
    self, state: TrainState, observation: types.Observation, position: types.Array, samples: int
  ) -> jax.Array:
    """Draws from the acting policy what the update at this state draws without a bank.

    Args:
      state: its step and seed make the noise, its moving average the policy.
      observation: batch of B.
      position: [B] int32, in the global batch.
      samples: M.

    Returns:
      [B, M, h, A], A the robot's.
    """
    actor = self.networks.actor
    chunk = (actor.horizon, actor.action_size)
    noise = flow.chunk_noise(_key(state, Draw.POLICY), position, samples, chunk)
    actions = flow.sample_actions(actor, state.acting, observation, noise, self.settings.flow_steps)
    actions = actions[..., : self.settings.action_size]
    if self.inputs is None:
      return actions
    return self.inputs.carried_out(actions, observation.proprio)


def _widened(action: types.Array, size: int) -> jax.Array:
  """Actions [B, h, A] padded with zeros to [B, h, size]."""
  return jnp.pad(action, ((0, 0), (0, 0), (0, size - action.shape[-1])))


def _float32_copy(tree: Any) -> Any:
  """A moving average to begin with: in half precision it would stand still."""
  return jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), tree)


def _key(state: TrainState, draw: Draw) -> jax.Array:
  """Key of one draw of one update, a function of (seed, step, draw) only."""
  update = jax.random.fold_in(jax.random.key(state.seed), state.step)
  return jax.random.fold_in(update, draw)
