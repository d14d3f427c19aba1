"""What the robot's own functions make of an action is looked at before it is sent."""

import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import episode_files
from aloe_client import motion

TOO_LARGE = 1e39  # in float32


def failing(numbers, wrong):
  """A function of actions that gives something else, or raises, the first times it is called so."""
  calls = iter(range(1000))

  def function(action):
    if next(calls) not in numbers:
      return action
    if isinstance(wrong, Exception):
      raise wrong
    return wrong

  return function


def episode(directory):
  (path,) = episode_files.finished(directory)
  return episode_files.read(path)


WRONG = [
  np.full(3, np.nan),
  np.full(3, TOO_LARGE),
  np.zeros(4),
  None,
  'far',
  RuntimeError('no way there'),
]


@pytest.mark.parametrize('name', ['to_robot', 'to_policy'])
@pytest.mark.parametrize('wrong', WRONG, ids=str)
def test_what_is_no_action_is_never_sent_and_the_robot_holds(name, wrong, tmp_path):
  functions = {'to_robot': lambda action: action, 'to_policy': lambda action: action}
  functions[name] = failing({6, 7}, wrong)  # the hold fails too
  if name == 'to_robot' and np.shape(wrong) == (3,) and np.isfinite(wrong).all():
    functions[name] = failing({6, 7}, np.full(3, np.inf))  # 1e39 may be a command
  recorder, clock, _ = robot_clock.recorder(tmp_path, max_step=0.1, **functions)
  sent = robot_clock.play(recorder, clock, 40)
  assert all(c is None or (np.isfinite(c).all() and np.shape(c) == (3,)) for c in sent)
  assert sent[7] is None and sent[-1] is not None  # sent[0] was None before the first chunk
  told = [event.text for event in recorder.events.recent() if event.kind == 'unsent']
  assert len(told) == 1 and told[0].startswith(('to_policy: ', f'{name}: '))
  recorder.end('success')
  recorder.close()
  found = episode(tmp_path)
  assert np.isfinite(found.column('executed')).all() and found.summary['exportable']
  assert len(found.steps) == sum(c is not None for c in sent)


def test_a_function_that_always_fails_sends_nothing_and_is_told_once(tmp_path):
  options = {'to_robot': lambda action: action * np.nan, 'to_policy': lambda action: action}
  recorder, clock, _ = robot_clock.recorder(tmp_path, **options)
  assert robot_clock.play(recorder, clock, 30) == [None] * 30
  assert [event.kind for event in recorder.events.recent()] == ['unsent']
  recorder.close()
  assert not episode_files.finished(tmp_path)


@pytest.mark.parametrize('wrong', [np.zeros(5), np.full(2, np.nan), ZeroDivisionError('by zero')])
@pytest.mark.parametrize('kind', ['position', 'velocity'])
def test_a_rule_of_holding_that_fails_is_told_once_and_left(kind, wrong):
  def rule(state):
    if isinstance(wrong, Exception):
      raise wrong
    return wrong

  chunk = {'actions': np.full((50, 2), 0.5)}
  options = {'hold': rule, 'stale': 0.5, 'kind': kind, 'size': 2}
  loop = robot_clock.Loop([0.1, 1e9], reply=lambda *_: chunk, **options)
  commands = loop.run(120)
  np.testing.assert_array_equal(commands[-1].action, 0.5 if kind == 'position' else 0)
  assert loop.kinds().count('rule') == 1


def test_what_is_said_of_an_episode_that_has_ended_moves_nothing(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  recorder.executed(np.full(3, np.nan))  # before any step
  sent = robot_clock.play(recorder, clock, 6)
  recorder.end('success', wait=True)
  recorder.executed(sent[-1])
  assert recorder.infer(robot_clock.observation(0)) is None
  recorder.begin()
  recorder.executed(np.full(3, 9.0))
  np.testing.assert_allclose(robot_clock.play(recorder, clock, 3)[-1], 0, atol=0.02)
  recorder.close()


def test_a_state_that_no_float32_holds_is_none(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.infer({**robot_clock.observation(5), 'state': np.array([TOO_LARGE, 0, 0])})
  assert recorder.holding == 'unseen'
  for seen in (None, [], {'state': 'x'}, {5: 1}):
    recorder.infer(seen)
  robot_clock.play(recorder, clock, 5, start=6)
  recorder.end('success')
  recorder.close()
  assert np.isfinite(episode(tmp_path).column('state')).all()


def test_features_that_are_no_numbers_are_no_observation(tmp_path):
  told = scripted_server.metadata(features=[2, 3], cameras={})
  recorder = robot_clock.recorder(tmp_path, told=told)[0]
  seen = {'state': np.zeros(3), 'features': np.full((2, 3), TOO_LARGE)}
  with pytest.raises(ValueError, match='features: found float64 with what is no finite number'):
    recorder.infer(seen)
  recorder.close()


def test_a_robot_beyond_its_range_comes_back_by_the_largest_step_and_that_is_told():
  chunk = {'actions': np.full((50, 2), 1.9)}
  limits = {'low': -1.5, 'high': 1.5, 'max_step': 0.05}
  loop = robot_clock.Loop([0.1], reply=lambda *_: chunk, limits=limits, same=True)
  loop.count = 2.5  # where the robot is
  path = np.array([c.action[0] for c in loop.run(60) if c.action is not None])
  np.testing.assert_allclose(path[:3], [2.45, 2.40, 2.35], atol=1e-6)
  np.testing.assert_allclose(path[-1], 1.5)
  assert loop.kinds().count('range') == 1
  found = motion.Limits(2, low=-1, high=[1, 2], max_step=[0.1, 2])
  assert found.is_beyond(np.array([1.2, 0])) and found.is_beyond(np.array([-1.2, 0]))
  assert not found.is_beyond(np.array([1.1, 3.9]))
