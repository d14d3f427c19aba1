"""What is compiled once is found again by the next start, of the same run or of another."""

import command_line
import pytest

FLAGS = (
  '--config=experiments/laundry.py:sim_debug',
  '--config.iterations=0',
  '--config.evaluation.episodes=2',
)


def train(workdir, *flags, **environment):
  status, out, errors = command_line.run(
    'train', *FLAGS, f'--workdir={workdir}', *flags, **environment
  )
  assert (status, errors) == (0, '')
  return out


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  """That holds one finished run."""
  directory = tmp_path_factory.mktemp('runs')
  train(directory / 'one', JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')
  return directory


def test_another_run_beside_it_compiles_nothing_anew(directory):
  kept = {path.name for path in (directory / 'compiled').glob('*-cache')}
  assert len(kept) > 10
  train(directory / 'two', JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')
  assert {path.name for path in (directory / 'compiled').glob('*-cache')} == kept


def test_what_jax_is_told_itself_comes_first(directory, tmp_path):
  train(directory / 'three', JAX_COMPILATION_CACHE_DIR=str(tmp_path / 'own'))
  assert list((tmp_path / 'own').iterdir())


def test_nothing_is_kept_where_nothing_is_wanted(tmp_path):
  train(tmp_path / 'run', '--config.train.compile_cache=none')
  assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_a_place_that_cannot_be_written_is_said_and_does_not_end_the_run(tmp_path):
  (tmp_path / 'file').touch()
  out = train(tmp_path / 'run', f'--config.train.compile_cache={tmp_path / "file"}')
  assert 'Compiled programs are not kept:' in out
