"""What cannot be written: the episode it belongs to is the one that suffers, and no other."""

import numpy as np
import pytest
import robot_clock

from aloe_client import commands
from aloe_client import episode_files
from aloe_client import recorder as recorder_lib

HALF = 'plier \udce9'  # a file name of another coding, as Python reads it


def full(*arguments):
  raise OSError(28, 'No space left on device')


def play(recorder, clock, end='success'):
  robot_clock.play(recorder, clock, 6)
  recorder.end(end)
  recorder.flush(10)


def names(directory):
  return [path.name for path in episode_files.finished(directory)]


def test_discard_takes_the_episode_that_could_not_be_finished_and_not_the_one_before(
  tmp_path, monkeypatch
):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  play(recorder, clock)
  with monkeypatch.context() as patch:
    patch.setattr(episode_files, 'close', full)
    play(recorder, clock, 'failure')
  assert recorder.snapshot()['episode'] == 1
  said = commands.of(recorder).run('discard')
  assert said == 'The episode that could not be finished is put aside.'
  recorder.flush(10)
  assert names(tmp_path) == ['000000'] and not episode_files.unfinished(tmp_path)
  (aside,) = (tmp_path / 'discarded').iterdir()
  assert '-was-open-' in aside.name
  assert commands.of(recorder).run('discard') == 'Episode 0 is put aside.'
  with pytest.raises(commands.RefusedError, match='no episode to take back'):
    commands.of(recorder).run('discard')
  recorder.close()
  assert names(tmp_path) == []


def test_an_episode_that_could_not_be_finished_keeps_its_end_and_is_finished_later(
  tmp_path, monkeypatch
):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(episode_files, 'close', full)
    play(recorder, clock)
  play(recorder, clock, 'failure')
  recorder.close()
  assert names(tmp_path) == ['000000']
  robot_clock.recorder(tmp_path)[0].close()
  found = [episode_files.read(path).summary for path in episode_files.finished(tmp_path)]
  assert [summary['end_reason'] for summary in found] == ['failure', 'success']
  assert all(summary['exportable'] for summary in found)


def test_episodes_are_called_by_the_numbers_of_their_directories(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  for _ in range(3):
    play(recorder, clock)
  recorder.close()
  episode_files.discard(tmp_path / '000001')  # somebody has tidied up
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  assert recorder.snapshot()['episode'] == 3
  play(recorder, clock)
  assert names(tmp_path) == ['000000', '000002', '000003']
  assert commands.of(recorder).run('discard') == 'Episode 3 is put aside.'
  recorder.close()
  assert names(tmp_path) == ['000000', '000002']


def test_a_prompt_that_cannot_be_written_is_refused_and_costs_no_step(tmp_path):
  with pytest.raises(ValueError, match=r"task: found half of a character at 6 of 'plier \\udce9'"):
    recorder_lib.Recorder(None, HALF, tmp_path / 'none')
  assert not (tmp_path / 'none').exists()
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  for prompt in (HALF, 5, None, b'fold'):
    assert recorder.infer(robot_clock.observation(5, prompt=prompt)) is not None  # it holds
    assert recorder.holding == 'unseen'
  robot_clock.play(recorder, clock, 5, start=5)
  recorder.end('success')
  recorder.close()
  found = episode_files.read(tmp_path / '000000')
  assert len(found.steps) == found.summary['steps'] > 6


def test_a_key_that_cannot_be_written_leaves_no_open_episode(tmp_path):
  recorder = recorder_lib.Recorder(None, 'fold', tmp_path, hz=50, images='raw')
  for _ in range(3):
    with pytest.raises(ValueError, match='surrogates'):
      recorder.observe({HALF: np.zeros(3)}, np.zeros(3))
  assert not episode_files.unfinished(tmp_path)
  recorder.close()


def test_a_recorder_that_is_closed_takes_nothing_more(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  play(recorder, clock)
  recorder.close()
  recorder.close()
  seen = robot_clock.observation(0)
  for call in (
    recorder.begin,
    recorder.discard,
    lambda: recorder.infer(seen),
    lambda: recorder.observe(seen, np.zeros(3)),
  ):
    with pytest.raises(RuntimeError, match='this recorder is closed; make another one'):
      call()
  assert not recorder.end('success') and not recorder.recording
  assert names(tmp_path) == ['000000']


@pytest.mark.parametrize('content', ['[' * 100_000, '{"a":' * 100_000])
def test_a_header_of_no_use_does_not_keep_a_program_from_beginning(content, tmp_path):
  (tmp_path / 'open-1').mkdir()
  (tmp_path / 'open-1' / 'header.json').write_text(content)
  recorder = robot_clock.recorder(tmp_path)[0]
  assert 'found JSON nested too deep' in recorder.events.recent()[0].text
  recorder.close()


@pytest.mark.parametrize(
  'wrong, said',
  [
    ({'hold': 5}, 'hold: found 5, expected a function'),
    ({'robot': 5}, r'robot: found 5, expected aloe_client.Robot\(...\)'),
    ({'clock': 5}, r'clock: found 5 without monotonic\(\)'),
    ({'directory': ' '}, "directory: found ' ', expected a place for the episodes"),
    ({'key': 'secret'}, 'key: found one beside a server that is no address'),
    ({'certificate': 'a.pem'}, 'certificate: found one beside a server that is no address'),
  ],
)
def test_an_argument_of_another_kind_is_named(wrong, said, tmp_path):
  for name in ('task', 'robot', 'clock'):
    with pytest.raises(ValueError, match=f'{name}: found 5'):
      recorder_lib.Recorder(None, **{'task': 'fold', 'directory': tmp_path, name: 5})
  with pytest.raises(ValueError, match=said):
    recorder_lib.Recorder(None, 'fold', **{'directory': tmp_path, **wrong})
