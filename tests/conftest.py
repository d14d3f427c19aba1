"""Fixtures that any test file may ask for."""

import gc
import os
import pathlib
import shutil
import signal

# Before JAX is imported, and where the processes that tests start inherit it: arrays of unequal
# ranks do not meet in silence, where a forgotten axis turns [B] and [B, 1] into [B, B].
os.environ['JAX_NUMPY_RANK_PROMOTION'] = 'raise'

import foreign
import golden_rlds
import jax
import pytest
import rounds

from aloe_jax import stopping

# Ctrl-C reaches the programs that tests start, also where the suite itself runs in the background
# of a shell, which has its jobs ignore it and would have theirs do so too.
signal.signal(signal.SIGINT, signal.default_int_handler)


# A signal that is not heard for this long ends the process at once: here that would be the suite,
# and a machine that has too much to do is not in native code.
stopping._UNHEARD_SECONDS = 3600.0


@pytest.fixture(scope='module', autouse=True)
def forget_what_was_compiled():
  """What is compiled maps memory, and all files together exceed the maps that Linux allows."""
  yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture(scope='module')
def quick_compilation():
  """XLA leaves most optimisations out: tiny networks compile for longer than they run."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='session')
def compiled(tmp_path_factory):
  """Where all tests find what another has compiled: JAX takes one directory a process."""
  return tmp_path_factory.getbasetemp() / 'compiled'


@pytest.fixture(scope='module')
def compiled_once(quick_compilation, compiled):
  """Nothing is compiled that was before, here and in commands that tests start."""
  jax.config.update('jax_compilation_cache_dir', str(compiled))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  environment = {
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
    'JAX_COMPILATION_CACHE_DIR': str(compiled),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }
  os.environ.update(environment)
  yield
  for name in environment:
    del os.environ[name]
  jax.config.update('jax_compilation_cache_dir', None)


@pytest.fixture
def dataset(tmp_path):
  """A copy of the golden dataset, to be damaged."""
  target = tmp_path / 'data'
  return pathlib.Path(shutil.copytree(golden_rlds.DATASET, target, copy_function=shutil.copyfile))


@pytest.fixture(scope='session')
def shown(tmp_path_factory):
  """A small dataset with one camera."""
  directory = tmp_path_factory.mktemp('foreign') / 'data'
  foreign.with_cameras(directory)
  return directory


@pytest.fixture
def small(shown, tmp_path):
  """A copy of the dataset above, to be damaged."""
  return pathlib.Path(shutil.copytree(shown, tmp_path / 'small'))


@pytest.fixture(scope='session')
def robots_rounds(tmp_path_factory):
  """A directory of datasets; see `rounds.write`."""
  return rounds.write(tmp_path_factory.mktemp('rounds'))


@pytest.fixture(scope='session')
def after_one_round(robots_rounds, tmp_path_factory):
  """A finished run on the first of them, to be copied."""
  workdir = tmp_path_factory.mktemp('runs') / 'one'
  with rounds.quick(tmp_path_factory):
    rounds.begin(workdir, rounds.given(robots_rounds, 'one'))
  return workdir


@pytest.fixture(scope='session')
def emulator():
  """A bucket service on this machine, which all libraries use from here on."""
  pytest.importorskip('gcp_storage_emulator')
  import emulator as emulator_lib

  with emulator_lib.Emulator() as service:
    before = {name: os.environ.get(name) for name in service.environment}
    os.environ.update(service.environment)
    yield service
    for name, value in before.items():
      os.environ.pop(name) if value is None else os.environ.update({name: value})
