"""Gymnasium environments that do what they should not, each one thing; see gymnasium_odd_test.

Two joints stay where they are for three steps, and then the task is done.
"""

import multiprocessing
import os
import pathlib
import signal
import threading
import time

import gymnasium
from gymnasium import spaces
import numpy as np

STEPS = 3


class Odd(gymnasium.Env):
  """Does everything right."""

  observation_space = spaces.Dict(
    proprio=spaces.Box(-1.0, 1.0, (2,)), room=spaces.Box(-1.0, np.inf, (1,))
  )
  action_space = spaces.Box(-1.0, 1.0, (2,))

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.steps = 0
    return self.observation(), {}

  def step(self, action):
    self.steps += 1
    is_done = self.steps == STEPS
    return self.observation(), self.reward(), is_done, False, self.info(is_done)

  def observation(self):
    return {'proprio': np.zeros(2, np.float32), 'room': np.zeros(1, np.float32)}

  def reward(self):
    return 1.0

  def info(self, is_done):
    return {'success': is_done}

  def make_human(self, rng):
    return Person()


class Person:
  """Stays where they are, and is never alarmed."""

  def act(self, observation, info):
    return [0.1, 0.2]

  def alarmed(self, observation, info):
    return False


def register(name, max_episode_steps=None, **parts):
  """An environment with some parts of its own, by name."""
  made = type(name, (Odd,), parts)
  gymnasium.register(f'{name}-v0', made, max_episode_steps=max_episode_steps)


def fails(kind, text):
  """A part that raises an error."""

  def part(*args, **options):
    raise kind(text)

  return part


def sees(**parts):
  """Observations of which some parts are others from the second step on."""

  def observation(self):
    seen = Odd.observation(self)
    return seen | parts if self.steps >= 2 else seen

  return dict(observation=observation)


def is_done(value):
  """Says by some value that the task is done, in the last step."""
  return dict(info=lambda self, is_done: {'success': value if is_done else False})


def pays(value):
  """Says by a reward alone whether the end is a success."""
  return dict(reward=lambda self: value, info=lambda self, is_done: {})


def every_other(self, is_done):
  """Says success at the end of every second episode."""
  self.ends = getattr(self, 'ends', 0) + is_done
  return {'success': True} if is_done and self.ends % 2 == 0 else {}


def begins_elsewhere(self, *, seed=None, options=None):
  """Begins every episode a little farther, whatever the seed."""
  seen, info = Odd.reset(self, seed=seed)
  self.begun = getattr(self, 'begun', 0) + 1
  return seen | {'room': np.float32([0.01 * self.begun])}, info


def beside(**parts):
  """Somebody of whom some parts are others."""
  return dict(make_human=lambda self, rng: type('Other', (Person,), parts)())


def acts(value):
  return beside(act=lambda self, observation, info: value)


def lacks_room(self):
  seen = Odd.observation(self)
  return seen if self.steps < 2 else {'proprio': seen['proprio'], 'rooms': seen['room']}


def ends(*values):
  """Returns some values in place of those of a step, the observation before them."""
  return dict(step=lambda self, action: (Odd.observation(self), *values))


register('Right')


def scales_in_place(self, action):
  action *= 0.0
  return Odd.step(self, action)


register('ScalesInPlace', step=scales_in_place)

register('SuccessIsText', **is_done('False'))
register('SuccessIsNan', **is_done(float('nan')))
register('SuccessIsNone', **is_done(None))
register('SuccessIsHalf', **is_done(0.5))
register('SuccessIsTwo', **is_done(np.array([True, True])))
register('SuccessIsOne', **is_done(np.array([1])))
register('SuccessIsZero', **is_done(np.float32(0.0)))

register('RewardIsNan', **pays(float('nan')))
register('RewardIsNone', **pays(None))
register('RewardIsTwo', **pays(np.ones(2)))
register('RewardIsText', **pays('1.0'))
register('RewardIsArray', **pays(np.ones(1)))

register('TwoSigns', info=lambda self, is_done: {'success': is_done, 'is_success': False})
register('TwoEqualSigns', info=lambda self, is_done: {'success': is_done, 'is_success': is_done})
register('SignUpToTheEnd', info=lambda self, is_done: {} if is_done else {'success': False})
register('SignOfSome', info=every_other)
register('OtherName', info=lambda self, is_done: {'Success': is_done, 3: 4})
register('Fallen', **pays(1.0))
register('Lost', **pays(-0.5))

register('SeesNan', **sees(room=np.float32([np.nan])))
register('SeesInfinity', **sees(proprio=np.float32([0.0, -np.inf])))
register('SeesMoreThanFloat32', **sees(room=np.array([1e300])))
register('SeesText', **sees(room=['far']))
register('SeesNothing', **sees(room=None))
register('SeesMore', **sees(proprio=np.zeros(3)))
register('SeesAside', **sees(proprio=np.zeros((1, 2))))
register('LacksRoom', observation=lacks_room)
register('SeesAList', observation=lambda self: [0.0, 0.0, 0.0])
register('SeesFar', **sees(proprio=np.float32([0.0, 1e9])))
register('SeesRounded', **sees(proprio=np.float32([-1.0005, 1.0005]), room=np.float32([-1.0005])))
register('SeesLists', **sees(proprio=[0.5, 0.5], room=[7]))
register(
  'SeesNoSuchChoice',
  observation_space=spaces.Dict(choice=spaces.Discrete(3)),
  observation=lambda self: {'choice': -1},
)

