"""Robots of their own widths, by the commands of the README: told and normalised as by openpi.

What openpi does is written down once more in `openpi_robot.py`, and is held against what openpi
itself gave (`golden/pi05_io_golden.json`).
"""

import contextlib
import io
import json
import pathlib
import sys

import numpy as np
import openpi_robot
import pytest

from aloe_jax import config as config_lib
from aloe_jax import export
from aloe_jax import train
from aloe_jax.data import __main__ as data_command
from aloe_jax.data import index
from aloe_jax.preprocessing import tokenizer
from aloe_jax.run import experiment
from aloe_jax.run import restored

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'pi05_io_golden.json'
EPISODES, LENGTH, CHUNK = 3, 20, 8
PROMPT = 'Fold the t-shirt'
ROBOTS = {  # numbers of the state and of an action: what else is to be said, and what it is
  14: ((), ('head', 'left_wrist'), np.repeat([True, False, True, False], [6, 1, 6, 1])),
  7: (('--config.task.delta=(6,-1)',), ('head',), np.repeat([True, False], [6, 1])),
}


def numbers(size, episode):
  """State and action [T, size] of an episode."""
  rng = np.random.default_rng([size, episode])
  walk = rng.normal(size=(LENGTH + 1, size)).cumsum(0).astype(np.float32)
  return walk[:-1], walk[1:]


def record(folder, size, cameras):
  for episode in range(EPISODES):
    path = folder / f'{episode:04d}'
    path.mkdir(parents=True)
    state, action = numbers(size, episode)
    np.save(path / 'state.npy', state)
    np.save(path / 'action.npy', action)
    for camera in cameras:
      np.save(path / f'{camera}.npy', np.full((LENGTH, 28, 28, 3), 9 * episode, np.uint8))
    (path / 'episode.json').write_text(json.dumps({'prompt': PROMPT, 'end_reason': 'success'}))
  return folder


def data_of(size):
  """States [m, n], and relative actions of all steps of all chunks [k, A]."""
  episodes = [numbers(size, episode) for episode in range(EPISODES)]
  return openpi_robot.data(episodes, ROBOTS[size][2], CHUNK)


class Run:
  """What the commands leave behind for a robot, and what its π0.5 was told meanwhile."""

  def __init__(self, place, size):
    options, self.cameras, _ = ROBOTS[size]
    self.data, self.workdir, self.exported = (place / x for x in ('data', 'run', 'exported'))
    recordings = record(place / 'recordings', size, self.cameras)
    self.told = []
    with pytest.MonkeyPatch.context() as patch:
      arguments = ('import', recordings, '--from=plain', '--to', self.data, '--name=robot')
      patch.setattr(sys, 'argv', ['data', *map(str, arguments)])
      data_command.main()
      encode = tokenizer.Words.encode

      def listen(words, text, bos):
        self.told.append(text)
        return encode(words, text, bos)

      patch.setattr(tokenizer.Words, 'encode', listen)
      flags = [
        '--config=experiments/laundry.py:debug',
        '--config.sim.task=',
        f'--config.data.episodes=({str(self.data)!r},)',
        '--config.data.norm_stats=compute',
        '--config.iterations=0',
        '--config.actor.warm_start_updates=2',
        f'--workdir={self.workdir}',
        *options,
      ]
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        train.main(flags)
      self.printed = printed.getvalue()
      export.main([f'--workdir={self.workdir}', f'--to={self.exported}', '--asset=mine'])
      written = self.exported / 'assets' / 'mine' / 'norm_stats.json'
      self.stats = json.loads(written.read_text())['norm_stats']
      self.trained_on, self.told = self.told, []
      built = experiment.Experiment(config_lib.read(self.workdir / 'config.json'))
      inputs = restored.restore(built, self.workdir / 'checkpoints' / '0').inputs
      self.states = numbers(size, 0)[0][:6]
      inputs.prompts([PROMPT] * len(self.states), inputs.proprio(self.states))


@pytest.fixture(scope='module', params=ROBOTS, ids=lambda size: f'{size} numbers')
def run(request, tmp_path_factory, compiled_once):
  size = request.param
  return size, Run(tmp_path_factory.mktemp(f'robot_{size}'), size)


def test_what_is_written_down_here_of_openpi_is_what_it_gave():
  cases = [x for x in json.loads(GOLDEN.read_text())['prompt_cases'] if x['state'] is not None]
  assert cases
  for case in cases:
    assert openpi_robot.text(case['prompt'], np.array(case['state'])) == case['text']


def test_its_own_numbers_are_on_disk_and_in_what_the_run_keeps(run):
  size, done = run
  opened = index.load(done.data, {})
  assert (opened.state.shape, opened.action.shape) == ((60, size), (60, size))
  task = json.loads((done.workdir / 'config.json').read_text())['task']
  assert (task['proprio_size'], task['action_size']) == (size, size)
  assert tuple(task['cameras']) == done.cameras
  cameras = ', '.join(done.cameras)
  expected = f'Robot: {size} numbers of state, {size} of action, cameras {cameras} (from the data)'
  assert expected in done.printed


def test_its_statistics_are_those_of_openpi_number_for_number(run):
  size, done = run
  for key, data in zip(('state', 'actions'), data_of(size), strict=True):
    expected = openpi_robot.stats(data)
    assert done.stats[key].keys() == expected.keys()
    for name, values in expected.items():
      np.testing.assert_allclose(done.stats[key][name], values, rtol=0, atol=1e-6, err_msg=name)


def test_it_is_told_what_openpi_tells_token_for_token(run):
  _, done = run
  low, high = (np.array(done.stats['state'][name]) for name in ('q01', 'q99'))

  def text(state):
    return openpi_robot.text(PROMPT, (state - low) / (high - low + 1e-6) * 2 - 1)

  assert done.told[-len(done.states) :] == [text(state) for state in done.states]
  all_states = data_of(run[0])[0]
  told = {line for line in done.trained_on if PROMPT in line}
  longest = openpi_robot.text(PROMPT, np.full(run[0], 2.0))  # asked once, whether it fits
  assert told <= {text(state) for state in all_states} | {longest}
  assert len(told) > 5


def test_a_robot_of_other_joints_is_told_what_its_delta_would_have_to_be(tmp_path, capfd):
  record(tmp_path / 'recordings', 7, ('head',))
  with pytest.MonkeyPatch.context() as patch:
    arguments = ('import', tmp_path / 'recordings', '--from=plain', '--to', tmp_path / 'data')
    patch.setattr(sys, 'argv', ['data', *map(str, arguments), '--name=arm'])
    data_command.main()
  flags = ['--config=experiments/laundry.py:debug', '--config.sim.task=']
  flags += [f'--config.data.episodes=({str(tmp_path / "data")!r},)', f'--workdir={tmp_path}/run']
  with pytest.raises(SystemExit) as stopped:
    train.main(flags)
  assert stopped.value.code.startswith(
    'error: config.task.delta is (6, -1, 6, -1), which covers 14 numbers, but an action has 7 '
  )
  assert '--config.task.delta="(6,-1)"' in stopped.value.code
