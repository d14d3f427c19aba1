"""What a robot does while it waits: it skips what was executed, holds, and hands over smoothly."""

import numpy as np
import pytest
import robot_clock

from aloe_client import delay
from aloe_client import motion


def played(commands):
  """The first number of every action that is no hold."""
  return [float(c.action[0]) for c in commands if not c.held]


@pytest.mark.parametrize('first', [0.7, 3.0])
@pytest.mark.parametrize('horizon, execute', [(30, 15), (50, 25), (50, 5), (50, 50)])
def test_a_slow_first_reply_skips_no_action(first, horizon, execute):
  loop = robot_clock.Loop(
    [first, first if first > 1 else 0.1, 0.1], horizon=horizon, execute=execute
  )
  commands = loop.run(400)
  numbers = played(commands)
  assert numbers[0] == 0
  np.testing.assert_array_equal(numbers, np.arange(len(numbers)))  # none twice, none left out
  assert loop.plans[0].skipped == 0
  assert loop.executor.delay.ticks <= 4
  first_action = next(i for i, c in enumerate(commands) if not c.held)
  assert all(not c.held for c in commands[first_action:])


def test_every_chunk_is_played_for_e_actions_when_replies_are_in_time():
  loop = robot_clock.Loop([0.1])
  commands = loop.run(200)
  found = [c.plan for c in commands if not c.held]
  lengths = [found.count(plan) for plan in sorted(set(found))][1:-1]
  assert set(lengths) == {25}
  assert {plan.skipped for plan in loop.plans[2:]} == {3}  # 0.1 s


def test_the_delay_forgets_one_slow_reply():
  found = delay.Delay()
  found.add(21)
  assert found.ticks == 21
  found.add(3)
  assert found.ticks == 3  # the first one is none to go by
  for expected, ticks in ((40, 40), (40, 3), (40, 3), (40, 3), (3, 3)):
    found.add(ticks)
    assert found.ticks == expected


def test_a_silent_server_makes_the_robot_hold_and_replays_nothing():
  loop = robot_clock.Loop([0.1, 0.1, 1e9], stale=0.5)
  commands = loop.run(300)
  numbers = played(commands)
  np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
  last = next(i for i in range(len(commands) - 1, -1, -1) if not commands[i].held)
  assert last < 120
  for command in commands[last + 1 :]:
    assert command.held
    np.testing.assert_array_equal(command.action, commands[last].action)  # where it was sent last
  assert loop.kinds().count('hold') == 1
  assert loop.events.recent()[-1].loud


def test_the_robot_holds_within_the_stale_budget_though_actions_are_left():
  loop = robot_clock.Loop([0.0, 1e9], stale=0.5, execute=5)
  commands = loop.run(60)
  sent = 5  # the next chunk is asked for one tick before e
  held = next(i for i, c in enumerate(commands) if c.held and i > 1)
  assert held - sent <= 0.5 * 30 + 1


def test_robots_of_velocities_hold_by_none():
  loop = robot_clock.Loop([0.1, 1e9], kind='velocity', stale=0.5)
  np.testing.assert_array_equal(loop.run(120)[-1].action, [0, 0])


def test_a_gripper_among_velocities_stays_as_it_was_sent():
  chunk = {'actions': np.tile([0.3, 0.8], (50, 1))}
  options = {'kind': 'velocity', 'turns': [True, False], 'stale': 0.5}
  loop = robot_clock.Loop([0.1, 1e9], reply=lambda *_: chunk, **options)
  assert loop.run(1)[0].action is None  # where the gripper is is not known
  np.testing.assert_allclose(loop.run(120)[-1].action, [0, 0.8])


def test_the_server_is_not_asked_with_an_observation_that_lacks_an_image():
  loop = robot_clock.Loop([0.1])
  state = np.zeros(2, np.float32)
  loop.executor.tick({'state': state}, state, 0, whole=False)
  assert not loop.asks.requests


def test_a_robot_may_say_itself_how_it_holds():
  loop = robot_clock.Loop([1e9], hold=lambda state: state + 7)
  np.testing.assert_array_equal(loop.run(3)[-1].action, [7, 7])


def test_nothing_is_sent_before_the_first_chunk():
  commands = robot_clock.Loop([0.5]).run(10)
  assert all(c.action is None for c in commands)


def test_a_reply_that_comes_too_late_is_asked_for_anew_and_then_played_from_where_the_robot_is():
  loop = robot_clock.Loop([0.1, 5.0, 0.1])
  commands = loop.run(400)
  np.testing.assert_array_equal(played(commands), np.arange(len(played(commands))))
  assert loop.kinds() == ['hold', 'hold', 'late', 'resume']  # played to its end, then silent
  resumed = loop.plans[1]
  np.testing.assert_array_equal(resumed.actions[0], loop.asks.requests[2]['state'])


def test_a_server_that_is_always_too_slow_still_moves_the_robot():
  loop = robot_clock.Loop([2.0], stale=1.0)
  assert len(played(loop.run(2000))) > 100
  assert 'delay' in loop.kinds()


def test_a_delay_above_the_limit_is_clipped_and_told_and_leaves_actions_to_play():
  loop = robot_clock.Loop([11 / 30], execute=42, real_time=True, options={})
  commands = loop.run(300)[11:]
  told = [request['aloe'].get('delay') for request in loop.asks.requests]
  assert max(d for d in told if d is not None) == 8  # 50 - 42
  assert next(e.kind for e in loop.events.recent() if e.loud) == 'delay'
  assert loop.kinds().count('delay') == 1
  assert not any(c.held for c in commands)  # never without an action