register('StepOfFour', **ends(0.0, False, {}))
register('StepWithoutInfo', **ends(0.0, False, False, None))
register('StepOfNothing', step=lambda self, action: None)
register('TerminatedIsText', **ends(0.0, 'False', False, {}))
register('BeginsElsewhere', reset=begins_elsewhere)
register('ResetWithoutInfo', reset=lambda self, *, seed=None, options=None: Odd.observation(self))
register(
  'RecoverOfNothing',
  step=lambda self, action: (Odd.observation(self), 0.0, True, False, {}),
  recover=lambda self: None,
)

register('MakingFails', __init__=fails(OSError, 'no display :0'))
register('ResetFails', reset=fails(OSError, 'no display :0'))
register('StepFails', step=fails(KeyError, 'gripper'))
register('MakingExits', __init__=fails(SystemExit, 0))
register('ResetExits', reset=fails(SystemExit, 0))
register('StepExits', step=fails(SystemExit, 0))
register('HumanFails', make_human=fails(OSError, 'no joystick'))

register('Nobody', make_human=lambda self, rng: None)
register('NotAPerson', make_human=lambda self, rng: Odd())
register('ActsFar', **acts([0.5, 3.0]))
register('ActsRounded', **acts([0.5, 1.0015]))
register('ActsNothing', **acts(None))
register('ActsOne', **acts([0.1]))
register('ActsOneNumber', **acts(0.1))
register('ActsThree', **acts(np.zeros(3)))
register('ActsNan', **acts([0.1, np.nan]))
register('ActsText', **acts(['left', 'right']))
register('ActFails', **beside(act=fails(OSError, 'no joystick')))
register('AlarmedIsText', **beside(alarmed=lambda self, observation, info: 'no'))
register('AlarmFails', **beside(alarmed=fails(ZeroDivisionError, 'division by zero')))

register('Short', max_episode_steps=5, metadata={'render_modes': [], 'render_fps': 10})


def says(what):
  """Appends a line to the file that $ODD_SAID names: what, and the number of the process."""
  with pathlib.Path(os.environ['ODD_SAID']).open('a') as file:
    file.write(f'{what} {os.getpid()}\n')


def opens(env):
  """Starts a process, as a simulator may that is another program."""
  says('opened')
  env.child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(10_000,))
  env.child.start()
  with pathlib.Path(os.environ['ODD_SAID']).open('a') as file:
    file.write(f'child {env.child.pid}\n')


def closes(env):
  env.child.terminate()
  env.child.join()
  says('closed')


def hangs(env, action):
  says('hangs')
  threading.Event().wait()


def is_slow(env, action):
  time.sleep(2.0)
  return Odd.observation(env), 0.0, True, False, {}


def goes_on(env, action):
  says('steps')
  time.sleep(0.01)
  return Odd.observation(env), 0.0, False, False, {}


register('HasChild', __init__=opens, close=closes)
register('GoesOn', __init__=opens, close=closes, step=goes_on)
register('GoesOnAlone', close=lambda self: says('closed'), step=goes_on)
register('Hangs', step=hangs)
register('StepIsSlow', step=is_slow)
register('HangsWithChild', __init__=opens, close=closes, step=hangs)
register('IsRefused', observation_space=None, close=lambda self: says('closed'))
register('CloseFails', close=fails(OSError, 'no gripper'))
register('CloseExits', close=fails(SystemExit, 0))
register('StepLeaves', step=lambda self, action: os._exit(0))


def is_killed(env, action):
  os.kill(os.getpid(), signal.SIGKILL)


register('StepIsKilled', step=is_killed)
register('IsKilledWithChild', __init__=opens, close=closes, step=is_killed)
register('StepCrashes', step=lambda self, action: os.kill(os.getpid(), signal.SIGSEGV))

register('NoActions', action_space=spaces.Box(-1.0, 1.0, (0,)))
register('NoObservations', observation_space=spaces.Dict())
register('EmptyObservations', observation_space=spaces.Box(-1.0, 1.0, (0,)))
register(
  'EmptyProprio',
  observation_space=spaces.Dict(
    proprio=spaces.Box(-1.0, 1.0, (0,)), room=spaces.Box(-1.0, 1.0, (1,))
  ),
)
SEEN = []  # ranges that instances were given


def draws_range(env):
  """Another room for every instance."""
  SEEN.append(len(SEEN) + 1.0)
  env.observation_space = spaces.Dict(
    proprio=spaces.Box(-1.0, 1.0, (2,)), room=spaces.Box(-1.0, SEEN[-1], (1,))
  )


def draws_reach(env, *, seed=None, options=None):
  """Another reach after every reset but the first."""
  found = Odd.reset(env, seed=seed)
  SEEN.append(env)
  if SEEN.count(env) > 1:
    env.action_space = spaces.Box(-2.0, 2.0, (2,))
  return found


def is_elsewhere(env):
  """Another reach in every process but the run's own."""
  if multiprocessing.parent_process():
    env.action_space = spaces.Box(-2.0, 2.0, (2,))


def is_ordered_elsewhere(env):
  """Another order of its parts in every process but the run's own."""
  parts = list(Odd.observation_space.spaces.items())
  if multiprocessing.parent_process():
    parts.reverse()
  env.observation_space = spaces.Dict(parts)


def space_fails(env):
  raise RuntimeError('call reset first')


def swaps_space(env, *, seed=None, options=None):
  env.action_space = spaces.Discrete(4)
  return Odd.reset(env, seed=seed)


register('DrawsRange', __init__=draws_range)
register('DrawsReach', reset=draws_reach)
register('IsElsewhere', __init__=is_elsewhere)
register('IsOrderedElsewhere', __init__=is_ordered_elsewhere)
register('SpaceFails', observation_space=property(space_fails))
register('SwapsSpace', reset=swaps_space)
register('SpacesAreNone', observation_space=None)
