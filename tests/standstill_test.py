"""After a standstill of the robot's loop nothing is played that was planned before it."""

import numpy as np
import pytest
import robot_clock

from aloe_client import episode_files


def still(width=2):
  """Replies that keep the robot where its state is."""
  return lambda request, number: {'actions': np.tile(request['state'][:width], (50, 1))}


def stood(loop, *, ticks=20, seconds=5.0):
  """Plays some ticks, and lets the loop stand still."""
  loop.run(ticks)
  loop.clock.now += seconds


def tick(loop, place):
  state = np.full(2, place, np.float32)
  loop.clock.now += 1 / loop.hz
  return loop.executor.tick({'state': state}, state, loop.count)


@pytest.mark.parametrize('same', [False, True])
def test_a_robot_that_was_moved_meanwhile_is_not_sent_back(same):
  loop = robot_clock.Loop([0.1], reply=still(), limits={'max_step': 0.05}, same=same)
  stood(loop)
  found = [tick(loop, 9) for _ in range(10)]
  assert found[0].action is None and loop.executor.plan is not None
  sent = [c.action for c in found if c.action is not None]
  np.testing.assert_allclose(sent, 9, atol=1e-5)  # and not 0, nor 0.05 from there
  assert loop.kinds() == ['stall', 'resume']
  assert loop.events.recent()[0].loud and 'still for 5.1 s' in loop.events.recent()[0].text


def test_a_robot_of_velocities_stops_until_it_is_planned_anew():
  chunk = {'actions': np.full((50, 2), 0.8)}
  loop = robot_clock.Loop([0.1], reply=lambda *_: chunk, kind='velocity')
  stood(loop)
  found = [tick(loop, 0) for _ in range(5)]
  np.testing.assert_array_equal(found[0].action, 0)
  assert found[0].held and loop.executor.holding == ''
  np.testing.assert_allclose(found[-1].action, 0.8)


def test_a_reply_to_what_was_seen_before_is_left_out():
  loop = robot_clock.Loop([0.1, 2.0, 0.1], reply=still(), stale=1.0, execute=5)
  loop.run(8)  # the second request is on its way
  asked = len(loop.asks.requests)
  loop.clock.now += 5
  found = [tick(loop, 9) for _ in range(20)]
  assert asked == 2 and len(loop.asks.requests) > 2
  np.testing.assert_allclose([c.action for c in found if c.action is not None], 9)


def test_a_person_is_followed_anew_from_where_the_robot_is():
  loop = robot_clock.Loop([0.1], reply=still(), same=True, fade=1.0)
  loop.run(20)
  loop.executor.takeover(lambda observation: [1.0, 1.0])
  stood(loop, ticks=60)
  found = tick(loop, 4)
  np.testing.assert_allclose(found.action, 4 - 3 / 30, atol=1e-5)
  assert found.who == 'human' and not found.held


@pytest.mark.parametrize('how', ['idle', 'blind'])
def test_neither_does_a_robot_go_back_that_rests_or_sees_nothing(how):
  loop = robot_clock.Loop([0.1], reply=still())
  stood(loop)
  state = np.zeros(2, np.float32)
  run = {'idle': lambda: loop.executor.idle({}, state), 'blind': lambda: loop.executor.blind(state)}
  assert run[how]() is None


@pytest.mark.parametrize('hz', [0.5, 0.2])
def test_a_slow_loop_is_no_standstill(hz):
  loop = robot_clock.Loop([0.1], hz=hz, reply=still(), stale=1.0)
  assert sum(not c.held for c in loop.run(40)) > 30
  assert 'stall' not in loop.kinds()


def test_a_loop_that_always_stands_still_is_told_once():
  loop = robot_clock.Loop([0.1], reply=still())
  for _ in range(30):
    stood(loop, ticks=1)
  assert loop.kinds().count('stall') == 1


def test_a_machine_that_slept_is_noticed_by_its_date(monkeypatch):
  loop = robot_clock.Loop([0.1], reply=still())
  loop.run(20)
  date = loop.clock.time
  monkeypatch.setattr(loop.clock, 'time', lambda: date() + 3600)
  assert tick(loop, 9).action is None
  assert loop.kinds() == ['stall']


def test_what_was_recorded_stays_and_the_last_step_lasted_as_long(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 8)
  clock.now += 5
  assert recorder.infer(robot_clock.observation(50)) is None
  assert recorder.snapshot()['holding'] == 'stalled'
  clock.now += 0.02
  sent = robot_clock.play(recorder, clock, 4, start=50)
  np.testing.assert_allclose(sent[-1], 0.5)
  recorder.end('success')
  recorder.close()
  (path,) = episode_files.finished(tmp_path)
  found = episode_files.read(path)
  assert max(step['dt'] for step in found.steps[:-1]) == pytest.approx(5.02)
  assert 'stall' in [event.kind for event in recorder.events.recent()]


def test_the_plan_in_flight_is_told_as_the_limits_will_leave_it(tmp_path):
  chunk = {'actions': np.full((10, 3), 5.0), 'aloe': {'step': 6}}
  recorder, clock, asks = robot_clock.recorder(
    tmp_path, reply=lambda *_: chunk, real_time=True, max_step=0.01
  )
  sent = robot_clock.play(recorder, clock, 12)
  recorder.close()
  prefixes = [r['aloe']['prefix'] for r in asks.requests if 'prefix' in r['aloe']]
  index = next(i for i, r in enumerate(asks.requests) if 'prefix' in r['aloe'])
  place = round(float(asks.requests[index]['state'][0]) * 100)  # the tick that it was asked in
  np.testing.assert_allclose(prefixes[0][:2], sent[place : place + 2], atol=1e-6)
