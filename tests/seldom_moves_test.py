"""Numbers that rest nearly always: statistics that quantiles alone would make useless."""

import dataclasses

from absl import logging
import command_line
import numpy as np
import pytest
import robot

from aloe_jax import types
from aloe_jax.preprocessing import normalize


@pytest.fixture
def warned(monkeypatch):
  """The warnings logged, formatted."""
  lines = []
  monkeypatch.setattr(logging, 'warning', lambda line, *args: lines.append(line % args))
  return lines


def gathered(x):
  running = normalize.RunningStats(x.shape[1])
  for part in np.array_split(x, 7):
    running.update(part)
  return running


def closed(share, low, high, steps=10_000):
  """[steps, 1] of a gripper that is closed, at `high`, in the first of them."""
  x = np.full((steps, 1), float(low))
  x[: round(share * steps)] = high
  return x


@pytest.mark.parametrize('low, high', [(0, 1), (0, 255), (850, 0), (30, 75), (-1, 1)])
@pytest.mark.parametrize('share', [1e-4, 0.008])
def test_a_gripper_that_is_seldom_closed_is_normalised_by_its_extremes(low, high, share, warned):
  stats = gathered(closed(share, low, high)).stats('state')
  assert (stats.q01, stats.q99) == (min(low, high), max(low, high))
  normalizer = normalize.Quantile(stats, 'state')
  ends = normalizer(np.array([[float(low)], [float(high)]]))
  sign = 1 if low < high else -1
  np.testing.assert_allclose(ends, [[-sign], [sign]], atol=1e-5)
  np.testing.assert_allclose(normalizer.inverse(ends), [[low], [high]], atol=1e-9)
  assert warned == [
    f'state: number 0 rests at {low} in 98 % of the steps and reaches from {min(low, high)} to '
    f'{max(low, high)}; it is normalised by these two, as q01 and q99 are one.'
  ]


def test_a_gripper_that_is_closed_more_often_has_the_quantiles_of_openpi(warned):
  stats = gathered(closed(0.02, 0, 255)).stats('state')
  width = 255 / normalize.BINS
  np.testing.assert_allclose([stats.q01[0], stats.q99[0]], [0, 255 - width], atol=1e-6)
  assert not warned


def test_a_constant_stays_one(warned):
  x = np.full((100, 1), 0.7)
  x[3] += 1e-6
  stats = gathered(x).stats('state')
  np.testing.assert_allclose([stats.q01, stats.q99], 0.7, atol=1e-5)
  assert not warned


def test_one_wild_value_does_not_make_a_range_of_all_others(warned):
  x = np.random.default_rng(0).normal(size=(1000, 1))
  x[500] = 1e9  # one bin of the histogram holds all others
  stats = gathered(x).stats('actions')
  assert stats.q99 - stats.q01 < 1e-9
  (line,) = warned
  assert 'reaches from' in line
  assert 'to 1e+09, which is 2e+09 once normalised; expected up to 10.' in line


def test_a_joint_that_trembles_and_once_moves_is_told_with_both_ranges(warned):
  x = 1.5 + 5e-4 * np.linspace(-1, 1, 20_000)[:, None]
  x[:150] = np.linspace(1.2, 1.5, 150)[:, None]
  running = normalize.RunningStats(1)
  running.update(x)
  running.stats('state')
  (line,) = warned
  # The 200th of 20 000 is the 50th of those that tremble, 1.4995, and bins are 6e-5 wide.
  assert line.startswith('state: number 0 lies within 1.4994')
  # 1.2 is 0.3 away from the middle, and half of what they span is 5e-4.
  assert 'reaches from 1.2 to 1.5005, which is ' in line
  assert float(line.split('which is ')[1].split()[0]) == pytest.approx(0.3 / 5e-4, rel=0.1)


def test_the_command_says_what_it_does_not_take_from_quantiles(tmp_path):
  length = 300
  rng = np.random.default_rng(0)
  state = rng.normal(size=(length, 3)).astype(np.float32)
  state[:, 1], state[200, 1] = 0, 255  # closed in one step of 300
  end_reason = np.zeros(length, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  episode = dataclasses.replace(
    robot.make_episode(0),
    state=state,
    action=state.copy(),
    source=np.full(length, types.Source.DEMO, np.int8),
    end_reason=end_reason,
    images={'head': np.zeros((length, 8, 8, 3), np.uint8)},
  )
  directory = robot.write_episodes(tmp_path / 'rare', episode)
  path = tmp_path / 'norm_stats.json'
  status, printed, errors = command_line.run(
    'data', 'stats', str(directory), '--to', str(path), '--chunk', '4', '--json'
  )
  assert status == 0
  assert printed.startswith('{')  # and nothing else than JSON
  found = normalize.read(path)
  for key in ('state', 'actions'):
    assert (found[key].q01[1], found[key].q99[1]) == (0, 255)
  assert errors.splitlines() == [
    f'WARNING: {key}: number 1 rests at 0 in 98 % of the steps and reaches from 0 to 255; it is '
    'normalised by these two, as q01 and q99 are one.'
    for key in ('state', 'actions')
  ]
