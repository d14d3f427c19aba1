"""Gymnasium environments whose every number can be worked out by hand; see gymnasium_test.

Something stands at x in [4, 8) and moves by its action. It is done at 0, and fails beyond 10.
"""

import gymnasium
from gymnasium import spaces
import numpy as np

SPEEDS = (1.0, 2.0)  # metres per step of the two kinds of people


class Line(gymnasium.Env):
  """Nobody is there."""

  observation_space = spaces.Dict(
    proprio=spaces.Box(-np.inf, np.inf, (1,)), room=spaces.Box(-10.0, 30.0, (1,))
  )
  action_space = spaces.Box(-2.0, 2.0, (1,))

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.x = self.np_random.uniform(4.0, 8.0)
    return self.observation(), {}

  def step(self, action):
    self.x += float(action[0])
    success, failed = abs(self.x) < 1.0, self.x > 10.0
    return self.observation(), 0.0, success or failed, False, {'success': success}

  def observation(self):
    x = np.array([self.x], np.float32)
    return {'proprio': x, 'room': 10.0 - x}


class Watched(Line):
  """Somebody demonstrates and takes over, but cannot undo a failure."""

  def make_human(self, rng):
    return Human(rng.choice(SPEEDS))


class Rescued(Watched):
  """After a failure somebody puts it back to 8."""

  def recover(self):
    self.x = 8.0
    return self.observation(), {}


class Human:
  """Walks to 0 at its own speed; alarmed where x is beyond 9."""

  def __init__(self, speed):
    self.speed = speed

  def act(self, observation, info):
    return np.clip(-observation['proprio'], -self.speed, self.speed)

  def alarmed(self, observation, info):
    return bool(observation['proprio'][0] > 9.0)


class Far(Watched):
  """Actions are in 1/40 of a metre."""

  action_space = spaces.Box(-80.0, 80.0, (1,))

  def step(self, action):
    return super().step(action / 40)

  def make_human(self, rng):
    return FarHuman(rng.choice(SPEEDS))


class FarHuman(Human):
  """The same one, in that unit."""

  def act(self, observation, info):
    return 40 * super().act(observation, info)


for kind in (Line, Watched, Rescued, Far):
  gymnasium.register(f'{kind.__name__}-v0', kind)