def test_a_sudden_delay_above_the_limit_holds_once_for_what_is_above_it():
  loop = robot_clock.Loop([0.1, 0.1, 11 / 30], execute=42)
  commands = loop.run(600)[4:]
  np.testing.assert_array_equal(played(commands), 1 + np.arange(len(played(commands))))
  assert sum(c.held for c in commands) <= 6


def test_real_time_chunking_sends_what_is_left_of_the_chunk_in_absolute_units():
  loop = robot_clock.Loop([0.1], real_time=True, options={'values': True})
  loop.run(100)
  assert loop.asks.requests[0]['aloe'] == {'values': True}  # nothing is in flight
  for request in loop.asks.requests[1:]:
    now, options = request['state'][0], request['aloe']
    assert options['prefix'].dtype == np.float32 and options['delay'] in (3, 4)
    np.testing.assert_allclose(options['prefix'][:, 0], now + np.arange(len(options['prefix'])))


def test_a_request_keeps_what_the_robot_saw_though_its_arrays_are_used_again():
  loop = robot_clock.Loop([0.1])
  state = np.zeros(2, np.float32)
  loop.executor.tick({'state': state, 'images': {'head': state}}, state, 0)
  state += 5
  np.testing.assert_array_equal(loop.asks.requests[0]['state'], 0)
  np.testing.assert_array_equal(loop.asks.requests[0]['images']['head'], 0)


@pytest.mark.parametrize('limits', [None, {'max_step': 0.05}])
def test_a_person_who_is_elsewhere_is_reached_by_a_ramp(limits):
  loop = robot_clock.Loop([0.1], reply=lambda *_: {'actions': np.zeros((50, 2))}, limits=limits)
  loop.run(20)
  loop.executor.takeover(lambda observation: [0.5, -0.5])
  commands = loop.run(60)
  path = np.array([[0, 0], *(c.action for c in commands)])
  assert np.abs(np.diff(path, axis=0)).max() <= 0.05
  np.testing.assert_allclose(path[-1], [0.5, -0.5], atol=1e-6)
  assert {c.who for c in commands} == {'human'}
  np.testing.assert_allclose(commands[0].requested, [0.5, -0.5])  # what the person did is kept


def test_after_the_hand_back_the_old_chunk_is_never_played():
  loop = robot_clock.Loop([0.1, 0.5, 0.1])
  loop.run(30)  # the second request is on its way
  before = loop.executor.plan.number
  loop.executor.takeover(lambda observation: [100.0, 100.0])
  loop.run(60)
  loop.executor.release()
  commands = loop.run(60)
  assert all(c.plan is None or c.plan > before + 1 for c in commands)
  assert commands[0].held and commands[0].who == 'policy'
  np.testing.assert_allclose(commands[0].action, [100, 100], atol=1e-4)  # where the person left it
  assert not commands[-1].held


@pytest.mark.parametrize('bad', [lambda o: 1 / 0, lambda o: [np.nan, 0], lambda o: [1.0]])
def test_a_person_whose_device_fails_leaves_the_robot_where_it_is(bad):
  loop = robot_clock.Loop([0.1], reply=lambda *_: {'actions': np.ones((50, 2))})
  loop.run(20)
  loop.executor.takeover(bad)
  commands = loop.run(5)
  assert all(c.held and c.who == 'human' for c in commands)
  np.testing.assert_array_equal(commands[-1].action, [1, 1])
  assert loop.kinds().count('human') == 1


def test_the_change_of_each_number_is_limited_from_one_command_to_the_next():
  jump = {'actions': np.array([[0.0, 0], [9, -9]] * 25)}
  loop = robot_clock.Loop([0.1], reply=lambda *_: jump, limits={'max_step': [0.5, 0.1]})
  path = np.array([c.action for c in loop.run(60) if c.action is not None])
  np.testing.assert_allclose(np.abs(np.diff(path, axis=0)).max(axis=0), [0.5, 0.1], atol=1e-6)


def test_bounds_that_are_none_are_refused():
  with pytest.raises(ValueError, match='max_step: found 0, expected more than 0'):
    motion.Limits(2, max_step=0)
  with pytest.raises(ValueError, match='low: found .*, expected one number, or 2'):
    motion.Limits(2, low=[1, 2, 3])
  with pytest.raises(ValueError, match='expected no more than high'):
    motion.Limits(2, low=1, high=0)


def test_a_server_that_refuses_is_told_once_and_asked_again():
  def reply(request, n):
    return RuntimeError(f'state: found {6 + n} numbers, expected 7') if n < 5 else jump

  loop = robot_clock.Loop([0.1], reply=reply)
  jump = {'actions': np.zeros((50, 2))}
  commands = loop.run(60)
  assert loop.kinds().count('server') == 1
  assert '6 numbers' in loop.events.recent()[0].text
  assert not commands[-1].held


def test_a_chunk_of_another_width_is_never_played():
  loop = robot_clock.Loop(
    [0.1], reply=lambda request, n: {'actions': np.zeros((50, 2 if n < 1 else 3))}
  )
  commands = loop.run(200)
  assert all(c.action is None or c.action.size == 2 for c in commands)
  assert commands[-1].held and 'server' in loop.kinds()


def test_delays_that_come_and_go_are_told_once():
  loop = robot_clock.Loop([0.1, *([0.1] * 4 + [0.5]) * 9, 0.1], execute=42)
  loop.run(2000)
  assert len(loop.asks.requests) > 40
  assert loop.kinds().count('delay') == 1
