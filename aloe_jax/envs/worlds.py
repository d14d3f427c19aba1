"""Where a config's episodes are played: on the embedded table top, or in Gymnasium environments."""

from collections.abc import Callable
import re
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import render
from aloe_jax.envs import simulation
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_rollout
from aloe_jax.envs import tabletop_sight
from aloe_jax.envs import tabletop_state
from aloe_jax.envs import tasks
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.parallel import sharding
from aloe_jax.preprocessing import images as images_lib

_RATE = 30.0  # steps a second that pass for a simulated robot, unless the config says others


class World(Protocol):
  """A simulated task.

  Attributes:
    name: what its episodes are called on disk, an identifier.
    feature_shape: (V, F) of what is seen of a state without an encoder.
    robot: {field of `config.task`: its value} of the robot in it: `action_size`, `proprio_size`,
      `cameras` and `control_hz`; empty of a world in which nothing is played.
    action_kind: whether its actions are a position or a velocity; empty where it does not tell.
    action_limits: lowest and highest action [A] that its robot carries out; None if nothing is
      played.
    ranges: what an environment declares of each number, see `gymnasium_numbers.declared`; empty of
      a world whose numbers are always the same.
  """

  name: str
  feature_shape: tuple[int, ...]
  robot: dict[str, Any]
  action_kind: str
  action_limits: tuple[np.ndarray, np.ndarray] | None
  ranges: dict[str, Any]

  @property
  def render(self) -> Callable[[Any], dict[str, jax.Array]] | None:
    """Draws one state, {camera: [H, W, 3] uint8}; None where nothing is drawn."""

  def see(self, encoder_params: Any) -> simulation.See:
    """What a policy sees of one state.

    Args:
      encoder_params: of the frozen encoder, where its features are what the actor reads; None
        before there is one, when nobody reads any.
    """

  def simulation(
    self, see: simulation.See, *, unseen: bool = False, disturb: bool = False, **human: Any
  ) -> simulation.Simulation:
    """The task with somebody beside it or not.

    Args:
      see: from `see`.
      unseen, disturb: see `tabletop.Simulator`.
      human: as in the `Setup` of `rollout` or `gymnasium_rollout`.

    Raises:
      ValueError: the world has no such scenes, or nobody to demonstrate.
    """


class TableTop:
  """The embedded simulator; of a robot's config, which names no task, nothing is played.

  Args:
    config: of the experiment.
    encoder: whose features of the cameras the actor reads, or None.
    reads_images: whether the actor reads the cameras' images themselves.
    layout: of the policy's parameters, where hosts share the episodes.

  Raises:
    ValueError: the config is of another robot than stands at this table.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    encoder: encoder_lib.Encoder | None,
    reads_images: bool,
    layout: sharding.Layout | None = None,
  ):
    self.name = config.sim.task
    self.feature_shape: tuple[int, ...] = tabletop_sight.FEATURE_SHAPE
    self.robot: dict[str, Any] = {}
    self.action_kind = 'velocity' if self.name else ''  # it moves the robot from where it is
    self.action_limits: tuple[np.ndarray, np.ndarray] | None = None
    self.ranges: dict[str, Any] = {}
    self._config = config
    self._encoder = encoder
    self._reads_images = reads_images
    self._layout = layout
    # A run of an earlier version keeps its state of 32 numbers: ours, and zeros.
    self._zeros = 0
    if self.name:
      self.robot = dict(
        action_size=tabletop.ACTION_SIZE,
        proprio_size=tabletop_sight.STATE_SIZE,
        cameras=types.CAMERAS,
        control_hz=_RATE,
      )
      if config.task.proprio_size == types.PROPRIO_SIZE:
        self.robot['proprio_size'] = types.PROPRIO_SIZE
        self._zeros = types.PROPRIO_SIZE - tabletop_sight.STATE_SIZE
      _check_robot(config, self.robot)
      highest = np.ones(tabletop.ACTION_SIZE, np.float32)
      self.action_limits = -highest, highest

  def render(self, state: tabletop_state.State) -> dict[str, jax.Array]:
    """The cameras' images of one state."""
    return render.render(state, self._config.sim.image_size)

  def see(self, encoder_params: Any) -> simulation.See:
    """See `World`."""
    if self._reads_images:
      return self._see_images
    if self._encoder is None:
      return self._see_blocks if self._zeros else tabletop_sight.see
    encoder = self._encoder
    if encoder_params is None:
      return lambda state: types.Sight(self._see_blocks(state).state)

    def encode(state: tabletop_state.State) -> types.Sight:
      images, masks = self.render(state), self._masks()
      features = encoder_lib.encode_cameras(encoder, encoder_params, images, masks)
      return types.Sight(self._see_blocks(state).state, features)

    return encode

  def _see_blocks(self, state: tabletop_state.State) -> types.Sight:
    sight = tabletop_sight.see(state)
    return sight.replace(state=jnp.pad(jnp.asarray(sight.state), (0, self._zeros)))

  def _masks(self) -> dict[str, jax.Array] | None:
    """Which cameras a policy looks through; None for all."""
    cameras = self._config.task.cameras
    if len(cameras) == len(types.CAMERAS):
      return None
    return {camera: jnp.asarray(camera in cameras) for camera in types.CAMERAS}

  def see_images(self, state: tabletop_state.State) -> types.Sight:
    """The robot's state and what its cameras show, as they are, whatever the policy reads."""
    return types.Sight(
      self._see_blocks(state).state, images=dict(self.render(state)), image_masks=self._masks()
    )

  def _see_images(self, state: tabletop_state.State) -> types.Sight:
    size = self._config.actor.image_size
    drawn = {
      camera: images_lib.resize_with_pad_on_device(image, size)
      for camera, image in self.render(state).items()
    }
    return types.Sight(self._see_blocks(state).state, images=drawn, image_masks=self._masks())

  def simulation(
    self, see: simulation.See, *, unseen: bool = False, disturb: bool = False, **human: Any
  ) -> tabletop_rollout.Setup:
    """See `World`."""
    sim = tabletop.Simulator(tasks.TASKS[self.name], unseen=unseen, disturb=disturb)
    execute = self._config.task.execute
    return tabletop_rollout.Setup(sim, see, execute, layout=self._layout, **human)


