"""What a recorder writes of what happened: who acted, what was asked for and what was done."""

import json

import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import described
from aloe_client import episode_files
from aloe_client import rate
from aloe_client import recorder as recorder_lib
from aloe_client import robot as robot_lib


def episodes(directory):
  return [episode_files.read(path) for path in episode_files.finished(directory)]


def test_a_step_is_what_was_seen_asked_for_and_done_and_by_whom(tmp_path):
  recorder, clock, asks = robot_clock.recorder(tmp_path, values=True)
  sent = robot_clock.play(recorder, clock, 21)
  assert sent[0] is None and sent[1] is not None  # the first chunk takes a tick
  recorder.end('success')
  recorder.close()
  (found,) = episodes(tmp_path)
  assert found.summary['end_reason'] == 'success' and found.summary['exportable']
  assert found.summary['steps'] == len(found.steps) == 20
  assert found.summary['task'] == 'fold the t-shirt' == found.steps[3]['prompt']
  np.testing.assert_allclose(found.column('state')[:, 0], np.arange(1, 21) / 100, atol=1e-6)
  np.testing.assert_array_equal(found.column('executed'), np.array(sent[1:]))
  np.testing.assert_array_equal(found.column('requested'), found.column('executed'))
  assert {step['who'] for step in found.steps} == {'policy'}
  np.testing.assert_allclose([s['dt'] for s in found.steps[:-1]], 0.02, atol=1e-6)
  assert found.steps[0]['time'] == pytest.approx(1.7e9 + 100.02)
  for step in found.steps:
    plan = found.plans[step['plan']]
    np.testing.assert_array_equal(plan['actions'][step['index']], step['requested'])
  for plan in list(found.plans.values())[1:]:  # planned from the observation it says
    seen = found.steps[plan['observed_step']]['state']
    np.testing.assert_array_equal(asks.requests[plan['number']]['state'], seen)
  first = found.plans[0]
  assert first['observed_step'] is None and first['latency'] == pytest.approx(0.02)
  assert (first['q'], first['v'], first['spread']) == (-50, -45, 1.5)
  assert (first['checkpoint'], first['checkpoint_step']) == ('runs/laundry', 6)
  assert len(found.images('head')) == 20


def test_what_a_robot_clips_is_executed_and_what_was_asked_for_is_kept_too(tmp_path):
  recorder, clock, _ = robot_clock.recorder(
    tmp_path,
    reply=lambda request, number: {'actions': np.full((10, 3), 2.0)},
    to_robot=lambda action: np.clip(np.degrees(action), None, np.degrees(0.5)),
    to_policy=np.radians,
  )
  sent = robot_clock.play(recorder, clock, 3)
  np.testing.assert_allclose(sent[-1], np.degrees(0.5))
  recorder.end('success')
  recorder.close()
  (found,) = episodes(tmp_path)
  np.testing.assert_array_equal(found.column('requested'), 2)
  np.testing.assert_allclose(found.column('executed'), 0.5, rtol=1e-6)
  assert found.summary['steps_changed'] == 2


def test_a_driver_may_say_afterwards_what_it_did(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 3)
  recorder.executed([0.5, 0.5, 0.5])
  with pytest.raises(ValueError, match='expected 3 finite numbers'):
    recorder.executed([0.5])
  robot_clock.play(recorder, clock, 1, start=3)
  recorder.end('cut')
  recorder.close()
  executed = episodes(tmp_path)[0].column('executed')
  np.testing.assert_array_equal(executed[1], 0.5)
  assert (executed[[0, 2]] != 0.5).all()


