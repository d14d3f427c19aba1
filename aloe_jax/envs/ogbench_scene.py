"""OGBench's scene (Park et al., 2025) in MuJoCo: a cube, a drawer, a window and two buttons.

One thing is asked for: the cube at its target, or the drawer or the window opened or shut. A
drawer or window may be locked; its button unlocks it, and locks it when pressed again. Scenes and
the success rule are OGBench's own for recording data; added are the goal in sight, when an attempt
has failed, and a human. A button is never asked for alone, which would be done in 20 steps.

The human is one of OGBench's scripted solutions at the hands of people of two kinds, see `people`;
where what is asked for is locked, they first press the button.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import spaces
import numpy as np
from ogbench.manipspace.oracles.markov import button_markov
from ogbench.manipspace.oracles.markov import cube_markov
from ogbench.manipspace.oracles.markov import drawer_markov
from ogbench.manipspace.oracles.markov import window_markov

from aloe_jax.envs import drops
from aloe_jax.envs import ogbench_cube
from aloe_jax.envs import people
from aloe_jax.envs import ways

PROPRIO = ogbench_cube.PROPRIO
KINDS = ('cube', 'button', 'drawer', 'window')
SCRIPTS = (
  cube_markov.CubeMarkovOracle,
  button_markov.ButtonMarkovOracle,
  drawer_markov.DrawerMarkovOracle,
  window_markov.WindowMarkovOracle,
)
LOCKS = dict(drawer=0, window=1)  # the button of each
ALIKE = dict(cube=4, button=0, drawer=2, window=2)  # turns after which each looks the same
PRESSED = 0.022  # metres below its top at which a button is pressed
GOAL = 16 + len(KINDS)  # numbers that `_goal` gives

LOCKED = 1.0  # metres that a lock still has to be opened counts for


class SceneTask(gymnasium.Wrapper):
  """Shows the goal, ends failed attempts, and brings a human along.

  Args:
    env: OGBench's, recording data.
  """

  def __init__(self, env: gymnasium.Env):
    super().__init__(env)
    (size,) = env.observation_space.shape or (0,)
    self.action_space = spaces.Box(-1.0, 1.0, (5,))
    self.observation_space = spaces.Dict(
      proprio=spaces.Box(-np.inf, np.inf, (PROPRIO,), np.float64),
      objects=spaces.Box(-np.inf, np.inf, (size - PROPRIO,), np.float64),
      goal=spaces.Box(-1.0, 1.0, (GOAL,), np.float64),
    )

  def reset(
    self, *, seed: int | None = None, options: dict[str, Any] | None = None
  ) -> tuple[Any, dict[str, Any]]:
    observation, info = self.env.reset(seed=seed, options=options)
    while not _is_asked_for(info):
      observation, info = self.unwrapped.set_new_target()
    self._begin()
    return self._show(observation, info)

  def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    observation, reward, terminated, truncated, info = self.env.step(action)
    cube = info['privileged/block_0_pos']
    dropped = self._carried.is_dropped(cube, info['proprio/effector_pos'])
    lost = (cube < ogbench_cube.REACH[0]).any() or (cube > ogbench_cube.REACH[1]).any()
    if info['privileged/target_task'] == 'cube':
      terminated |= bool(dropped or lost)
    observation, info = self._show(observation, info)
    return observation, reward, terminated, truncated, info

  def recover(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """After a drop the cube lies where it fell, and can be picked up again."""
    self._begin()
    return self._last

  def make_human(self, rng: np.random.Generator) -> 'Human':
    """Somebody of one of the two kinds, for one episode."""
    return Human(self.env, rng)

  def _begin(self) -> None:
    self._carried = drops.Carried(ogbench_cube.LIFTED, ogbench_cube.LOST)

  def _told(self, info: dict[str, Any]) -> dict[str, Any]:
    """What OGBench tells of a scene, and of what has to be done next in it.

    Where what is asked for is locked, that is its button.
    """
    told = info | dict(now=info['privileged/target_task'])
    lock = LOCKS.get(told['now'])
    if lock is not None and not info['button_states'][lock]:
      scene = self.unwrapped
      top = scene._button_site_ids[lock]
      told |= {
        'now': 'button',
        'privileged/target_button': lock,
        'privileged/target_button_state': 1,
        'privileged/target_button_top_pos': scene.data.site_xpos[top].copy(),
      }
    return told

  def _show(
    self, observation: np.ndarray, info: dict[str, Any]
  ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    told = self._told(info)
    arm, objects = np.split(observation, [PROPRIO])
    self._last = dict(proprio=arm, objects=objects, goal=_goal(told)), told
    return self._last


class Human:
  """OGBench's scripts, seeing what they reach for a little beside where it is.

  Args:
    env: OGBench's environment.
    rng: what this person is like.
  """

  def __init__(self, env: gymnasium.Env, rng: np.random.Generator):
    careful = people.is_careful(rng)
    self._rng, self._noise = rng, ogbench_cube.ACTION_NOISE[careful]
    self._aim = np.append(
      people.beside(rng, ogbench_cube.AIM[careful]), ogbench_cube.HEIGHT[careful]
    )
    slowest = ogbench_cube.SLOWEST[careful]
    self._scripts = {
      kind: make(env=env, min_norm=slowest) for kind, make in zip(KINDS, SCRIPTS, strict=True)
    }
    for script in self._scripts.values():
      script.reset(None, None)  # draws where it rests once all is done
    self._patience = people.Patience(ogbench_cube.PATIENCE, ogbench_cube.PROGRESS)

  def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
    """The action [5] of the script for the scene as this person sees it."""
    places = {
      'cube': ('privileged/block_0_pos', 'privileged/target_block_pos'),
      'button': ('privileged/target_button_top_pos',),
      'drawer': ('privileged/drawer_handle_pos', 'privileged/target_drawer_handle_pos'),
      'window': ('privileged/window_handle_pos', 'privileged/target_window_handle_pos'),
    }[info['now']]
    seen = info | {place: info[place] + self._aim for place in places}
    action = self._scripts[info['now']].select_action(observation, seen)
    action[:4] += self._noise * self._rng.standard_normal(4)
    return np.clip(action, -1.0, 1.0)

  def alarmed(self, observation: Any, info: dict[str, Any]) -> bool:
    """Whether what is asked for has come no nearer for a while."""
    thing, end = _ends(info)
    left = np.linalg.norm(thing - info['proprio/effector_pos']) + np.linalg.norm(end - thing)
    locked = info['now'] != info['privileged/target_task']
    return self._patience.is_lost(float(left + LOCKED * locked))


def _is_asked_for(info: dict[str, Any]) -> bool:
  """Whether what OGBench has drawn is something to learn."""
  kind = info['privileged/target_task']
  thing, end = _ends(info | dict(now=kind))
  return kind != 'button' and np.linalg.norm(end - thing) >= ogbench_cube.AT_LEAST * (
    kind == 'cube'
  )


def _ends(info: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
  """[3] where the thing is that is to be moved next, and where it is to go."""
  now = info['now']
  if now == 'cube':
    return info['privileged/block_0_pos'], info['privileged/target_block_pos']
  if now == 'button':
    top = info['privileged/target_button_top_pos']
    return top, top - np.array([0.0, 0.0, PRESSED])
  return info[f'privileged/{now}_handle_pos'], info[f'privileged/target_{now}_handle_pos']


def _goal(info: Mapping[str, Any]) -> np.ndarray:
  """[20] in [-1, 1]: ways from gripper to thing to its end, turns against both, and which it is."""
  thing, end = _ends(info)
  now = info['now']
  yaws = dict(
    cube=('privileged/block_0_yaw', 'privileged/target_block_yaw'),
    drawer=('privileged/drawer_handle_yaw',) * 2,
    window=('privileged/window_handle_yaw',) * 2,
  ).get(now, ('proprio/effector_yaw',) * 2)
  yaw = np.concatenate([info[name] for name in yaws])
  turn = ALIKE[now] * (yaw - info['proprio/effector_yaw'])
  shown = ways.shown(thing - info['proprio/effector_pos'], end - thing)
  return np.concatenate([shown, np.cos(turn), np.sin(turn), np.eye(len(KINDS))[KINDS.index(now)]])
