"""A config made into objects: networks, learner, simulator, inputs. Commands build on it."""

from collections.abc import Callable
import functools
import json
import re
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from aloe_jax import best_of
from aloe_jax import images as images_lib
from aloe_jax import inputs as inputs_lib
from aloe_jax import learner as learner_lib
from aloe_jax import normalize
from aloe_jax import optimizer
from aloe_jax import policy as policy_lib
from aloe_jax import rollout
from aloe_jax import sharding
from aloe_jax import simulation
from aloe_jax import tokenizer as tokenizer_lib
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_world
from aloe_jax.envs import observation
from aloe_jax.envs import render
from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks
from aloe_jax.models import critic
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.models import pi05
from aloe_jax.models import siglip
from aloe_jax.models import small
from aloe_jax.pretrained import big_vision
from aloe_jax.train_state import TrainState

NORMALIZERS: dict[str, Callable[..., normalize.Normalizer]] = {
  'quantile': normalize.Quantile,
  'zscore': normalize.ZScore,
}


class Experiment:
  """What a config describes.

  Args:
    config: checked by `config.validate`.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    self.config = config
    self.agent = AGENTS[config.agent]
    self.layout = sharding.make_layout(config.parallel.mode, config.parallel.fsdp or None)
    self.world = _make_world(config)
    self.actor = _make_actor(config)
    self.critic = _make_critic(self.agent, config)
    self.encoder = self._make_encoder()

  @property
  def task(self) -> tasks.Task:
    """The simulated task."""
    return tasks.TASKS[self.config.sim.task]

  @property
  def dataset_name(self) -> str:
    """What the simulator's episodes are called on disk, an identifier."""
    return re.sub(r'\W+', '_', self.config.sim.task)

  @property
  def prompt(self) -> str:
    """The language instruction: the same on the robot and in the simulator."""
    return self.config.task.prompt

  @property
  def reads_images(self) -> bool:
    """Whether the actor reads pictures, and not only features made of them."""
    return isinstance(self.actor, pi05.Pi05)

  @property
  def critic_horizon(self) -> int:
    """Steps that the critic's backup spans."""
    return self.config.critic.horizon or self.config.task.chunk

  @functools.cached_property
  def tokenizer(self) -> tokenizer_lib.PromptTokenizer:
    """Of prompts: the small actor's leaves the state to proprio, π0.5's puts it into words.

    Raises:
      FileNotFoundError: its file is not there.
      ValueError: it is of another vocabulary than the actor.
    """
    actor = self.config.actor
    if actor.tokenizer == 'words':
      encoder: tokenizer_lib.Encoder = tokenizer_lib.Words(actor.vocab_size)
    else:
      encoder = tokenizer_lib.SentencePiece(actor.tokenizer)
    if encoder.vocab_size > actor.vocab_size:
      raise ValueError(
        f'{actor.tokenizer} has {encoder.vocab_size} tokens, more than the '
        f'{actor.vocab_size} of config.actor.vocab_size.'
      )
    return tokenizer_lib.PromptTokenizer(
      encoder, actor.prompt_length, discrete_state=self.reads_images
    )

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
      normalizers = {key: kind(stats[key], key) for key in fields}
    inputs = inputs_lib.Inputs(
      tokenizer=self.tokenizer,
      state=normalizers['state'],
      action=normalizers['actions'],
      state_size=config.task.proprio_size,
      delta=tuple(config.task.delta),
      image_size=config.actor.image_size if self.reads_images else 0,
      tagged=self.agent.is_positive is not None,
    )
    inputs.check_prompts([self.prompt])
    return inputs

  @functools.cached_property
  def render(self):
    """Draws one simulator state: {camera: [H, W, 3] uint8}; None where nothing is drawn."""
    if self.world is not None:
      return None
    size = self.config.sim.image_size
    return lambda state: render.render(state, size)

  def observe(self, encoder_params: Any) -> simulation.Observe:
    """What a policy sees of one simulator state.

    Args:
      encoder_params: of the frozen encoder, where its features are what the actor reads.
    """
    if self.world is not None:
      return self.world.spaces.sight
    if self.reads_images:

      def see(state):
        size = self.config.actor.image_size
        drawn = {
          camera: images_lib.resize_with_pad_on_device(picture, size)
          for camera, picture in self.render(state).items()
        }
        return types.Sight(observation.observe(state).proprio, images=drawn)

      return see
    if self.encoder is None:
      return observation.observe

    def encode(state):
      features = encoder_lib.encode_cameras(self.encoder, encoder_params, self.render(state))
      return types.Sight(observation.observe(state).proprio, features)

    return encode

  def simulation(
    self, observe: simulation.Observe, *, unseen: bool = False, disturb: bool = False, **human
  ) -> simulation.Simulation:
    """The task with somebody beside it or not.

    Args:
      observe: from `Experiment.observe`.
      unseen, disturb: see `tabletop.Simulator`.
      human: as in the `Setup` of `rollout` or `gymnasium_rollout`.

    Raises:
      ValueError: the world has no such scenes, or nobody to demonstrate.
    """
    execute = self.config.task.execute
    if self.world is not None:
      if unseen or disturb:
        raise ValueError(
          f'{self.config.sim.task} has no unseen scenes and no disturbances; the tasks of the '
          'embedded simulator have.'
        )
      limit = self.config.task.max_steps
      return gymnasium_rollout.Setup(self.world, observe, execute, limit, **human)
    sim = tabletop.Simulator(self.task, unseen=unseen, disturb=disturb)
    return rollout.Setup(sim, observe, execute, **human)

  def architecture(self) -> dict[str, Any]:
    """All that decides the shapes of the parameters; kept in checkpoints."""
    actor, names = self.config.actor, ['kind', 'small', 'vocab_size']
    if self.reads_images:
      names = ['kind', 'vision', 'language', 'expert', 'vocab_size', 'action_size', 'image_size']
    critic_names = ('ensemble', 'size', 'language', 'width', 'depth', 'heads', 'mlp_ratio', 'bins')
    return {
      'actor': json.loads(ml_collections.ConfigDict({n: actor[n] for n in names}).to_json()),
      'action': self.config.task.action_size,
      'chunk': self.config.task.chunk,
      'observation': 'images' if self.reads_images else self.config.sim.observation,
      'critic': None
      if self.critic is None
      else {name: self.config.critic[name] for name in critic_names}
      | {'kind': self.agent.critic, 'horizon': self.critic_horizon},
    }

  def actor_optimizer(self, updates: int, lr: float):
    """The actor's optimiser for a phase of some updates."""
    actor = self.config.actor
    return optimizer.adamw(
      peak=lr,
      warmup=actor.warmup,
      total=updates,
      floor=actor.final_lr,
      weight_decay=actor.weight_decay,
    )

  def critic_optimizer(self, updates: int):
    """The critic's optimiser for a phase of some updates."""
    config = self.config.critic
    return optimizer.adamw(
      peak=config.lr, warmup=config.warmup, total=updates, weight_decay=config.weight_decay
    )

  def chunking(self, fail_cost: float) -> replay.Chunking:
    """How the buffer is cut and labelled."""
    return replay.Chunking(
      horizon=self.config.task.chunk,
      critic_horizon=self.critic_horizon,
      discount=self.config.discount,
      fail_cost=fail_cost,
      timeout=self.config.data.timeout,
      takeover=self.config.data.takeover,
      failures=self.config.data.failures,
    )

  def learner(self, reward_scale: float) -> learner_lib.Learner:
    """Agent, networks and losses, in the units that the rewards are scaled to."""
    config = self.config
    settings = agent_lib.Settings(
      action_size=config.task.action_size,
      samples=config.actor.samples,
      flow_steps=config.actor.flow_steps,
      target=config.critic.target,
      polyak=config.critic.polyak,
      beta=config.actor.beta,
      beta_unit=config.actor.beta_unit,
      clip=config.actor.clip,
      reward_scale=reward_scale,
      ema=config.actor.ema,
      flow_time=config.actor.flow_time,
      mask_padding=config.actor.mask_padding,
      augment=config.actor.augment,
      language=config.critic.language,
      backup=config.critic.backup,
      pessimism=config.critic.pessimism,
      past_end=config.critic.past_end,
      value_bins=config.critic.bins,
      positive=config.recap.positive,
    )
    return learner_lib.Learner(
      self.agent,
      agent_lib.Networks(self.actor, self.critic),
      settings,
      self.actor_optimizer(config.actor.warm_start_updates, config.actor.warm_start_lr),
      self.critic_optimizer(config.critic.first_updates),
    )

  def abstract_state(self) -> TrainState:
    """Shapes and types of a train state, for reading one back in the simulator."""
    learner = self.learner(reward_scale=1.0)
    return self.layout.shapes(lambda: learner.init(0, self.example()))

  def policy(
    self,
    state: TrainState,
    inputs: inputs_lib.Inputs,
    encoder_params: Any,
    *,
    tagged: bool = False,
  ) -> policy_lib.Policy:
    """The policy that acts: the moving average of the actor.

    Args:
      state: one global copy.
      inputs: those that the actor was trained with.
      encoder_params: of the critic's encoder, for choosing among `actor.best_of` chunks.
      tagged: whether the actor was taught tags, and is to be asked for what they call positive.
    """
    judge = None
    if self.config.actor.best_of > 1:
      judge = best_of.Judge(
        params=state.critic,
        encoder_params=encoder_params,
        critic=self.critic,
        encoder=self.encoder,
        samples=self.config.actor.best_of,
        language=self.config.critic.language,
      )
    return policy_lib.Policy(
      params=state.actor_ema,
      judge=judge,
      actor=self.actor,
      inputs=inputs,
      prompt=self.prompt,
      action_size=self.config.task.action_size,
      flow_steps=self.config.actor.flow_steps,
      guidance=self.config.recap.guidance if tagged else None,
    )

  def feature_shape(self) -> tuple[int, ...]:
    """(V, F) of what the critic sees in the simulator."""
    if self.world is not None:
      return self.world.spaces.feature_shape
    width = observation.FEATURE_SHAPE[1] if self.encoder is None else self.encoder.width
    return len(types.CAMERAS), width

  def example(self) -> types.ActorBatch:
    """A batch of one, for the shapes of the parameters."""
    chunk, actor = self.config.task.chunk, self.config.actor
    images = None
    if self.reads_images:
      picture = np.zeros((1, actor.image_size, actor.image_size, 3), np.uint8)
      images = dict.fromkeys(types.CAMERAS, picture)
    shown = types.Observation(
      proprio=np.zeros((1, types.PROPRIO_SIZE), np.float32),
      prompt_tokens=np.zeros((1, actor.prompt_length), np.int32),
      prompt_mask=np.ones((1, actor.prompt_length), bool),
      features=np.zeros((1, *self.feature_shape()), np.float32),
      images=images,
    )
    return types.ActorBatch(
      observation=shown,
      action=np.zeros((1, chunk, self.config.task.action_size), np.float32),
      valid=np.ones((1, chunk), bool),
      ended=np.zeros(1, bool),
      returns=np.zeros(1, np.float32),
      weight=None,
      row=np.zeros(1, np.int32),
    )

  def encode(
    self,
    encoder_params: Any,
    images: dict[str, np.ndarray],
    masks: dict[str, np.ndarray],
  ) -> np.ndarray:
    """Features [B, V, F] of pictures {camera: [B, H, W, 3] uint8} of the encoder's size.

    `masks` {camera: [B] bool} are False where a camera is missing; its features are zeros.
    """
    placed = self.layout.place_rows((images, masks))
    return self.layout.fetch_rows(_encode(self.encoder, encoder_params, *placed))

  def _make_encoder(self) -> encoder_lib.Encoder | None:
    """The critic's encoder: the simulator's, that of a file, or the actor's own tower."""
    config = self.config
    if not self.reads_images:
      return encoder_lib.RandomEncoder() if config.sim.observation == 'pixels' else None
    if config.critic.encoder:
      return encoder_lib.of_weights(big_vision.load(config.critic.encoder))
    tower = siglip.SigLip(**config.actor.vision, dtype=jnp.dtype(config.actor.dtype))
    return encoder_lib.TowerEncoder(tower, config.actor.image_size)


