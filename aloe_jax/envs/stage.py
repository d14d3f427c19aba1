"""One simulated robot, step by step: what a robot's program has before it, with nobody's hardware.

Rollouts play many episodes in one program; here each step is taken when it is told to, so that a
program outside may keep the time.
"""

from collections.abc import Mapping
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_scene
from aloe_jax.envs import human as human_lib
from aloe_jax.envs import simulation
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_rollout


class Stage(Protocol):
  """One environment, and a scripted human beside it.

  Attributes:
    has_human: whether somebody is there.
    limit: steps after which a fragment times out.
  """

  has_human: bool
  limit: int

  def begin(self, seed: int) -> types.Sight:
    """A new scene, with a new human; what is seen of it."""

  def step(self, action: np.ndarray) -> tuple[types.Sight, types.EndReason]:
    """Carries an action [A] out; what is seen then, and whether that was the end."""

  def executed(self, action: np.ndarray) -> np.ndarray:
    """What the robot makes of a command [A]."""

  def human_action(self) -> np.ndarray:
    """What the human would do now, [A]."""

  def still(self) -> np.ndarray:
    """The action [A] that keeps the robot where it is, with what it holds."""

  def alarmed(self) -> bool:
    """Whether the human reaches for the controls; after each step of the policy."""

  def take_over(self) -> None:
    """Begins the human's fragment: its time starts anew."""


class TableTopStage:
  """The embedded simulator.

  Args:
    setup: of rollouts, whose simulator and way of seeing count.
  """

  has_human = True

  def __init__(self, setup: tabletop_rollout.Setup):
    self._setup = setup
    self.limit = setup.sim.task.max_steps
    self._see = jax.jit(setup.see)
    self._reset = jax.jit(setup.sim.reset)
    self._step = jax.jit(setup.sim.step)
    person = functools.partial(human_lib.init, style=setup.style, mode=setup.mode)
    self._human = jax.jit(functools.partial(person, sim=setup.sim))
    self._act = jax.jit(human_lib.act)
    self._danger = jax.jit(human_lib.danger)

  def begin(self, seed: int) -> types.Sight:
    scene, person, self._key = jax.random.split(jax.random.key(seed), 3)
    self._state = self._reset(scene)
    self._person = self._human(person)
    return self._sight()

  def step(self, action: np.ndarray) -> tuple[types.Sight, types.EndReason]:
    self._key, key = jax.random.split(self._key)
    self._state = self._step(self._state, self.executed(action), key)
    return self._sight(), types.EndReason(int(self._state.end_reason))

  def executed(self, action: np.ndarray) -> np.ndarray:
    return np.asarray(tabletop.executed(np.float32(action)))

  def human_action(self) -> np.ndarray:
    self._key, key = jax.random.split(self._key)
    action, self._person = self._act(self._state, self._person, key)
    return self.executed(np.asarray(action))

  def still(self) -> np.ndarray:
    action = np.zeros((2, 7), np.float32)
    action[:, 6] = np.where(np.asarray(self._state.gripper) >= 0.5, 1.0, -1.0)
    return action.reshape(-1)

  def alarmed(self) -> bool:
    return bool(self._danger(self._state))

  def take_over(self) -> None:
    self._state = self._state.replace(t=jnp.zeros_like(self._state.t))

  def _sight(self) -> types.Sight:
    return jax.tree.map(np.asarray, self._see(self._state))


class GymnasiumStage:
  """One Gymnasium environment.

  Args:
    setup: of rollouts, whose task and limit count.
  """

  def __init__(self, setup: gymnasium_rollout.Setup):
    self._setup = setup
    (env,) = setup.task.environments(1)
    self._scene = gymnasium_scene.Scene(setup.task, env)
    self.has_human = setup.task.has_human
    self.limit = setup.limit

  def begin(self, seed: int) -> types.Sight:
    self._scene.begin(seed, has_human=self.has_human)
    self._steps = 0
    return self._scene.sight

  def step(self, action: np.ndarray) -> tuple[types.Sight, types.EndReason]:
    self._steps += 1
    executed = self.executed(action)
    end_reason, _ = self._scene.step(executed, is_last=self._steps >= self.limit)
    return self._scene.sight, end_reason

  def executed(self, action: np.ndarray) -> np.ndarray:
    return self._scene.executed(action)

  def human_action(self) -> np.ndarray:
    return self._scene.human_action()

  def still(self) -> np.ndarray:
    return self.executed(np.zeros(self._setup.task.spaces.action_size, np.float32))

  def alarmed(self) -> bool:
    return self._scene.has_human and self._scene.alarmed()

  def take_over(self) -> None:
    self._steps = 0


def make(setup: simulation.Simulation) -> Stage:
  """The stage of a world's rollouts, see `worlds.World.simulation`."""
  if isinstance(setup, tabletop_rollout.Setup):
    return TableTopStage(setup)
  assert isinstance(setup, gymnasium_rollout.Setup)
  return GymnasiumStage(setup)


def request(sight: types.Sight) -> Mapping[str, Any]:
  """What a robot's program sends of what it sees, with the keys of `--robot=aloe`."""
  shown: dict[str, Any] = {'state': np.asarray(sight.state)}
  if sight.images is not None:
    masks = sight.image_masks or {}
    shown['images'] = {
      camera: np.asarray(image) for camera, image in sight.images.items() if masks.get(camera, True)
    }
  else:
    shown['features'] = np.asarray(sight.features)
  return shown
