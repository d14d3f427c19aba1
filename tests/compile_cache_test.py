"""What is compiled once is found again by the next start, of the same run or of another."""

import re

import command_line
import jax
import pytest

from aloe_jax import defaults
from aloe_jax.run import compile_cache

FLAGS = (
  '--config=experiments/laundry.py:sim_debug',
  '--config.iterations=0',
  '--config.evaluation.episodes=2',
)


def train(workdir, *flags, **environment):
  environment = {'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true'} | environment
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
  told = train(directory / 'two', JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')
  assert {path.name for path in (directory / 'compiled').glob('*-cache')} == kept
  assert re.search(r'/compiled: \d+ found, compiled anew: none\.$', told, re.MULTILINE)


@pytest.fixture
def used():
  """Where JAX keeps compiled programs once a run with some `train.compile_cache` begins."""

  def use(workdir, wanted='', told=None):
    config = defaults.paper()
    config.train.compile_cache = wanted
    jax.config.update('jax_compilation_cache_dir', told)
    compile_cache.use(config, workdir)
    return jax.config.jax_compilation_cache_dir

  before = jax.config.jax_compilation_cache_dir
  yield use
  jax.config.update('jax_compilation_cache_dir', before)


def test_it_lies_beside_the_working_directory_or_where_it_is_wanted(used, tmp_path):
  assert used(tmp_path / 'run') == str(tmp_path / 'compiled')
  assert used(tmp_path / 'run', str(tmp_path / 'own')) == str(tmp_path / 'own')


def test_what_jax_is_told_itself_comes_first(used, tmp_path):
  assert used(tmp_path / 'run', told='of_jax') == 'of_jax'
  assert not list(tmp_path.iterdir())


def test_nothing_is_kept_where_nothing_is_wanted(used, tmp_path):
  assert used(tmp_path / 'run', 'none') is None
  assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said_and_does_not_end_the_run(used, tmp_path, capsys):
  (tmp_path / 'file').touch()
  assert used(tmp_path / 'run', str(tmp_path / 'file')) is None
  assert 'Compiled programs are not kept:' in capsys.readouterr().out