def test_a_take_over_is_recorded_step_by_step_with_both_actions(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, fade=0.2)
  robot_clock.play(recorder, clock, 5)
  recorder.takeover(lambda observation: observation['state'] + 0.5)
  assert recorder.snapshot()['who'] == 'human'
  robot_clock.play(recorder, clock, 20, start=5)
  recorder.release()
  robot_clock.play(recorder, clock, 5, start=25)
  recorder.end('failure')
  recorder.close()
  kinds = [event.kind for event in recorder.events.recent()]
  assert 'takeover' in kinds and 'release' in kinds
  (found,) = episodes(tmp_path)
  assert [s['who'] for s in found.steps] == ['policy'] * 4 + ['human'] * 20 + ['policy'] * 5
  human = [s for s in found.steps if s['who'] == 'human']
  for step in human:
    np.testing.assert_allclose(step['requested'], step['state'] + 0.5)
  np.testing.assert_allclose(human[-1]['executed'], human[-1]['requested'], atol=1e-6)
  path = found.column('executed')[:24, 0]
  assert np.abs(np.diff(path)).max() < 0.5 / 10 + 0.02
  assert [s['held'] for s in found.steps[24:]] == [True, False, False, False, False]


def test_what_is_no_reason_for_an_end_and_no_argument_is_refused(tmp_path):
  recorder, _, _ = robot_clock.recorder(tmp_path)
  with pytest.raises(ValueError, match="found 'done', expected one of success, failure"):
    recorder.end('done')
  assert not recorder.end('success')  # there is none
  recorder.close()
  with pytest.raises(ValueError, match='task: found an empty text'):
    recorder_lib.Recorder(None, ' ', tmp_path)
  with pytest.raises(ValueError, match='expected both or none'):
    recorder_lib.Recorder(None, 'fold', tmp_path, to_robot=lambda action: action)
  for wrong, said in (
    ({'execute': 11}, 'execute: found 11, expected 1 to 10 actions'),
    ({'max_step': -1}, 'max_step: found -1'),
    ({'images': 'gif'}, "images: found 'gif'"),
    ({'human': 'leader'}, "human: found 'leader', expected a function"),
  ):
    with pytest.raises(ValueError, match=said):
      robot_clock.recorder(tmp_path, **wrong)
  for name in ('real_time', 'values'):
    told = scripted_server.metadata(**{name: False})
    with pytest.raises(ValueError, match=f'{name}: found True, and the server does not offer it'):
      robot_clock.recorder(tmp_path, told=told, **{name: True})


def test_a_loop_that_is_meant_to_run_at_another_rate_than_the_policy_is_told(tmp_path):
  recorder, _, _ = robot_clock.recorder(tmp_path, hz=25)
  assert recorder.events.recent()[0].text == (
    '25 actions a second are played; the policy was made for 50.'
  )
  recorder.close()


