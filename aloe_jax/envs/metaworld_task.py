"""Meta-World's tasks (McLean et al., 2025) in MuJoCo, with somebody to learn from.

A Sawyer arm pushes, opens, carries or inserts something. Scenes and the success rule are
Meta-World's own, with a new scene for every episode; added are the goal in sight, when an attempt
has failed, and a human.

The human is Meta-World's scripted policy of the task at the hands of people of two kinds, see
`people`. The script is a function of what it sees, and goes on from there, once the fingers are
open; where it stands and waits for what will never come, its time runs out.
"""

import os
from typing import Any
import warnings

os.environ.setdefault('MUJOCO_GL', 'disable')  # nothing is drawn, and there may be no screen

import gymnasium
from gymnasium import spaces
from metaworld import env_dict
from metaworld import policies
import numpy as np

from aloe_jax.envs import drops
from aloe_jax.envs import people
from aloe_jax.envs import ways

# Of Meta-World's observation [39]: hand and gripper, things and their turns, the goal.
HAND, THINGS, GOAL = slice(0, 4), slice(4, 18), slice(36, 39)
OPENING = 3  # where the opening of the gripper is, from 0 to 1
THING = slice(4, 7)  # where the thing is that is reached for
WAYS = 12  # numbers of `_ways`

LIFTED = 0.05  # metres above where it began from which a thing can be dropped
LOST = 0.1  # metres from the hand at which it is no longer held
STILL = 0.004  # metres a step at which what was let go of has come to rest
BEYOND = 0.1  # metres outside of where the hand can go from where nothing comes back

AIM = (0.012, 0.0)  # hasty, careful: metres beside the thing, all to one side
GRIP = (0.3, 1.0)  # hasty, careful: share of the script's force
OPEN = 0.9  # opening of a gripper that can go over a thing
EMPTY = 0.4  # opening below which there is nothing between its fingers
APART = 0.055  # metres from the hand beyond which a thing is not between them
ACTION_NOISE = (0.4, 0.05)  # hasty, careful: standard deviation, of commands in [-1, 1]

PATIENCE = 50  # steps without progress after which an operator takes over
PROGRESS = 0.05  # of Meta-World's own reward in [0, 10], which says how far along a task is


def make(name: str) -> gymnasium.Env:
  """A task such as 'pick-place-v3'.

  Raises:
    ValueError: Meta-World has no task of that name.
  """
  known = env_dict.ALL_V3_ENVIRONMENTS
  if name not in known:
    raise ValueError(f"config.sim.task is 'metaworld:{name}'; expected one of {', '.join(known)}.")
  env = known[name]()
  # A new scene for every episode, drawn by its seed, and the goal in the observation.
  env._freeze_rand_vec, env.seeded_rand_vec = False, True
  env._partially_observable, env._set_task_called = False, True
  vars(env).pop('sawyer_observation_space', None)  # the bounds that it keeps are without the goal
  # The limit is the rollout's: a human goes on where the policy has run out of time.
  env.max_path_length = 2**31
  return Task(env, policies.ENV_POLICY_MAP[name]())


