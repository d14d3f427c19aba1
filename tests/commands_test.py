"""What a person says at a page or a terminal, and what becomes of it."""

import argparse
import shutil
import threading

import pytest
import robot_clock

from aloe_client import commands as commands_lib
from aloe_client import episode_files
from aloe_client import watch as watch_lib


@pytest.fixture
def made(tmp_path):
  """A recorder, its clock and its commands, in the midst of its first episode."""
  recorder, clock, _ = robot_clock.recorder(tmp_path, human=lambda seen: seen['state'])
  commands = commands_lib.of(recorder)
  robot_clock.play(recorder, clock, 5)
  yield recorder, clock, commands
  recorder.close()


def refused(commands, *said):
  with pytest.raises(commands_lib.RefusedError) as caught:
    commands.run(*said)
  return str(caught.value)


def ends(directory):
  return [
    episode_files.read(path).summary['end_reason'] for path in episode_files.finished(directory)
  ]


def test_before_the_first_step_there_is_nothing_to_judge(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, delays=(1.0,))
  commands, watch = commands_lib.of(recorder), watch_lib.Watch(recorder, clock)
  robot_clock.play(recorder, clock, 5)
  state = watch.look()
  assert (state['phase'], state['holding']) == ('ready', 'waits for the first chunk')
  assert refused(commands, 'success') == 'There is no episode to end.'
  assert commands.run('cut') == 'Paused before an episode began.'
  assert watch.look()['phase'] == 'paused'
  recorder.close()


def test_a_person_acts_and_gives_back(made):
  recorder, _, commands = made
  assert commands.run('takeover') == 'A person acts.'
  assert commands.run('takeover') == 'A person acts already.'
  assert recorder.snapshot()['who'] == 'human'
  commands.run('release')
  assert recorder.snapshot()['who'] == 'policy'
  assert commands.run('release') == 'The policy acts already.'


@pytest.mark.parametrize('name', ['success', 'failure', 'cut'])
def test_an_end_pauses_until_next(made, name, tmp_path):
  recorder, clock, commands = made
  assert commands.run(name, 0) == f'Episode 0 ended: {name}.'
  assert not recorder.recording
  assert refused(commands, 'success') == 'There is no episode to end.'
  assert commands.run('next') == 'Episode 1 begins.'
  assert refused(commands, 'next') == 'Nothing waits for it: end the episode first.'
  robot_clock.play(recorder, clock, 5)
  assert recorder.snapshot()['recording']
  recorder.flush()
  assert ends(tmp_path) == [name]


def test_what_was_said_of_another_episode_is_not_done(made):
  recorder, clock, commands = made
  recorder.end('timeout')  # while a finger was on its way to the button
  robot_clock.play(recorder, clock, 5)
  for name in ('success', 'failure', 'cut', 'discard'):
    expected = 'Not done: it was said of episode 0, and now it is 1.'
    assert refused(commands, name, 0) == expected
  assert recorder.snapshot()['recording']


def test_an_episode_that_goes_on_is_put_aside_and_no_other_begins_by_itself(made, tmp_path):
  recorder, clock, commands = made
  assert commands.run('discard', 0) == 'Episode 0 is put aside.'
  assert not recorder.recording
  assert refused(commands, 'discard') == 'There is no episode to take back.'
  commands.run('next')
  robot_clock.play(recorder, clock, 5)
  commands.run('success')
  assert commands.run('discard') == 'Episode 0 is put aside.'  # the last one
  recorder.flush()
  assert ends(tmp_path) == []
  assert len(list((tmp_path / 'discarded').iterdir())) == 2


def test_a_refusal_of_the_recorder_is_told_and_not_raised(tmp_path, monkeypatch):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  commands = commands_lib.of(recorder)
  assert refused(commands, 'fly') == 'fly: there is no such command.'
  robot_clock.play(recorder, clock, 5)
  commands.run('cut')
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: argparse.Namespace(free=0))
  assert '0.00 GB are free' in refused(commands, 'next')
  assert not recorder.recording
  recorder.close()


