"""A run that starts from another's checkpoint goes on in the numbers its policy learnt from."""

import re

import pytest
import robot

from aloe_jax import train
from aloe_jax.data import rlds

pytestmark = pytest.mark.usefixtures('compiled_once')

DELTA = (6, -1, 6, -1)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Episodes at 30 steps a second, and a run that imitated them."""
  path = tmp_path_factory.mktemp('first')
  episodes = [robot.make_episode(n, metadata={'fps': 30.0}) for n in range(4)]
  robot.write_episodes(path / 'episodes', *episodes)
  flags = robot.make_flags(
    data__episodes=(str(path / 'episodes'),),
    data__norm_stats='compute',
    task__delta=DELTA,
    actor__warm_start_updates=1,
    iterations=0,
  )
  train.main([*flags, f'--workdir={path / "run"}'])
  return path


@pytest.fixture
def ended(place, tmp_path, capsys):
  """The message that a run from that checkpoint ends with, and what it printed before."""

  def start(episodes=None, **changes):
    flags = robot.make_flags(
      data__episodes=(str(episodes or place / 'episodes'),),
      actor__checkpoint=str(place / 'run' / 'checkpoints' / '0'),
      **dict(task__delta=DELTA, iterations=0) | changes,
    )
    try:
      train.main([*flags, f'--workdir={tmp_path / "run"}'])
    except SystemExit as stopped:
      return stopped.code, capsys.readouterr().out
    return '', capsys.readouterr().out

  return start


def test_what_the_policy_learnt_from_stays_as_it_was(ended, place):
  message, _ = ended(data__normalization='zscore', task__delta=(6, -1))
  first, *lines, last = message.splitlines()
  checkpoint = place / 'run' / 'checkpoints' / '0'
  assert first == (
    f'error: config.actor.checkpoint names {checkpoint}, whose policy learnt from other numbers:'
  )
  assert lines == [
    '  config.data.normalization: quantile there, zscore here; give '
    '--config.data.normalization=quantile',
    '  config.task.delta: (6, -1, 6, -1) there, (6, -1) here; give '
    "--config.task.delta='(6, -1, 6, -1)'",
  ]
  assert last.startswith('To have it otherwise, start from the checkpoint that its run began with')


def test_what_the_message_says_to_give_works(ended):
  # The run has nothing more to do than to begin.
  assert ended(data__normalization='quantile', task__delta=DELTA)[0] == ''


def write(directory, rate, cameras=tuple(rlds.CAMERA_FIELDS), size=robot.SIZE):
  made = (robot.make_episode(n, metadata={'fps': rate}) for n in range(4))
  return robot.write_episodes(
    directory,
    *(
      robot.make_episode(
        0,
        state=episode.state[:, :size],
        action=episode.action,
        source=episode.source,
        end_reason=episode.end_reason,
        metadata=episode.metadata,
        images={camera: episode.images[camera] for camera in cameras},
      )
      for episode in made
    ),
  )


def test_another_rate_is_refused_unless_rates_may_differ(ended, tmp_path):
  episodes = write(tmp_path / 'slow', 10.0)
  message, _ = ended(episodes)
  assert 'config.task.control_hz: 30 there, 10 here; give --config.task.control_hz=30' in message
  assert 'or go on at another by --config.data.rates=any' in message
  assert ended(episodes, data__rates='any')[0] == ''


def test_other_cameras_are_told_in_a_line(ended, tmp_path):
  message, printed = ended(write(tmp_path / 'one', 30.0, ('head',)))
  assert message == ''
  (line,) = [line for line in printed.splitlines() if line.startswith('Cameras: ')]
  assert re.fullmatch(
    r'Cameras: head; the policy of .* learnt with head, left_wrist, right_wrist\.', line
  )


def test_a_state_of_another_width_is_refused_with_what_works(ended, tmp_path):
  message, _ = ended(write(tmp_path / 'wide', 30.0, size=robot.SIZE - 1), task__delta=(6, -1, 6))
  assert 'config.task.proprio_size: 14 there, 13 here; leave the dataset out, or choose' in message
  assert 'norm_stats' not in message
