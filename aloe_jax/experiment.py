"""A config made into objects: networks, learner, simulator, tokenizer. Commands build on it."""

import functools
from typing import Any

import jax
import ml_collections
import numpy as np

from aloe_jax import learner as learner_lib
from aloe_jax import optimizer
from aloe_jax import policy as policy_lib
from aloe_jax import rollout
from aloe_jax import sharding
from aloe_jax import tokenizer
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay
from aloe_jax.envs import observation
from aloe_jax.envs import render
from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks
from aloe_jax.models import critic
from aloe_jax.models import encoder
from aloe_jax.models import small
from aloe_jax.train_state import TrainState

ACTION_SIZE = 14  # two arms times (6 joints or axes and a gripper), Tables I-III
FRAMES = 128  # frames of each camera encoded per compiled call


class Experiment:
  """What a config describes.

  Args:
    config: checked by `config.validate`.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    if config.actor.kind != 'small':
      raise ValueError(
        f'config.actor.kind is {config.actor.kind!r}, which this version cannot build yet; '
        "expected 'small'."
      )
    self.config = config
    self.agent = AGENTS[config.agent]
    self.tokenizer = tokenizer.HashTokenizer(config.actor.vocab_size, config.actor.prompt_length)
    self.layout = sharding.make_layout(config.parallel.mode, config.parallel.fsdp or None)
    self.actor = small.SmallActor(
      horizon=config.task.chunk,
      action_size=ACTION_SIZE,
      vocab_size=config.actor.vocab_size,
      width=config.actor.width,
      expert_width=config.actor.expert_width,
      depth=config.actor.depth,
      steps_per_token=config.actor.steps_per_token,
    )
    self.critic = _make_critic(self.agent, config)
    self.encoder = encoder.FrozenEncoder() if config.sim.observation == 'pixels' else None

  @property
  def task(self) -> tasks.Task:
    """The simulated task."""
    return tasks.TASKS[self.config.sim.task]

  @property
  def prompt(self) -> str:
    """The language instruction: the same on the robot and in the simulator."""
    return self.config.task.prompt

  @property
  def critic_horizon(self) -> int:
    """Steps that the critic's backup spans."""
    return self.config.critic.horizon or self.config.task.chunk

  @functools.cached_property
  def render(self):
    """Draws one simulator state: {camera: [H, W, 3] uint8}."""
    size = self.config.sim.image_size
    return lambda state: render.render(state, size)

  @functools.cached_property
  def observe(self) -> rollout.Observe:
    """What a policy sees of one simulator state: proprio [32] and features [V, F]."""
    encode = self.encoder
    if encode is None:
      return observation.observe

    def observe(state):
      proprio, _ = observation.observe(state)
      return proprio, encode(_stack_cameras(self.render(state)))

    return observe

  def simulation(self, *, unseen: bool = False, disturb: bool = False, **human) -> rollout.Setup:
    """A rollout's setup; `human` as in `rollout.Setup`."""
    sim = tabletop.Simulator(self.task, unseen=unseen, disturb=disturb)
    return rollout.Setup(sim, self.observe, self.config.task.execute, **human)

  def architecture(self) -> dict[str, Any]:
    """All that decides the shapes of the parameters; kept in checkpoints."""
    actor = self.config.actor
    names = ('kind', 'width', 'expert_width', 'depth', 'steps_per_token', 'vocab_size')
    critic_names = ('ensemble', 'size', 'language', 'width', 'depth', 'heads', 'mlp_ratio', 'bins')
    return {
      'actor': {name: actor[name] for name in names},
      'chunk': self.config.task.chunk,
      'observation': self.config.sim.observation,
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
    )

  def learner(self, reward_scale: float) -> learner_lib.Learner:
    """Agent, networks and losses, in the units that the rewards are scaled to."""
    config = self.config
    settings = agent_lib.Settings(
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
      language=config.critic.language,
      past_end=config.critic.past_end,
      value_bins=config.critic.bins,
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
    learner, example = self.learner(reward_scale=1.0), self.example()
    return jax.eval_shape(lambda: learner.init(0, example))

  def policy(self, state: TrainState) -> policy_lib.Policy:
    """The policy that acts: the moving average of the actor, away from the learner's mesh."""
    tokens, mask = self.tokenizer(self.prompt)
    return policy_lib.Policy(
      params=jax.tree.map(jax.numpy.asarray, jax.device_get(state.actor_ema)),
      prompt_tokens=jax.numpy.asarray(tokens),
      prompt_mask=jax.numpy.asarray(mask),
      actor=self.actor,
      flow_steps=self.config.actor.flow_steps,
    )

  def feature_shape(self) -> tuple[int, ...]:
    """(V, F) of what a policy sees in the simulator."""
    state = jax.eval_shape(self.simulation().sim.reset, jax.random.key(0))
    return jax.eval_shape(self.observe, state)[1].shape

  def example(self) -> types.ActorBatch:
    """A batch of one from the simulator, for the shapes of the parameters."""
    tokens, mask = self.tokenizer(self.prompt)
    chunk = self.config.task.chunk
    observation = types.Observation(
      proprio=np.zeros((1, types.PROPRIO_SIZE), np.float32),
      prompt_tokens=tokens[None],
      prompt_mask=mask[None],
      features=np.zeros((1, *self.feature_shape()), np.float32),
    )
    return types.ActorBatch(
      observation=observation,
      action=np.zeros((1, chunk, ACTION_SIZE), np.float32),
      valid=np.ones((1, chunk), bool),
      ended=np.zeros(1, bool),
      returns=np.zeros(1, np.float32),
      weight=None,
      row=np.zeros(1, np.int32),
    )

  def encode(self, images: dict[str, np.ndarray]) -> np.ndarray:
    """Features [T, V, F] of the cameras' pictures {camera: [T, H, W, 3] uint8}."""
    total = len(images['head'])
    features = []
    for start in range(0, total, FRAMES):
      # The last call is filled up with the last frame, so that one program serves them all.
      frames = np.minimum(np.arange(start, start + FRAMES), total - 1)
      pictures = {camera: taken[frames] for camera, taken in images.items()}
      features.append(np.asarray(_encode(self.encoder, _stack_cameras(pictures))))
    return np.concatenate(features)[:total]


def _stack_cameras(images: dict[str, Any]) -> Any:
  """[..., V, H, W, 3] in the order of the views: head, left wrist, right wrist."""
  axis = -4
  return jax.numpy.stack([images[camera] for camera in ('head', 'left_wrist', 'right_wrist')], axis)


@functools.partial(jax.jit, static_argnums=0)
def _encode(frozen: encoder.FrozenEncoder, images: jax.Array) -> jax.Array:
  return frozen(images)


def _make_critic(agent: agent_lib.Agent, config: ml_collections.ConfigDict):
  """The critic's module, or None for an agent without one."""
  size = {name: config.critic[name] for name in ('width', 'depth', 'heads', 'mlp_ratio')}
  if agent.critic is None:
    return None
  if agent.critic == 'state':
    return critic.ValueCritic(config.critic.bins, **size)
  kind = critic.FullEnsemble if config.critic.ensemble == 'full' else critic.Critic
  return kind(config.critic.size, config.critic.horizon or config.task.chunk, **size)