class Gymnasium:
  """Gymnasium environments; their images are neither read nor recorded.

  Args:
    config: of the experiment.

  Raises:
    ValueError: the environments have other sizes than the config says.
  """

  render = None

  def __init__(self, config: ml_collections.ConfigDict):
    self._config = config
    self._task = gymnasium_task.Task(config.sim.task)
    self.name = re.sub(r'\W+', '_', config.sim.task)
    self.feature_shape: tuple[int, ...] = self._task.spaces.feature_shape
    # OGBench's commands are changes of the arm's place; other environments do not tell.
    self.action_kind = 'velocity' if config.sim.task.startswith('ogbench:') else ''
    spaces = self._task.spaces
    self.robot: dict[str, Any] = dict(
      action_size=spaces.action_size,
      proprio_size=spaces.proprio_size,
      cameras=types.CAMERAS,
      control_hz=_RATE,
    )
    self.action_limits: tuple[np.ndarray, np.ndarray] | None = spaces.action_limits
    self.ranges = spaces.ranges
    _check_robot(config, self.robot)
    self._task.compare(max_steps=config.task.max_steps, control_hz=config.task.control_hz or _RATE)

  def see(self, encoder_params: Any) -> simulation.See:
    """See `World`; there is no encoder."""
    del encoder_params
    return self._task.spaces.sight

  def simulation(
    self, see: simulation.See, *, unseen: bool = False, disturb: bool = False, **human: Any
  ) -> gymnasium_rollout.Setup:
    """See `World`."""
    settings = self._config.task
    if unseen or disturb:
      raise ValueError(
        f'{self._config.sim.task} has no unseen scenes and no disturbances; the tasks of the '
        'embedded simulator have.'
      )
    del see  # there is one way to see
    return gymnasium_rollout.Setup(
      self._task,
      settings.execute,
      settings.max_steps,
      processes=self._config.sim.processes,
      **human,
    )


def _check_robot(config: ml_collections.ConfigDict, there: dict[str, Any]) -> None:
  """Raises ValueError where a config says other sizes than the robot of its world has."""
  for field in ('action_size', 'proprio_size'):
    found, wanted = config.task[field], there[field]
    if found not in (0, wanted):
      raise ValueError(
        f'config.task.{field} is {found}, but {config.sim.task} has {wanted} numbers; leave it '
        f'out, or give --config.task.{field}={wanted}.'
      )


def make(
  config: ml_collections.ConfigDict,
  encoder: encoder_lib.Encoder | None,
  reads_images: bool,
  layout: sharding.Layout | None = None,
) -> World:
  """The world of a config; see `TableTop` for the arguments."""
  if ':' in config.sim.task:
    return Gymnasium(config)
  return TableTop(config, encoder, reads_images, layout)
