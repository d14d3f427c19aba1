"""A run stops before it starts where its statistics are not those of its episodes."""

import dataclasses

from absl import logging
import command_line
import numpy as np
import pytest
import robot

from aloe_jax import train
from aloe_jax import types
from aloe_jax.preprocessing import normalize
from aloe_jax.run import statistics_fit

pytestmark = pytest.mark.usefixtures('compiled_once')

EPISODES, LENGTH = 4, 60
STEPS = EPISODES * LENGTH
ADVICE = '--config.data.check_statistics=warn trains with them as they are.'
TOO_LONG = f'error: the longest of {EPISODES} fragments has {LENGTH} steps, but a chunk has 61'


def even(seed=0, size=robot.SIZE):
  """[STEPS, size] numbers evenly from -1 to 1, each in an order of its own."""
  rng = np.random.default_rng(seed)
  columns = [rng.permutation(np.linspace(-1, 1, STEPS)) for _ in range(size)]
  return np.stack(columns, axis=1).astype(np.float32)


def write(directory, state, action=None, length=LENGTH):
  """Demonstrations of `length` steps; the actions are those of `even` unless they are given."""
  action = even(1, state.shape[1])[: len(state)] if action is None else action
  source = np.full(length, types.Source.DEMO, np.int8)
  end_reason = np.zeros(length, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  images = {'head': np.zeros((length, 8, 8, 3), np.uint8)}
  parts = [slice(start, start + length) for start in range(0, len(state), length)]
  return robot.write_episodes(
    directory,
    *(
      dataclasses.replace(
        robot.make_episode(0),
        state=state[part],
        action=action[part],
        source=source,
        end_reason=end_reason,
        images=images,
      )
      for part in parts
    ),
  )


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A checkpoint with statistics that expect -1 to 1, and episodes that they fit."""
  path = tmp_path_factory.mktemp('given')
  robot.write_checkpoint(path / 'pi05')
  write(path / 'fits', even())
  return path


@pytest.fixture
def told(place, tmp_path, monkeypatch):
  """What `train` ends with and warns of on some datasets; where they fit, a chunk is too long."""

  def start(*episodes, **changes):
    warned = []
    monkeypatch.setattr(logging, 'warning', lambda line, *args: warned.append(line % args))
    given = dict(
      data__episodes=tuple(map(str, episodes)),
      actor__checkpoint=str(place / 'pi05'),
      task__delta=(),
      task__chunk=61,
      task__execute=1,
    )
    with pytest.raises(SystemExit) as stopped:
      train.main([*robot.make_flags(**given | changes), f'--workdir={tmp_path / "run"}'])
    return stopped.value.code, warned

  return start


@pytest.fixture
def file(tmp_path):
  """Writes statistics of -1 to 1 with some numbers of state or actions changed; the path."""

  def write_file(size=robot.SIZE, **changed):
    stats = {}
    for key in ('state', 'actions'):
      columns = {name: x.copy() for name, x in vars(robot.make_stats(size)[key]).items()}
      for name, numbers in changed.get(key, {}).items():
        for i, value in numbers.items():
          columns[name][i] = value
      stats[key] = normalize.Stats(**columns)
    normalize.write(tmp_path / 'norm_stats.json', stats)
    return str(tmp_path / 'norm_stats.json')

  return write_file


def test_statistics_that_fit_let_a_run_begin(told, place):
  assert told(place / 'fits')[0].startswith(TOO_LONG)


def test_degrees_beside_radians_are_named_with_both_ranges(told, place, tmp_path):
  state = even()
  state[:, [2, 5]] *= 57.3
  message, _ = told(place / 'fits', write(tmp_path / 'degrees', state))
  first, *lines = message.splitlines()
  stats = place / 'pi05' / 'assets' / 'table' / 'norm_stats.json'
  assert first == f'error: {tmp_path / "degrees"}: the statistics ({stats}) do not fit:'
  # One in a hundred lies below -0.98 * 57.3; 1 / 57.3 of all lies within -1 to 1.
  assert lines[0] == (
    '  state 2: the statistics expect -1 to 1, 98 % here lie within -56.15 to 56.15 and all '
    'within -57.3 to 57.3: 98% outside, the farthest 57.3 once normalised; 56.2 times as wide, as '
    'degrees are where the statistics are in radians'
  )
  assert lines[1].startswith('  state 5: ')
  assert lines[2].startswith('Expected at most 10% outside, and none beyond 10. ')
  assert len(lines) == 3
  assert lines[2].endswith(ADVICE)


def test_radians_beside_degrees_are_named_too(told, tmp_path, place):
  message, _ = told(write(tmp_path / 'radians', even() / 57.3))
  assert 'the statistics expect -1 to 1, but 98 % here lie within -0.0171 to 0.0171' in message
  assert '0.0171 times as wide, as radians are where the statistics are in degrees' in message


def test_a_number_that_moves_where_the_statistics_hold_it_for_a_constant_is_named(
  told, tmp_path, file
):
  state = even()
  state[:, 6], state[[7, 70], 6] = 0, 255  # a gripper that is closed in 2 steps of 240
  norm_stats = file(state=dict(q01={6: 0}, q99={6: 0}))
  message, _ = told(write(tmp_path / 'gripper', state), data__norm_stats=norm_stats)
  assert (
    'state 6: the statistics expect 0 only, 98 % here lie within 0 to 0 and all within 0 to 255: '
    '1% outside, the farthest 509 once normalised'
  ) in message


def test_a_tenth_outside_is_too_much_and_two_in_a_hundred_are_not(told, tmp_path):
  state = even()
  for number, share in ((0, 0.02), (1, 0.3)):
    state.reshape(EPISODES, LENGTH, -1)[:, : round(share * LENGTH), number] = 2
  message, _ = told(write(tmp_path / 'shifted', state))
  (line,) = [line for line in message.splitlines() if line.startswith('  ')]
  assert line.startswith('  state 1: ')
  assert ': 30% outside, the farthest 2 once normalised' in line


def test_a_few_steps_may_lie_outside_by_chance(told, tmp_path):
  state, action = 0 * even()[:12], 0 * even()[:12]
  state[:3] = 1.5  # a quarter; a tenth and three deviations are 36 in 100 of 12 steps
  message, _ = told(write(tmp_path / 'short', state, action, length=12))
  assert message.startswith('error: the longest of 1 fragments has 12 steps')


def test_actions_count_from_the_state_that_their_chunk_starts_at(told, tmp_path):
  state, action = even(), even(1)
  state[:, 0] += 100
  action[:, 0] += 100
  norm_stats = robot.make_stats()
  for key in norm_stats:
    norm_stats[key] = normalize.Stats(*(x.copy() for x in vars(norm_stats[key]).values()))
  norm_stats['state'].q01[0], norm_stats['state'].q99[0] = 99, 101
  norm_stats['actions'].q01[0], norm_stats['actions'].q99[0] = -2, 2
  normalize.write(tmp_path / 'norm_stats.json', norm_stats)
  given = dict(data__norm_stats=str(tmp_path / 'norm_stats.json'))
  episodes = write(tmp_path / 'far', state, action)
  assert told(episodes, task__delta=(1,), **given)[0].startswith(TOO_LONG)
  message, _ = told(episodes, **given)
  assert 'actions 0: the statistics expect -2 to 2, 98 % here lie within 99.02 to 101' in message


def test_a_number_that_fills_little_of_what_is_expected_is_warned_of(told, tmp_path, file):
  state = even()
  state[:, 6] = np.arange(STEPS) % 60 == 0  # a gripper of 0 to 1, closed in 4 steps of 240
  state[:, 9] = 0.5  # stands still
  norm_stats = file(state=dict(q01={6: 0}, q99={6: 255}))
  episodes = write(tmp_path / 'gripper', state)
  message, warned = told(episodes, data__norm_stats=norm_stats)
  assert message.startswith(TOO_LONG)
  (warning,) = warned
  assert warning == (
    f'{episodes}: the statistics ({norm_stats}) expect 25 times as much of these numbers, or more:'
    '\n  state 6: the statistics expect 0 to 255, and all here lie within 0 to 1; 0.00392 times as '
    'wide, as 0 to 1 are where the statistics are in 0 to 255'
  )


def test_a_run_that_is_told_so_goes_on_with_a_warning(told, tmp_path):
  state = even()
  state[:, 2] *= 57.3
  message, warned = told(write(tmp_path / 'degrees', state), data__check_statistics='warn')
  assert message.startswith(TOO_LONG)
  (warning,) = warned
  assert 'do not fit:\n  state 2: the statistics expect -1 to 1, 98 % here' in warning


def test_computed_statistics_are_held_to_it_before_anything_is_encoded(told, tmp_path):
  state = even()
  state[:, 3] = 1.569 + 5e-4 * state[:, 3]  # a joint that trembles, and once moves
  state[100:102, 3] = 1.2, 1.3
  episodes = write(tmp_path / 'trembles', state)
  given = dict(data__norm_stats='compute', task__chunk=8)
  message, warned = told(episodes, **given)
  assert '(computed from all episodes) do not fit:\n  state 3: ' in message
  (warning,) = warned
  assert 'state: number 3 lies within 1.56847 to 1.56943' in warning
  assert 'and reaches from 1.2 to 1.5695, which is ' in warning
  assert not list(tmp_path.glob('.trembles.features-*'))


def test_z_scores_are_held_to_deviations(told, tmp_path, file):
  state = even()
  state[::5, 4] = -1.7  # 3.4 deviations of 0.5
  state[0, 5] = 6  # 12 deviations
  episodes = write(tmp_path / 'scores', state)
  message, _ = told(episodes, data__normalization='zscore', data__norm_stats=file())
  lines = [line for line in message.splitlines() if line.startswith('  ')]
  assert [line[:9] for line in lines] == ['  state 4', '  state 5']
  assert 'the statistics expect -1.581 to 1.581' in lines[0]  # a tenth at most of any numbers
  assert 'the farthest 12 once normalised' in lines[1]


def test_nothing_is_asked_of_numbers_that_are_not_normalised(told, tmp_path):
  episodes = write(tmp_path / 'plain', 1000 * even())
  assert told(episodes, data__normalization='none')[0].startswith(TOO_LONG)


def test_statistics_of_a_wider_robot_are_refused_and_zeros_beside_them_are_not(
  told, place, tmp_path, file
):
  episodes = write(tmp_path / 'arm', even(size=7), even(1, 7))
  assert told(episodes)[0].startswith(
    "error: the statistics of 'state' are of 14 numbers, and those after number 6 are no padding; "
    'expected config.task.proprio_size = 7 of this robot.'
  )
  for std in (0, 1):
    rest = range(7, robot.SIZE)
    zeros = {name: dict.fromkeys(rest, 0) for name in ('mean', 'q01', 'q99')}
    padded = zeros | {'std': dict.fromkeys(rest, std)}
    norm_stats = file(state=padded, actions=padded)
    assert told(episodes, data__norm_stats=norm_stats)[0].startswith(TOO_LONG)


def test_a_run_that_goes_on_is_held_to_it_again(place, tmp_path, capfd):
  state = even()
  state[:, 2] *= 57.3
  flags = robot.make_flags(
    data__episodes=(str(write(tmp_path / 'degrees', state)),),
    data__check_statistics='warn',
    actor__checkpoint=str(place / 'pi05'),
    actor__warm_start_updates=1,
    iterations=0,
  )
  workdir = f'--workdir={tmp_path / "run"}'
  train.main([*flags, workdir])
  with pytest.raises(SystemExit) as stopped:
    train.main(['--config.data.check_statistics=stop', workdir])
  checkpoint = tmp_path / 'run' / 'checkpoints' / '0'
  assert stopped.value.code.startswith(
    f'error: {tmp_path / "degrees"}: the statistics (of the run of {checkpoint}) do not fit:\n'
  )
  # It cannot choose other statistics, and is not told that it could.
  assert 'A run keeps the statistics of the checkpoint of ours that it goes on from' in (
    stopped.value.code
  )
  assert 'name those of this one with config.data.norm_stats' not in stopped.value.code
  assert 'From here on' not in capfd.readouterr().out  # the run is as it was


def test_the_same_rows_of_a_large_dataset_are_looked_at_from_all_over():
  rows = statistics_fit._spread(np.arange(400_000))
  assert len(rows) == statistics_fit.ROWS == len(np.unique(rows))
  np.testing.assert_array_equal(rows, statistics_fit._spread(np.arange(400_000)))
  of_part = np.bincount(rows // 40_000)  # 410 are expected in each tenth
  assert of_part.min() > 340 and of_part.max() < 480
  assert len(np.unique(rows % 100)) == 100  # no step of episodes of one length is left out


def test_statistics_of_a_dataset_fit_it(told, tmp_path, monkeypatch, capsys):
  rng = np.random.default_rng(3)
  state = rng.normal(size=(STEPS, robot.SIZE)).cumsum(0).astype(np.float32)
  episodes = write(tmp_path / 'walk', state, np.roll(state, -1, 0))
  path = tmp_path / 'norm_stats.json'
  delta = (6, -1, 6, -1)
  status, _, _ = command_line.data(
    monkeypatch, capsys, 'stats', episodes, '--to', path, '--chunk', 60, '--delta', *delta
  )
  assert status == 0
  assert told(episodes, task__delta=delta, data__norm_stats=path)[0].startswith(TOO_LONG)