@functools.partial(jax.jit, static_argnums=0)
def _encode(
  encoder: encoder_lib.Encoder,
  params: Any,
  images: dict[str, jax.Array],
  masks: dict[str, jax.Array],
) -> jax.Array:
  return encoder_lib.encode_cameras(encoder, params, images, masks)


def _make_world(config: ml_collections.ConfigDict) -> gymnasium_world.World | None:
  """The Gymnasium environments of the config, or None for the table top and for robots."""
  if ':' not in config.sim.task:
    return None
  world = gymnasium_world.World(config.sim.task)
  for field in ('action_size', 'proprio_size'):
    found, wanted = config.task[field], getattr(world.spaces, field)
    if found != wanted:
      raise ValueError(
        f'config.task.{field} is {found}, but {config.sim.task} has {wanted} numbers; give '
        f'--config.task.{field}={wanted}.'
      )
  return world


def _make_actor(config: ml_collections.ConfigDict) -> nn.Module:
  actor = config.actor
  if actor.kind == 'pi05':
    return pi05.make(
      actor, horizon=config.task.chunk, dtype=jnp.dtype(actor.dtype), remat=actor.remat
    )
  return small.SmallActor(
    horizon=config.task.chunk,
    action_size=config.task.action_size,
    vocab_size=actor.vocab_size,
    **actor.small,
  )


def _make_critic(agent: agent_lib.Agent, config: ml_collections.ConfigDict):
  """The critic's module, or None for an agent without one."""
  size = {name: config.critic[name] for name in ('width', 'depth', 'heads', 'mlp_ratio')}
  if agent.critic is None:
    return None
  if agent.critic == 'state':
    return critic.ValueCritic(config.critic.bins, **size)
  kind = critic.FullEnsemble if config.critic.ensemble == 'full' else critic.Critic
  return kind(config.critic.size, config.critic.horizon or config.task.chunk, **size)
