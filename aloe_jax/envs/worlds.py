"""Where a config's episodes are played: on the embedded table top, or in Gymnasium environments."""

from collections.abc import Callable
import re
from typing import Any, Protocol

import jax
import ml_collections

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
from aloe_jax.preprocessing import images as images_lib


class World(Protocol):
  """A simulated task.

  Attributes:
    name: what its episodes are called on disk, an identifier.
    feature_shape: (V, F) of what is seen of a state without an encoder.
  """

  name: str
  feature_shape: tuple[int, ...]

  @property
  def render(self) -> Callable[[Any], dict[str, jax.Array]] | None:
    """Draws one state, {camera: [H, W, 3] uint8}; None where nothing is drawn."""

  def see(self, encoder_params: Any) -> simulation.See:
    """What a policy sees of one state.

    Args:
      encoder_params: of the frozen encoder, where its features are what the actor reads.
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
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    encoder: encoder_lib.Encoder | None,
    reads_images: bool,
  ):
    self.name = config.sim.task
    self.feature_shape: tuple[int, ...] = tabletop_sight.FEATURE_SHAPE
    self._config = config
    self._encoder = encoder
    self._reads_images = reads_images

  def render(self, state: tabletop_state.State) -> dict[str, jax.Array]:
    """The cameras' images of one state."""
    return render.render(state, self._config.sim.image_size)

  def see(self, encoder_params: Any) -> simulation.See:
    """See `World`."""
    if self._reads_images:
      return self._see_images
    if self._encoder is None:
      return tabletop_sight.see
    encoder = self._encoder

    def encode(state: tabletop_state.State) -> types.Sight:
      features = encoder_lib.encode_cameras(encoder, encoder_params, self.render(state))
      return types.Sight(tabletop_sight.see(state).state, features)

    return encode

  def _see_images(self, state: tabletop_state.State) -> types.Sight:
    size = self._config.actor.image_size
    drawn = {
      camera: images_lib.resize_with_pad_on_device(image, size)
      for camera, image in self.render(state).items()
    }
    return types.Sight(tabletop_sight.see(state).state, images=drawn)

  def simulation(
    self, see: simulation.See, *, unseen: bool = False, disturb: bool = False, **human: Any
  ) -> tabletop_rollout.Setup:
    """See `World`."""
    sim = tabletop.Simulator(tasks.TASKS[self.name], unseen=unseen, disturb=disturb)
    return tabletop_rollout.Setup(sim, see, self._config.task.execute, **human)


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
    for field in ('action_size', 'proprio_size'):
      found, wanted = config.task[field], getattr(self._task.spaces, field)
      if found != wanted:
        raise ValueError(
          f'config.task.{field} is {found}, but {config.sim.task} has {wanted} numbers; give '
          f'--config.task.{field}={wanted}.'
        )

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
    return gymnasium_rollout.Setup(self._task, see, settings.execute, settings.max_steps, **human)


def make(
  config: ml_collections.ConfigDict, encoder: encoder_lib.Encoder | None, reads_images: bool
) -> World:
  """The world of a config; see `TableTop` for the arguments."""
  if ':' in config.sim.task:
    return Gymnasium(config)
  return TableTop(config, encoder, reads_images)