class Task(gymnasium.Wrapper):
  """Ends what is done and failed attempts, and brings a human along.

  Args:
    env: Meta-World's environment.
    script: Meta-World's policy for it.
  """

  def __init__(self, env: Any, script: Any):
    super().__init__(env)
    self._script = script
    self.action_space = spaces.Box(-1.0, 1.0, (4,))
    self.observation_space = spaces.Dict(
      proprio=spaces.Box(-np.inf, np.inf, (4,), np.float64),
      things=spaces.Box(-np.inf, np.inf, (14,), np.float64),
      goal=spaces.Box(-np.inf, np.inf, (3,), np.float64),
      ways=spaces.Box(-1.0, 1.0, (WAYS,), np.float64),
    )
    self._reach = env.mocap_low - BEYOND, env.mocap_high + BEYOND

  def reset(
    self, *, seed: int | None = None, options: dict[str, Any] | None = None
  ) -> tuple[Any, dict[str, Any]]:
    if seed is not None:
      self.unwrapped.seed(seed)
    seen, info = self.env.reset(options=options)
    self._begin(seen)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      self._reaches_open = self._script.get_action(seen)[3] <= 0
    self._last = _shown(seen), info | dict(seen=seen)
    return self._last

  def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    before = self._last[1]['seen'][THING]
    seen, reward, _, _, info = self.env.step(action)
    thing = seen[THING]
    moved = np.linalg.norm(thing - before)
    dropped = self._carried.is_dropped(thing, seen[:3]) and moved < STILL
    lost = (thing < self._reach[0]).any() or (thing > self._reach[1]).any()
    self._last = _shown(seen), info | dict(seen=seen)
    terminated = bool(info['success'] or dropped or lost)
    return self._last[0], reward, terminated, False, self._last[1]

  def recover(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What was dropped lies where it fell, and can be picked up again."""
    self._begin(self._last[1]['seen'])
    return self._last

  def make_human(self, rng: np.random.Generator) -> 'Human':
    """Somebody of one of the two kinds, for one episode."""
    return Human(self._script, self._reaches_open, rng)

  def _begin(self, seen: np.ndarray) -> None:
    self._carried = drops.Carried(seen[THING][2] + LIFTED, LOST)


class Human:
  """Meta-World's script, seeing the thing a little beside where it is, and not gripping as hard.

  Scripts count on open fingers over the thing, and many never open them: with closed ones they
  stand on it for ever. So whoever takes over with closed fingers and nothing between them lifts the
  hand and opens it first.

  Args:
    script: Meta-World's policy for the task.
    reaches_open: whether it reaches for the thing with open fingers; others push with a fist.
    rng: what this person is like.
  """

  def __init__(self, script: Any, reaches_open: bool, rng: np.random.Generator):
    careful = people.is_careful(rng)
    self._script, self._rng = script, rng
    self._reaches_open, self._lets_go = reaches_open, False
    self._noise, self._grip = ACTION_NOISE[careful], GRIP[careful]
    self._aim = np.array([AIM[careful], 0.0, 0.0])
    self._patience = people.Patience(PATIENCE, PROGRESS)

  def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
    """The script's action [4] for the scene as this person sees it."""
    seen = info['seen'].copy()
    seen[THING] += self._aim
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # that a command is beyond what the arm can do; it is clipped
      action = np.clip(self._script.get_action(seen), -1.0, 1.0)
    action[3] *= self._grip if action[3] > 0 else 1.0
    if self._reaches_open:
      self._open(info['seen'], action)
    action[:3] += self._noise * self._rng.standard_normal(3)
    return np.clip(action, -1.0, 1.0)

  def _open(self, seen: np.ndarray, action: np.ndarray) -> None:
    """Changes the script's action [4] where its fingers are to open first."""
    opening = seen[OPENING]
    is_apart = bool(np.linalg.norm(seen[THING] - seen[:3]) > APART)
    self._lets_go = is_apart and bool(opening < (OPEN if self._lets_go else EMPTY))
    if self._lets_go:
      action[:] = 0.0, 0.0, 1.0, -1.0
    elif opening < OPEN and action[3] <= 0:  # on the way there
      action[3] = -1.0

  def alarmed(self, observation: Any, info: dict[str, Any]) -> bool:
    """Whether the task has come no nearer to its end for a while."""
    return self._patience.is_lost(-float(info['unscaled_reward']))


def _shown(seen: np.ndarray) -> dict[str, np.ndarray]:
  hand, thing, goal = seen[:3], seen[THING], seen[GOAL]
  return dict(
    proprio=seen[HAND],
    things=seen[THINGS],
    goal=goal,
    ways=ways.shown(thing - hand, goal - thing),
  )
