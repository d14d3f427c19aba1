"""A week of a robot team: three imports, a look at them, two robots trained, what is served.

Monday's recordings are LeRobot 2.1, Wednesday's 3.0, of one robot of 14 numbers; a second robot is
an arm of 7 with one camera. All by the commands; what comes out is held against openpi's
transforms.
"""

import contextlib
import io
import json
import sys

import numpy as np
import openpi_robot
import pytest
import random_recordings

from aloe_jax import export
from aloe_jax import train
from aloe_jax.data import __main__ as data_command
from aloe_jax.preprocessing import tokenizer

FPS, LENGTH, CHUNK = 15, 24, 8
PROMPT = 'Fold the t-shirt'
RELATIVE = {
  14: np.repeat([True, False, True, False], [6, 1, 6, 1]),
  7: np.repeat([True, False], [6, 1]),
}


def recordings(seed, size, cameras, episodes=2):
  """Demonstrations that succeed, of a robot whose numbers wander."""
  rng = np.random.default_rng([seed, size])
  drawn = []
  for _ in range(episodes):
    walk = 0.1 * rng.normal(size=(LENGTH + 1, size)).cumsum(0).astype(np.float32)
    drawn.append(
      random_recordings.Recorded(
        state=walk[:-1],
        action=walk[1:],
        frame=np.arange(LENGTH),
        human=None,
        succeeded=True,
        prompt=[PROMPT] * LENGTH,
      )
    )
  return random_recordings.Recordings(FPS, cameras, drawn, [LENGTH] * episodes, np.bool_)


def run_data(*arguments):
  """What `python -m aloe_jax.data` prints."""
  printed = io.StringIO()
  with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
    patch.setattr(sys, 'argv', ['data', *map(str, arguments)])
    data_command.main()
  return printed.getvalue()


class Week:
  """What the commands printed and left behind, by robot."""

  def __init__(self, place):
    self.recorded = {
      14: {
        'monday': (recordings(0, 14, ['cam_high', 'cam_left_wrist']), 'v2.1'),
        'wednesday': (recordings(1, 14, ['cam_high', 'cam_left_wrist']), 'v3.0'),
      },
      7: {'arm': (recordings(2, 7, ['cam_high']), 'v2.1')},
    }
    self.printed, self.told, self.stats = {}, {}, {}
    for size, sets in self.recorded.items():
      for name, (drawn, version) in sets.items():
        random_recordings.write_lerobot(place / 'recorded' / name, drawn, version)
        self.printed[name] = run_data(
          'import', place / 'recorded' / name, '--from=lerobot', '--to', place / name,
          '--name', name,
        )  # fmt: skip
      datasets = [str(place / name) for name in sets]
      self.printed[size, 'validate'] = run_data('validate', *datasets)
      self._train(place, size, datasets)

  def _train(self, place, size, datasets):
    told = self.told[size] = []
    encode = tokenizer.Words.encode

    def listen(words, text, bos):
      told.append(text)
      return encode(words, text, bos)

    flags = [
      '--config=experiments/laundry.py:debug',
      '--config.sim.task=',
      f'--config.data.episodes={tuple(datasets)!r}',
      '--config.data.norm_stats=compute',
      '--config.actor.warm_start_updates=2',
      '--config.iterations=1',
      f'--workdir={place}/run_{size}',
    ]
    if size == 7:
      flags.append('--config.task.delta=(6,-1)')
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
      patch.setattr(tokenizer.Words, 'encode', listen)
      train.main(flags)
    self.printed[size, 'train'] = printed.getvalue()
    exported = place / f'exported_{size}'
    export.main([f'--workdir={place}/run_{size}', f'--to={exported}', '--asset=mine'])
    written = exported / 'assets' / 'mine' / 'norm_stats.json'
    self.stats[size] = json.loads(written.read_text())['norm_stats']

  def rows(self, size):
    """States [m, n], and relative actions of all steps of all chunks [k, A]."""
    episodes = [e for drawn, _ in self.recorded[size].values() for e in drawn.episodes]
    return openpi_robot.data(
      [(episode.state, episode.action) for episode in episodes], RELATIVE[size], CHUNK
    )


@pytest.fixture(scope='module')
def week(tmp_path_factory, quick_compilation):
  del quick_compilation
  return Week(tmp_path_factory.mktemp('week'))


def test_the_look_at_the_data_finds_nothing_wrong_and_says_the_rate(week):
  for size in week.recorded:
    printed = week.printed[size, 'validate']
    assert 'No problems found.' in printed
    assert 'differ' not in printed
  for size in week.recorded:
    assert f'{FPS}' in week.printed[size, 'validate']


@pytest.mark.parametrize('size', [14, 7])
def test_what_is_exported_normalises_as_openpi_would(week, size):
  for key, data in zip(('state', 'actions'), week.rows(size), strict=True):
    for name, values in openpi_robot.stats(data).items():
      np.testing.assert_allclose(
        week.stats[size][key][name], values, rtol=0, atol=1e-6, err_msg=f'{key} {name}'
      )


@pytest.mark.parametrize('size', [14, 7])
def test_the_policy_was_told_what_openpi_tells_of_the_same_rows(week, size):
  low, high = (np.array(week.stats[size]['state'][name]) for name in ('q01', 'q99'))
  states, _ = week.rows(size)
  expected = {
    openpi_robot.text(PROMPT, (state.astype(np.float64) - low) / (high - low + 1e-6) * 2 - 1)
    for state in states
  }
  longest = openpi_robot.text(PROMPT, np.full(size, 2.0))  # asked once, whether it fits
  told = {line for line in week.told[size] if PROMPT in line}
  assert told - {longest} <= expected
  assert len(told) > 20
