"""Normalisation: the numbers of openpi, exact inverses, and statistics of a stream."""

import json
import pathlib

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.preprocessing import normalize

GOLDEN = pathlib.Path(__file__).parent / 'golden'
NORM_STATS = GOLDEN / 'pi05_case_a_orbax' / 'assets' / 'trossen' / 'norm_stats.json'
MODES = {'quantile': normalize.Quantile, 'zscore': normalize.ZScore}
STATS = normalize.Stats(
  mean=np.array([1.0, 0.0]),
  std=np.array([2.0, 0.5]),
  q01=np.array([-1.0, 0.0]),
  q99=np.array([3.0, 0.5]),
)


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN / 'pi05_io_golden.npz') as arrays:
    return dict(arrays)


@pytest.fixture
def warned(monkeypatch):
  """The warnings logged, formatted."""
  lines = []
  monkeypatch.setattr(logging, 'warning', lambda line, *args: lines.append(line % args))
  return lines


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('case', ['state', 'actions', 'state7'])
def test_normalised_values_are_those_of_openpi(mode, case, golden):
  key = case.removesuffix('7')
  x = golden[f'normalize/in/{key}']
  if case == 'state7':
    x = x[:, :7]
  normalizer = MODES[mode](normalize.read(NORM_STATS)[key], key)
  expected = golden[f'normalize/{mode}/{case}']
  np.testing.assert_allclose(normalizer(x), expected, rtol=1e-5)
  np.testing.assert_allclose(jax.jit(normalizer)(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('case', ['state', 'actions32'])
def test_values_in_the_robots_units_are_those_of_openpi_with_padding_as_there(mode, case, golden):
  key = case.removesuffix('32')
  x = golden[f'normalize/in/{case}']
  normalizer = MODES[mode](normalize.read(NORM_STATS)[key], key)
  expected = golden[f'unnormalize/{mode}/{case}']
  np.testing.assert_allclose(normalizer.inverse(x), expected, rtol=1e-5)
  np.testing.assert_allclose(jax.jit(normalizer.inverse)(x), expected, rtol=1e-5, atol=1e-6)


def test_quantiles_become_minus_one_and_one_and_means_and_deviations_zero_and_one():
  quantile = normalize.Quantile(STATS, 'state')
  np.testing.assert_allclose(quantile(np.array([[-1, 0], [3, 0.5]])), [[-1] * 2, [1] * 2], 1e-5)
  np.testing.assert_allclose(quantile(np.array([7.0])), [3], 1e-5)  # beyond q99: not cut
  zscore = normalize.ZScore(STATS, 'state')
  np.testing.assert_allclose(zscore(np.array([[1, 0], [3, 0.5]])), [[0] * 2, [1] * 2], 1e-5)
  assert quantile(STATS.q01).tolist() == [-1, -1]  # to the last bit, for the bins of a prompt
  same = np.ones(3)
  assert normalize.Identity()(same) is same and normalize.Identity().inverse(same) is same


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('width', [1, 2])
def test_the_inverse_undoes_the_map_also_of_fewer_numbers_than_the_statistics(mode, width):
  normalizer = MODES[mode](STATS, 'state')
  x = np.random.default_rng(0).normal(size=(4, 3, width))
  np.testing.assert_allclose(normalizer.inverse(normalizer(x)), x, atol=1e-14)
  compiled = jax.jit(lambda x: normalizer.inverse(normalizer(x)))(jnp.float32(x))
  assert compiled.dtype == jnp.float32
  np.testing.assert_allclose(compiled, x, atol=1e-6)


@pytest.mark.parametrize('mode, factor', [('quantile', 1), ('zscore', 1 + 1e-6)])
def test_the_inverse_leaves_padding_alone_but_for_what_openpi_does_to_it(mode, factor):
  x = np.array([[0, 0, 1e-9, -3e6]])
  robot = MODES[mode](STATS, 'actions').inverse(x)
  np.testing.assert_allclose(robot[0, 2:], x[0, 2:] * factor, rtol=1e-12)


@pytest.mark.parametrize('mode', MODES)
def test_data_wider_than_the_statistics_is_refused(mode):
  with pytest.raises(ValueError, match="data of 'actions' is 3 wide, its statistics 2; take"):
    MODES[mode](STATS, 'actions')(np.zeros((1, 3)))


@pytest.mark.parametrize('mode', MODES)
def test_numbers_that_hardly_move_have_unit_range_and_are_named_once(mode, warned):
  stats = normalize.Stats(
    mean=np.array([0.5, 2e5, 0.0]),
    std=np.array([1e-5, 15.0, 1e-3]),
    q01=np.array([0.5, 2e5, 0.0]),
    q99=np.array([0.50001, 2e5 + 15, 1e-3]),
  )
  normalizer = MODES[mode](stats, 'actions')
  x = np.array([[0.7, 2e5 + 1, 5e-4], [0.5, 2e5, 0]])
  moved = normalizer(x)[0] - normalizer(x)[1]
  factor = 2 if mode == 'quantile' else 1
  np.testing.assert_allclose(moved, [0.2 * factor, factor, 0.5 * factor], rtol=2e-3)
  np.testing.assert_allclose(normalizer.inverse(normalizer(x)), x, rtol=1e-12, atol=1e-15)
  spread = 'q99 - q01' if mode == 'quantile' else 'std'
  assert warned == [
    f"'actions' hardly moves in dimensions [0, 1] ({spread} near zero); they are scaled as if it "
    'were 1.'
  ]


def test_numbers_that_move_are_not_warned_about(warned):
  for key, stats in normalize.read(NORM_STATS).items():
    normalize.Quantile(stats, key)
    normalize.ZScore(stats, key)
  assert not warned


def test_a_file_of_openpi_is_written_again_as_it_was_read(tmp_path):
  path = tmp_path / 'assets' / 'norm_stats.json'
  normalize.write(path, normalize.read(NORM_STATS))
  assert path.read_text() == NORM_STATS.read_text()


def test_statistics_without_quantiles_are_kept_but_do_not_serve_quantile_normalisation(tmp_path):
  path = tmp_path / 'norm_stats.json'
  normalize.write(path, {'state': normalize.Stats(STATS.mean, STATS.std)})
  stats = normalize.read(path)['state']
  assert stats.q01 is None and stats.q99 is None
  np.testing.assert_array_equal(stats.std, STATS.std)
  with pytest.raises(ValueError, match="statistics of 'state' have no q01 and q99"):
    normalize.Quantile(stats, 'state')


@pytest.mark.parametrize(
  'text, message',
  [
    ('{"norm', 'found no whole JSON'),
    (b'\xff\xfe\x00', 'found no whole JSON'),
    ('[1]', "expected an object with the one key 'norm_stats'"),
    ('{"state": {}}', "expected an object with the one key 'norm_stats'"),
    ({'mean': [0]}, "'state': std is no list"),
    ([1], "'state': mean is no list"),
    ({'mean': [0, 1], 'std': ['a', 1]}, "'state': std is no list of numbers"),
    ({'mean': [[0]], 'std': [1]}, "'state': mean is no list of finite numbers"),
    ({'mean': [0], 'std': [float('nan')]}, "'state': std is no list of finite numbers"),
    (
      {'mean': [0, 1], 'std': [1, 1], 'q01': [0], 'q99': [1, 1]},
      "differ in length, {'mean': 2, 'std': 2, 'q01': 1, 'q99': 2}",
    ),
  ],
)
def test_a_broken_file_is_named_with_what_is_wrong(text, message, tmp_path):
  path = tmp_path / 'norm_stats.json'
  if isinstance(text, dict | list):
    text = json.dumps({'norm_stats': {'state': text}})
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(ValueError) as error:
    normalize.read(path)
  assert str(error.value).startswith(f'{path}: ')
  assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='norm_stats.json: no such file; it is the'):
    normalize.read(tmp_path / 'norm_stats.json')


def test_running_statistics_are_those_of_openpi(golden):
  running = normalize.RunningStats(6)
  for batch in golden['running_stats/in']:
    running.update(batch)
  for name, values in vars(running.stats()).items():
    np.testing.assert_allclose(values, golden[f'running_stats/{name}'], atol=1e-5, rtol=0)


def test_a_quantile_is_the_left_edge_of_the_bin_of_the_value_at_its_rank():
  values = np.arange(1000.0)  # bins of width 999 / 5000; every 5th or so holds a value
  running = normalize.RunningStats(1)
  running.update(values[:, None])
  width = 999 / normalize.BINS
  stats = running.stats()
  # the 10th and the 990th value, 9 and 989
  np.testing.assert_allclose(stats.q01, np.floor(9 / width) * width, atol=1e-8)
  np.testing.assert_allclose(stats.q99, np.floor(989 / width) * width, atol=1e-8)
  np.testing.assert_allclose(stats.mean, 499.5)
  np.testing.assert_allclose(stats.std, values.std())


def test_statistics_of_batches_agree_with_those_of_all_at_once_to_a_bin():
  x = np.random.default_rng(1).normal(size=(4000, 2)) * [1, 30] + [5, 0]
  whole, parts = normalize.RunningStats(2), normalize.RunningStats(2)
  whole.update(x.reshape(40, 100, 2))
  for batch in np.split(x, [1, 10, 2000]):
    parts.update(batch)
  parts.update(np.zeros((0, 2)))
  bin_width = np.ptp(x, axis=0) / normalize.BINS
  for name, values in vars(parts.stats()).items():
    assert (np.abs(values - getattr(whole.stats(), name)) <= 2 * bin_width).all(), name
  np.testing.assert_allclose(parts.stats().mean, x.mean(0))
  np.testing.assert_allclose(parts.stats().std, x.std(0))


def test_no_value_is_lost_when_only_the_largest_grows_and_a_constant_keeps_its_value():
  running = normalize.RunningStats(2)
  running.update(np.array([[0.0, 7]] * 98 + [[0.5, 7]]))
  running.update(np.array([[1.0, 7]]))
  stats = running.stats()
  np.testing.assert_allclose(stats.q01, [0, 7], atol=1e-9)
  np.testing.assert_allclose(stats.q99, [0.5, 7], atol=1.1 / normalize.BINS)  # the 99th of 100
  np.testing.assert_allclose(stats.std, [np.sqrt(0.0125 - 0.015**2), 0], atol=1e-6)


def test_statistics_of_fewer_than_two_vectors_and_of_other_widths_are_refused():
  running = normalize.RunningStats(2)
  running.update(np.zeros(2))
  with pytest.raises(ValueError, match='at least 2 vectors, found 1'):
    running.stats()
  with pytest.raises(ValueError, match=r'found vectors of shape \[4, 3\], expected \[..., 2\]'):
    running.update(np.zeros((4, 3)))
