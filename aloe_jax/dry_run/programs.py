"""The programs that a run of a config compiles, as shapes: the run's own, and no copies of them."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import types
from aloe_jax.learning import action_bank
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import small
from aloe_jax.parallel import sharding
from aloe_jax.run import datasets
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import updates

# Fields of the train state, as kinds of memory.
KINDS = {
  'parameters': ('actor', 'actor_frozen'),
  'average': ('actor_ema',),
  'moments': ('actor_optimizer',),
  'critic': ('critic', 'critic_target', 'critic_optimizer'),
}


@dataclasses.dataclass(frozen=True)
class Program:
  """One compiled program of a run.

  Attributes:
    name: of it.
    rows: B, of one update, or of one call of a sweep.
    updates: of one call; 1 for a sweep.
    lower: makes what is compiled.
    held: {kind: bytes} on each device while it runs, whether it is told of them or not.
    given: bytes on each device that it is told of: its arguments.
  """

  name: str
  rows: int
  updates: int
  lower: Callable[[], jax.stages.Lowered]
  held: dict[str, float]
  given: float


def of(
  experiment: experiment_lib.Experiment, devices: Sequence[jax.Device], *, apart: bool = False
) -> list[Program]:
  """The programs of all phases, in the order of a run.

  Args:
    experiment: on these devices.
    devices: that the programs are for.
    apart: whether those that they stand for have memory of their own, see `Updates.aside`.
  """
  run = _Run(experiment, len(devices), len({device.process_index for device in devices}), apart)
  found = [run.features()] if experiment.encoder is not None else []
  if experiment.learns_tower and experiment.config.actor.warm_start_updates:
    found = [run.warm_start(), *found]
  found.append(run.actor('actor update', weighted=True))
  if experiment.agent.critic is None:
    return found
  if experiment.agent.samples_policy and experiment.config.actor.bank:
    found.append(run.bank())
  found.append(run.critic())
  if experiment.config.actor.weights == 'per_step':
    found.append(run.actor('actor update, weights in the step', weighted=False))
  return found


def shards(experiment: experiment_lib.Experiment) -> list[tuple[str, jax.ShapeDtypeStruct]]:
  """Every leaf of the train state by its path, with where it lies."""
  state = _Run(experiment, 1, 1, False).state
  return [
    (jax.tree_util.keystr(path, simple=True, separator='/'), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
  ]


def held(tree: Any) -> float:
  """Bytes on each device of arrays that say where they lie."""
  return float(sum(_bytes(x, x.sharding.shard_shape(x.shape)) for x in jax.tree.leaves(tree)))


class _Run:
  """What the programs of one run share."""

  def __init__(self, experiment: experiment_lib.Experiment, devices: int, hosts: int, apart: bool):
    self._experiment, self._config = experiment, experiment.config
    self._layout: sharding.Layout = experiment.layout
    self._devices, self._hosts, self._apart = devices, hosts, apart
    # Statistics change numbers and no shapes.
    self._inputs = experiment.inputs(None)
    self._learner: learner_lib.Learner = experiment.learner(1.0, inputs=self._inputs)

  @functools.cached_property
  def state(self) -> TrainState:
    """Where the train state lies."""
    example = self._experiment.example()
    return self._layout.shapes(lambda: self._learner.init(0, example))

  @functools.cached_property
  def _encoder(self) -> Any:
    """Where the frozen encoder's parameters lie: a copy of the actor's tower as it was loaded."""
    if self._experiment.encoder is None:
      return {}
    if self._experiment.learns_tower:
      return self._trains_tower[0].actor_ema['params'][small.TOWER]
    return self.state.acting['params']['PaliGemma']['img']

  @functools.cached_property
  def _trains_tower(self) -> tuple[TrainState, types.ActorBatch]:
    """Where the train state of a warm start lies that trains the actor's tower, and its rows."""
    seen = self._experiment.example(trains_tower=True)
    example = self._experiment.example()

    def state() -> TrainState:
      return self._learner.init(0, example, self._learner.init_actor(0, seen))

    masks = dict.fromkeys(types.CAMERAS, np.ones(1, bool))
    observation = seen.observation.replace(image_masks=masks)
    return self._layout.shapes(state), seen.replace(observation=observation)

  def warm_start(self) -> Program:
    """The update that trains the small actor's tower along with the rest of it."""
    count, size = self._config.train.actor_updates_per_call, self._config.actor.batch_size
    state, example = self._trains_tower
    batches = _batches(example.replace(weight=np.zeros(1, np.float32)), count, size)
    return self._update('warm start, with the tower', count, size, None, batches, state=state)

  def _kept(self, without: Sequence[str] = ()) -> dict[str, float]:
    """{kind: bytes} that lie on each device whatever runs, but for some fields of the state."""
    kinds = {
      kind: held([getattr(self.state, field) for field in fields if field not in without])
      for kind, fields in KINDS.items()
    }
    return kinds | {'encoder': held(self._encoder)}

  def actor(self, name: str, *, weighted: bool) -> Program:
    count, size = self._config.train.actor_updates_per_call, self._config.actor.batch_size
    weight = np.zeros(1, np.float32) if weighted else None
    example = self._example(images=self._experiment.reads_images).replace(weight=weight)
    return self._update(name, count, size, None, _batches(example, count, size))

  def critic(self) -> Program:
    count, size = self._config.train.critic_updates_per_call, self._config.critic.batch_size
    samples = self._experiment.agent.samples_policy
    in_step = samples and not self._config.actor.bank
    example = self._example(images=in_step and self._experiment.reads_images)
    steps = config_lib.critic_horizon(self._config)
    number = np.zeros(1, np.float32)
    action = example.action[:, :steps]
    policy = example.action[:, None] if samples and not in_step else None
    batch = types.CriticBatch(
      observation=example.observation,
      action=action,
      valid=example.valid[:, :steps],
      reward=number,
      discount=number,
      returns=number,
      next_observation=example.observation,
      ended=example.ended,
      next_action=policy,
      policy_action=policy,
      unplayed=example.unplayed,
      position=example.position,
      between=None if policy is None else self._experiment.example_between(example),
    )
    name = 'critic update, sampling in the step' if in_step else 'critic update'
    return self._update(name, count, size, _batches(batch, count, size), None)

  def bank(self) -> Program:
    """The sweep that draws the policy's actions at every state of the buffer."""
    size = self._config.actor.batch_size * self._hosts
    params = self._asked() if self._apart else self.state.acting
    policy = self._experiment.policy(params, self._inputs, None, None)
    policy = policy.replace(chooser=None)
    rows = self._rows(self._example(images=self._experiment.reads_images).observation, size)
    numbers = self._rows(np.zeros(1, np.int32), size)
    key = self._layout.shapes(lambda: jax.random.key_data(jax.random.key(0)))
    samples = self._config.actor.samples

    def lower() -> jax.stages.Lowered:
      with self._layout.traced():
        return action_bank.sample_rows.lower(policy, rows, numbers, key, samples=samples)

    given = held((params, rows, numbers, key))
    kept = self._kept(without=updates.IDLE if self._apart else ())
    if self._apart:
      kept['average'] = held(params)
    return self._sweep(f'bank, M = {samples}', size, lower, rows, given, kept)

  def _asked(self) -> Any:
    """Where the parameters lie that a bank is drawn from, in the types that they are read in."""
    acting, observation = self.state.acting, self._example(images=self._experiment.reads_images)

    def rounded(params: Any) -> Any:
      policy = self._experiment.policy(params, self._inputs, None, None)
      return policy.rounded(observation.observation).params

    return self._layout.shapes(rounded, acting)

  def features(self) -> Program:
    """The sweep that makes features of every image."""
    encoder: Any = self._experiment.encoder
    size = datasets.STEPS * self._hosts
    edge = encoder.image_size or self._config.sim.image_size
    image = np.zeros((1, edge, edge, 3), np.uint8)
    images = self._rows(dict.fromkeys(types.CAMERAS, image), size)
    masks = self._rows(dict.fromkeys(types.CAMERAS, np.ones(1, bool)), size)

    def lower() -> jax.stages.Lowered:
      with self._layout.traced():
        return experiment_lib.encode_rows.lower(encoder, self._encoder, images, masks)

    given = held((self._encoder, images, masks))
    return self._sweep('features', size, lower, images, given, self._kept())

  def _example(self, *, images: bool) -> types.ActorBatch:
    example = self._experiment.example()
    masks = dict.fromkeys(types.CAMERAS, np.ones(1, bool)) if images else None
    shown = example.observation.images if images else None
    return example.replace(observation=example.observation.replace(images=shown, image_masks=masks))

  def _update(
    self, name: str, count: int, size: int, *batches: Any, state: TrainState | None = None
  ) -> Program:
    state = state or self.state

    def lower() -> jax.stages.Lowered:
      return self._layout.lower(self._learner.train_step, state, *batches)

    batch = sum(_bytes(x, x.shape) for x in jax.tree.leaves(batches)) / self._devices
    # This call's batches, and those that are read ahead.
    kept = self._kept() | {'batches': (1 + updates.PREFETCH) * batch}
    return Program(name, size, count, lower, kept, held(state) + batch)

  def _sweep(
    self,
    name: str,
    size: int,
    lower: Callable[[], Any],
    rows: Any,
    given: float,
    kept: dict[str, float],
  ) -> Program:
    return Program(name, size, 1, lower, kept | {'batches': held(rows)}, given)

  def _rows(self, example: Any, size: int) -> Any:
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype),
      example,
    )
    return self._layout.row_shapes(shapes)


def _batches(example: Any, count: int, size: int) -> Any:
  """Shapes [n, B, ...] of batches like one of a single row."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, size, *x.shape[1:]), x.dtype), example)


def _bytes(x: Any, shape: Sequence[int]) -> float:
  return float(math.prod(shape) * np.dtype(x.dtype).itemsize)