@pytest.mark.parametrize('source', [None, 'leader'])
def test_without_a_source_of_a_persons_actions_the_policy_goes_on(source, tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  commands, before = commands_lib.of(recorder), robot_clock.play(recorder, clock, 5)
  said = 'takeover: found no source of actions; pass one, or human= to the recorder.'
  assert refused(commands, 'takeover') == said
  assert not recorder.takeover(source)  # within the robot's loop
  assert [e.text for e in recorder.events.recent() if e.loud] == [f'{said} The policy acts.'] * 2
  after = robot_clock.play(recorder, clock, 5, start=5)
  assert before[-1] is not None and all(action is not None for action in after)
  state = watch_lib.Watch(recorder, clock).look()
  assert (state['acting'], state['may_take_over']) == ('Policy acts', False)
  recorder.end('success')
  recorder.close()
  (found,) = map(episode_files.read, episode_files.finished(tmp_path))
  assert {(step['who'], step['held']) for step in found.steps} == {('policy', False)}


def test_who_acts_is_said_as_it_is_where_nobody_does(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, delays=(0.1,), human=lambda seen: broken[0])
  broken = [[1, 2, 3]]
  commands, watch = commands_lib.of(recorder), watch_lib.Watch(recorder, clock)

  def said():
    shown = watch.look()
    return shown['acts'], shown['acting'], watch_lib.summary(shown)

  assert said()[:2] == ('policy', '')
  robot_clock.play(recorder, clock, 2)
  assert said()[:2] == ('holds', 'Waits for the first chunk')
  assert 'no episode yet, WAITS FOR THE FIRST CHUNK' in said()[2]
  robot_clock.play(recorder, clock, 8)
  assert said()[:2] == ('policy', 'Policy acts')
  clock.now += 2
  assert said()[:2] == ('nobody', 'Nobody acts: the robot’s loop stands')
  assert 'THE LOOP STANDS 2 s' in said()[2]
  assert commands.run('takeover') == 'A person acts.'
  assert said()[1] == 'You act once the robot’s program goes on'
  robot_clock.play(recorder, clock, 2)
  assert said()[:2] == ('human', 'You act')
  broken[0] = None
  robot_clock.play(recorder, clock, 2)
  assert said()[:2] == ('holds', 'Holds: your actions are of no use')
  commands.run('release')
  robot_clock.play(recorder, clock, 1)
  assert said()[:2] == ('holds', 'Holds: waits for a new chunk')
  commands.open()
  commands.run('cut')
  waits = threading.Thread(target=commands.wait)
  waits.start()
  while not commands.waiting:
    pass
  assert commands.run('takeover') == 'A person acts as soon as the robot’s program goes on.'
  assert said()[:2] == ('nobody', 'You act once the robot’s program goes on')
  commands.run('stop')
  waits.join()
  broken[0] = [1, 2, 3]
  commands.run('takeover')
  robot_clock.play(recorder, clock, 2)
  assert said()[:2] == ('human', 'You act, unrecorded')
  recorder.close()


def test_a_wait_ends_by_next_or_by_stop_said_anywhere(made):
  recorder, _, commands = made
  assert commands.wait()  # nothing is paused
  commands.run('success')
  with pytest.raises(RuntimeError, match='nobody can say next: there is neither a page'):
    commands.wait()
  commands.open()
  assert not commands.wait(timeout=0.01)
  for name, expected in (('next', True), ('stop', False)):
    recorder.end('cut', wait=True)
    later = threading.Timer(0.1, commands_lib.of(recorder).run, [name])
    later.start()
    assert commands.wait(timeout=10) is expected
    later.join()
  assert commands.stopped and not commands.waiting
  assert not commands.wait()  # it stays so
  commands.run('next')
  assert not commands.stopped and commands.wait()


def test_stop_cuts_what_goes_on(made, tmp_path):
  recorder, _, commands = made
  assert commands.run('stop') == 'Stopped. Episode 0 is cut.'
  recorder.flush()
  assert ends(tmp_path) == ['cut']


def test_where_another_program_plays_it_is_taken_over_there(tmp_path):
  with robot_clock.recorder_lib.Recorder(None, 'fold', tmp_path, hz=50) as recorder:
    commands = commands_lib.of(recorder)
    assert 'Another program plays this robot' in refused(commands, 'takeover')


def test_a_watch_follows_q_and_keeps_the_last_episode_until_the_next_moves(tmp_path):
  values = iter([-30.0, -50.0, -35.0, *[-20.0] * 50])

  def reply(request, number):
    told = robot_clock.scripted_server.still(request)
    told['aloe'] |= {'q': next(values), 'v': -28.0, 'spread': 2.0}
    return told

  recorder, clock, _ = robot_clock.recorder(
    tmp_path, reply=reply, values=True, human=lambda seen: seen['state']
  )
  watch = watch_lib.Watch(recorder, clock)
  assert watch.look()['phase'] == 'ready'
  seen = []
  for step in range(18):
    robot_clock.play(recorder, clock, 1, start=step)
    seen.append(watch.look())
  state = seen[-1]
  assert [point[1] for point in state['points'][:3]] == [-30, -50, -35]
  assert state['points'][0] == [1, -30, -28, 2, False]
  assert (state['q_threshold'], state['q_least']) == (-40, -50)
  assert state['fell'] and not state['low']
  assert {one['low'] for one in seen if one['q'] == -50} == {True}
  recorder.takeover()
  robot_clock.play(recorder, clock, 3, start=18)
  assert watch.look()['points'][-1][1:] == [None, None, None, True]
  assert 'YOU ACT' in watch_lib.summary(watch.look())
  clock.now += 3
  assert watch.look()['stalled_s'] == pytest.approx(3, abs=0.1)
  recorder.end('failure', wait=True)
  state = watch.look()
  assert (state['phase'], state['trace'], state['stalled_s']) == ('paused', 1, 0)
  assert len(state['points']) > 3
  clock.now += 7
  assert watch.look()['phase_s'] == pytest.approx(7)
  assert 'paused 7 s: waits for next' in watch_lib.summary(watch.look())
  recorder.begin()
  robot_clock.play(recorder, clock, 2)
  state = watch.look()
  assert (state['trace'], [point[1] for point in state['points']]) == (2, [-20])
  recorder.close()
