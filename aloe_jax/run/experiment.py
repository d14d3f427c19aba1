"""A config made into objects: networks, learner, simulator, inputs. Commands build on it."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from aloe_jax import agents
from aloe_jax import best_of
from aloe_jax import config as config_lib
from aloe_jax import policy as policy_lib
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay
from aloe_jax.envs import worlds
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning import optimizer
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.parallel import sharding
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer as tokenizer_lib
from aloe_jax.run import indices
from aloe_jax.run import networks
from aloe_jax.run import robot

NORMALIZERS: dict[str, Callable[..., normalize.Normalizer]] = {
  'quantile': normalize.Quantile,
  'zscore': normalize.ZScore,
}


class Experiment:
  """What a config describes.

  Args:
    config: checked by `config.validate`. What it leaves to a simulator, or to the data of a robot,
      is filled in; see `robot`.
    devices: to compute on; all there are by default.

  Raises:
    ValueError: there is no such agent, or it does not go with the rest of the config.
  """

  def __init__(
    self, config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None
  ):
    self.config = config
    self.agent = agents.find(config.agent)
    self.agent.validate(config)
    self.layout = sharding.make_layout(config.parallel.mode, config.parallel.fsdp or None, devices)
    self.encoder = networks.make_encoder(config)
    self.world = worlds.make(config, self.encoder, self.reads_images, self.layout)
    for field, value in self.world.robot.items():
      config.task[field] = config.task[field] or value
    unknown = not config.task.action_size or not config.task.proprio_size
    if unknown and config.data.episodes:
      robot.settle(config, indices.open_given(config))
    elif unknown:
      raise ValueError(
        'config.task.action_size or proprio_size is 0, and no data have told them; expected the '
        'numbers of an action and of the state.'
      )
    self.actor = networks.make_actor(config)
    self.trained = networks.make_trained(config)
    self.critic = networks.make_critic(self.agent, config)

  @property
  def prompt(self) -> str:
    """What the robot is asked to do: the same on the robot and in the simulator."""
    return self.config.task.prompt

  @property
  def reads_images(self) -> bool:
    """Whether the actor reads images, and not only features made of them."""
    return networks.reads_images(self.config)

  @property
  def learns_tower(self) -> bool:
    """Whether the actor's warm start trains the tower whose features all later phases read."""
    return networks.learns_tower(self.config)

  @property
  def continues_ended(self) -> bool:
    """Whether the critic reads ended chunks as what was executed elsewhere goes on."""
    return self.agent.critic == 'action' and self.config.critic.past_end == 'executed'

  @functools.cached_property
  def tokenizer(self) -> tokenizer_lib.PromptTokenizer:
    """Of prompts; raises what `networks.make_tokenizer` does."""
    return networks.make_tokenizer(self.config)

  def inputs(self, stats: dict[str, normalize.Stats] | None) -> inputs_lib.Inputs:
    """How states, actions and prompts are put to the networks.

    Args:
      stats: of 'state' and 'actions', or None where nothing is normalised. One object is to be
        made per run: compiled programs are kept by it.

    Raises:
      ValueError: the statistics are of another robot, or the prompt is too long.
    """
    config = self.config
    normalizers: dict[str, normalize.Normalizer] = dict.fromkeys(
      ('state', 'actions'), normalize.Identity()
    )
    if stats is not None:
      kind = NORMALIZERS[config.data.normalization]
      fields = {'state': 'proprio_size', 'actions': 'action_size'}
      for key, field in fields.items():
        width = config.task[field]
        if key not in stats or stats[key].mean.size < width:
          found = stats[key].mean.size if key in stats else 'no'
          raise ValueError(
            f'the statistics of {key!r} are of {found} numbers, expected config.task.{field} = '
            f'{width}; give those of this robot with config.data.norm_stats, or '
            "'compute' to take them from the episodes."
          )
        if not normalize.ends_in_padding(stats[key], width):
          raise ValueError(
            f'the statistics of {key!r} are of {stats[key].mean.size} numbers, and those after '
            f'number {width - 1} are no padding; expected config.task.{field} = {width} of this '
            'robot. They are of another robot: give those of this one with '
            "config.data.norm_stats, or 'compute' to take them from the episodes."
          )
      normalizers = {key: kind(stats[key], key) for key in fields}
    inputs = inputs_lib.Inputs(
      tokenizer=self.tokenizer,
      state=normalizers['state'],
      action=normalizers['actions'],
      state_size=config.task.proprio_size,
      delta=tuple(config.task.delta),
      image_size=config.actor.image_size if self.reads_images else 0,
      tagged=self.agent.tags,
      limits=self.world.action_limits,
    )
    inputs.check_prompts([self.prompt])
    return inputs

  def architecture(self) -> dict[str, Any]:
    """All that decides the shapes of the parameters; kept in checkpoints."""
    return networks.architecture(self.agent, self.config)

  def actor_optimizer(self, updates: int, lr: float) -> optax.GradientTransformation:
    """The actor's optimiser for a phase of some updates."""
    actor = self.config.actor
    return optimizer.adamw(
      peak=lr,
      warmup=actor.warmup,
      total=updates,
      floor=actor.final_lr,
      weight_decay=actor.weight_decay,
    )

  def critic_optimizer(self, updates: int) -> optax.GradientTransformation:
    """The critic's optimiser for a phase of some updates."""
    config = self.config.critic
    return optimizer.adamw(
      peak=config.lr, warmup=config.warmup, total=updates, weight_decay=config.weight_decay
    )

  def chunking(self, fail_cost: float | None) -> replay.Chunking:
    """How the buffer is cut and labelled; without C_fail, None, its rewards mean nothing."""
    return replay.Chunking(
      horizon=self.config.task.chunk,
      critic_horizon=config_lib.critic_horizon(self.config),
      discount=self.config.discount,
      fail_cost=fail_cost or 0.0,
      timeout=self.config.data.timeout,
      takeover=self.config.data.takeover,
      failures=self.config.data.failures,
      spans=networks.critic_spans(self.config) if self.agent.samples_policy else 1,
    )

  def learner(
    self,
    reward_scale: float,
    return_range: tuple[float, float] = rewards.RETURN_RANGE,
    inputs: inputs_lib.Inputs | None = None,
  ) -> learner_lib.Learner:
    """Agent, networks and losses, in the units that the rewards are scaled to.

    Args:
      reward_scale: what rewards are multiplied by.
      return_range: lowest and highest return, in scaled rewards.
      inputs: of the policy, where updates sample it.
    """
    config = self.config
    settings = self.agent.settings.of(config, reward_scale=reward_scale, return_range=return_range)
    settings = dataclasses.replace(settings, beta=action_critic.beta(self.agent, config))
    return learner_lib.Learner(
      self.agent,
      agent_lib.Networks(self.actor, self.critic),
      settings,
      self.actor_optimizer(config.actor.warm_start_updates, config.actor.warm_start_lr),
      self.critic_optimizer(config.critic.first_updates),
      self.trained,
      config.actor.param_dtype,
      inputs,
    )

  def abstract_state(self) -> TrainState:
    """Shapes and types of a train state, for reading one back without making one."""
    learner = self.learner(reward_scale=1.0)
    return self.layout.shapes(lambda: learner.init(0, self.example()))

  def policy(
    self,
    params: Any,
    inputs: inputs_lib.Inputs,
    critic: Any,
    encoder_params: Any,
    *,
    tagged: bool = False,
  ) -> policy_lib.Policy:
    """A policy that acts.

    Args:
      params: of the actor, its moving average.
      inputs: those that the actor was trained with.
      critic: its parameters, for choosing among `actor.best_of` chunks; not read where that is 1.
      encoder_params: of the critic's encoder, likewise.
      tagged: whether the actor was taught tags, and is to be asked for what they call positive.
    """
    chooser = None
    if self.config.actor.best_of > 1:
      chooser = best_of.Chooser(
        params=critic,
        encoder_params=encoder_params,
        critic=self.critic,
        encoder=self.encoder,
        samples=self.config.actor.best_of,
        reads_prompt=self.config.critic.prompt,
        pessimism=self.config.critic.pessimism,
      )
    return policy_lib.Policy(
      params=params,
      chooser=chooser,
      actor=self.actor,
      inputs=inputs,
      prompt=self.prompt,
      action_size=self.config.task.action_size,
      flow_steps=self.config.actor.flow_steps,
      guidance=self.config.recap.guidance if tagged else None,
    )

  def feature_shape(self) -> tuple[int, ...]:
    """(V, F) of what the critic sees."""
    if self.encoder is None:
      return self.world.feature_shape
    return len(types.CAMERAS), self.encoder.width

  def example(self, *, trains_tower: bool = False) -> types.ActorBatch:
    """A batch of one, for the shapes of the parameters.

    Args:
      trains_tower: of the warm start of an actor whose tower is trained in it, images in place of
        the tower's features.
    """
    chunk, actor = self.config.task.chunk, self.config.actor
    images, features = None, np.zeros((1, *self.feature_shape()), np.float32)
    if self.reads_images or trains_tower:
      edge = actor.image_size if self.reads_images else self.config.sim.image_size
      images = dict.fromkeys(types.CAMERAS, np.zeros((1, edge, edge, 3), np.uint8))
    unplayed = None
    if self.continues_ended:
      steps = config_lib.critic_horizon(self.config)
      unplayed = np.zeros((1, steps, self.config.task.action_size), np.float32)
    shown = types.Observation(
      proprio=np.zeros((1, types.PROPRIO_SIZE), np.float32),
      prompt_tokens=np.zeros((1, actor.prompt_length), np.int32),
      prompt_mask=np.ones((1, actor.prompt_length), bool),
      features=None if trains_tower else features,
      images=images,
    )
    return types.ActorBatch(
      observation=shown,
      action=np.zeros((1, chunk, self.config.task.action_size), np.float32),
      valid=np.ones((1, chunk), bool),
      ended=np.zeros(1, bool),
      returns=np.zeros(1, np.float32),
      weight=None,
      unplayed=unplayed,
      position=np.zeros(1, np.int32),
    )

  def example_between(self, example: types.ActorBatch) -> types.Between | None:
    """What the critic is given of the later chunks that targets span, of one row; or None."""
    count, steps = networks.critic_spans(self.config) - 1, config_lib.critic_horizon(self.config)
    if not count or not self.agent.samples_policy:
      return None
    action = example.action[:, :steps]
    between = types.Between(
      observation=example.observation,
      action=action,
      valid=example.valid[:, :steps],
      ended=example.ended,
      discount=np.zeros(1, np.float32),
      policy_action=action[:, None],
      unplayed=example.unplayed,
    )
    return jax.tree.map(lambda x: np.repeat(x[:, None], count, axis=1), between)

  def encode(
    self,
    encoder_params: Any,
    images: dict[str, np.ndarray],
    masks: dict[str, np.ndarray],
  ) -> np.ndarray:
    """Features [B, V, F] of images {camera: [B, H, W, 3] uint8} of the encoder's size.

    `masks` {camera: [B] bool} are False where a camera is missing; its features are zeros.
    """
    placed = self.layout.place_rows((images, masks))
    with self.layout.traced():
      encoded = encode_rows(self.encoder, encoder_params, *placed)
    return self.layout.fetch_rows(encoded)


@functools.partial(jax.jit, static_argnums=0)
def encode_rows(
  encoder: encoder_lib.Encoder,
  params: Any,
  images: dict[str, jax.Array],
  masks: dict[str, jax.Array],
) -> jax.Array:
  """The compiled program of `Experiment.encode`, on rows that lie on their devices."""
  return encoder_lib.encode_cameras(encoder, params, images, masks)