def test_episodes_follow_each_other_and_the_last_can_be_taken_back(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  for end in ('success', 'failure', 'timeout', 'cut'):
    robot_clock.play(recorder, clock, 4)
    recorder.end(end)
  recorder.discard()
  robot_clock.play(recorder, clock, 4)
  recorder.discard()  # the open one
  robot_clock.play(recorder, clock, 6)
  assert recorder.snapshot()['episode'] == 3
  recorder.end('success')
  recorder.close()
  found = episodes(tmp_path)
  assert [e.path.name for e in found] == ['000000', '000001', '000002', '000003']
  assert [e.summary['number'] for e in found] == [0, 1, 2, 3]
  assert [e.summary['end_reason'] for e in found] == ['success', 'failure', 'timeout', 'success']
  assert len(list((tmp_path / 'discarded').iterdir())) == 2


def test_after_an_end_from_a_page_nothing_is_played_or_recorded_until_the_next_begins(tmp_path):
  recorder, clock, asks = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.end('success', wait=True)
  asked = len(asks.requests)
  assert not recorder.recording
  assert robot_clock.play(recorder, clock, 20) == [None] * 20
  assert len(asks.requests) == asked
  recorder.begin()
  assert robot_clock.play(recorder, clock, 5)[-1] is not None
  recorder.close()
  assert [e.summary['end_reason'] for e in episodes(tmp_path)] == ['success', 'cut']


def test_a_loop_slower_than_told_is_kept_as_it_was_and_told(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 60, hz=20)
  assert recorder.snapshot()['real_hz'] == pytest.approx(20)
  recorder.end('success')
  recorder.close()
  rates = [event for event in recorder.events.recent() if event.kind == 'rate']
  assert len(rates) == 1 and '20.0 times a second and was told 50' in rates[0].text
  (found,) = episodes(tmp_path)
  np.testing.assert_allclose([s['dt'] for s in found.steps[:-1]], 0.05, atol=1e-6)
  assert found.summary['real_hz'] == pytest.approx(20) and found.summary['hz'] == 50


@pytest.mark.parametrize(
  'hz, said', [(20, 'Speed the loop up, or'), (80, 'Let it wait for pace()')]
)
def test_a_loop_of_another_rate_is_told_what_brings_it_there(hz, said, tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  with recorder:
    robot_clock.play(recorder, clock, 60, hz=hz)
  assert [said in e.text for e in recorder.events.recent() if e.kind == 'rate'] == [True]


def test_a_low_q_is_told_once_and_a_page_finds_all_it_shows(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, values=True)
  told = []
  recorder.events.listen(told.append)
  robot_clock.play(recorder, clock, 30)
  assert [event.kind for event in told].count('low_q') == 1
  shown = recorder.snapshot()
  assert (shown['q'], shown['v'], shown['spread'], shown['q_least']) == (-50, -45, 1.5, -50)
  assert (shown['q_threshold'], shown['false_alarms']) == (-40, 0.05)
  assert (shown['step'], shown['episode'], shown['holding']) == (29, 0, '')
  assert shown['checkpoint_step'] == 6 and shown['delay_ticks'] == 1
  np.testing.assert_array_equal(shown['images']['head'], 29)
  recorder.close()


def test_flags_of_the_server_are_told_when_they_begin_and_kept_with_each_chunk(tmp_path):
  def reply(request, number):
    answer = scripted_server.still(request)
    answer['aloe']['flags'] = [f'number {n} is 9' for n in range(3)] if number in (2, 3) else []
    return answer

  recorder, clock, _ = robot_clock.recorder(tmp_path, reply=reply)
  robot_clock.play(recorder, clock, 40)
  recorder.end('success')
  recorder.close()
  told = [event.text for event in recorder.events.recent() if event.kind == 'flag']
  assert told == ['The server says: number 0 is 9 (and 2 more)']
  flags = [plan['flags'] for plan in episodes(tmp_path)[0].plans.values()]
  assert [len(found) for found in flags[:5]] == [0, 0, 3, 3, 0]


def test_another_programs_steps_are_recorded_as_they_were(tmp_path):
  recorder = recorder_lib.Recorder(None, 'fold', tmp_path, hz=10, images='raw')
  for step in range(4):
    who = 'human' if step > 1 else 'policy'
    recorder.observe(robot_clock.observation(step), [step, 0], who)
  recorder.end('success')
  recorder.close()
  (found,) = episodes(tmp_path)
  assert [s['who'] for s in found.steps] == ['policy', 'policy', 'human', 'human']
  np.testing.assert_array_equal(found.column('executed')[:, 0], [0, 1, 2, 3])


@pytest.mark.parametrize(
  'seen, said',
  [
    ({'state': np.zeros(4)}, 'state: found 4 numbers, the server wants 3'),
    ({'joints': np.zeros(3)}, 'state: found nothing of this name'),
    ({'state': np.full(3, np.nan)}, 'no finite number'),
    ({'state': np.zeros(3), 'images': {'head': np.zeros((8, 8))}}, r'found an image \[8, 8\]'),
  ],
)
def test_an_observation_that_is_none_of_this_robot_is_refused_before_it_moves(seen, said, tmp_path):
  recorder, _, asks = robot_clock.recorder(tmp_path)
  with pytest.raises(ValueError, match=said):
    recorder.infer(seen)
  assert not asks.requests
  recorder.close()
  assert not episode_files.finished(tmp_path) and not episode_files.unfinished(tmp_path)


def test_the_task_is_told_under_the_key_that_the_server_names(tmp_path):
  told = scripted_server.metadata(prompt_key='task')
  recorder, clock, asks = robot_clock.recorder(tmp_path, told=told)
  robot_clock.play(recorder, clock, 3)
  assert asks.requests[0]['task'] == 'fold the t-shirt' and 'prompt' not in asks.requests[0]
  recorder.infer(robot_clock.observation(3, task='fold the towel'))
  recorder.end('success')
  recorder.close()
  assert [s['prompt'] for s in episodes(tmp_path)[0].steps][-1] == 'fold the towel'


@pytest.mark.parametrize(
  'state, action, same',
  [
    ({'size': 3}, {'size': 3}, True),
    ({'size': 3}, {'size': 4}, False),
    ({'size': 3, 'names': ['a', 'b', 'c']}, {'size': 3, 'names': ['a', 'c', 'b']}, False),
    ({'size': 3}, {'size': 3, 'names': ['a', 'b', 'gripper'], 'kind': 'velocity'}, False),
  ],
)
def test_a_policy_is_read_from_what_the_server_says(state, action, same):
  told = scripted_server.metadata(state={'state': state}, action=action)
  policy = described.Policy.of(told, robot_lib.Robot())
  assert policy.same == same and policy.size == action['size']
  assert policy.turns == ((True, True, False) if 'kind' in action else None)


def test_between_episodes_a_person_moves_the_robot_and_nothing_is_recorded(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.discard(wait=True)
  recorder.takeover(lambda observation: [1, 2, 3])
  sent = robot_clock.play(recorder, clock, 80)
  np.testing.assert_allclose(sent[-1], [1, 2, 3])
  recorder.release()
  np.testing.assert_allclose(robot_clock.play(recorder, clock, 1)[0], [1, 2, 3])  # at rest there
  recorder.begin()
  robot_clock.play(recorder, clock, 5)
  recorder.end('success')
  recorder.close()
  (found,) = episodes(tmp_path)
  assert {step['who'] for step in found.steps} == {'policy'} and len(found.steps) >= 4


def test_a_robot_that_is_held_by_its_own_rule_is_held_where_it_came_to_rest(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, hold=lambda state: state)
  robot_clock.play(recorder, clock, 5)
  recorder.end('success', wait=True)
  sent = robot_clock.play(recorder, clock, 5, start=10)  # the arm sags
  np.testing.assert_allclose(np.array(sent), 0.1, atol=1e-6)
  recorder.close()


def test_the_pace_is_even_and_catches_nothing_up():
  clock = robot_clock.Clock()
  pace = rate.Pace(10, clock)
  times = []
  for late in (0, 0.03, 0, 0.5, 0, 0):
    pace.wait()
    times.append(round(clock.now - 100, 6))
    clock.now += late
  assert times == [0, 0.1, 0.2, 0.3, 0.8, 0.9]
  with pytest.raises(ValueError, match='hz: found 0'):
    rate.Pace(0)


def test_a_real_server_is_asked_in_real_time(tmp_path):
  with scripted_server.serving() as address:
    recorder = recorder_lib.Recorder(address, 'fold', tmp_path, images='raw', values=True)
    assert recorder.hz == 50
    pace = recorder.pace()
    for step in range(40):
      pace.wait()
      recorder.infer(robot_clock.observation(step))
    recorder.end('success')
    recorder.close()
  (found,) = episodes(tmp_path)
  assert len(found.steps) > 20 and len(found.plans) >= 4
  assert json.loads((found.path / 'episode.json').read_text())['hz'] == 50


def test_a_real_server_that_falls_silent_without_a_word_leaves_the_robot_at_rest(tmp_path):
  asked = []

  def reply(request):
    asked.append(request)
    if len(asked) == 3:
      return None  # the connection stays open
    rise = np.arange(10, dtype=np.float32)[:, None] / 100
    return {**scripted_server.still(request), 'actions': request['state'] + rise}

  with scripted_server.serving(reply) as address:
    recorder = recorder_lib.Recorder(address, 'fold', tmp_path, images='raw', stale=0.1)
    pace = recorder.pace()
    for _ in range(60):
      pace.wait()
      recorder.infer(robot_clock.observation(0))
    assert recorder.snapshot()['holding'] == 'silent'
    recorder.end('failure')
    recorder.close()
  (found,) = episodes(tmp_path)
  held = found.column('held')
  first = int(np.argmax(held))
  assert 8 < first < 30 and held[first:].all()
  executed = found.column('executed')
  np.testing.assert_array_equal(
    executed[first:], np.tile(executed[first - 1], (60, 1))[: sum(held)]
  )
  assert [e.loud for e in recorder.events.recent() if e.kind == 'hold'][-1]
