"""An index is built once, beside its dataset, and never read when it is not whole."""

import os
import subprocess
import sys

import foreign
import pytest

from aloe_jax.data import index


def test_tensorflow_is_not_needed(small, tmp_path):
  foreign.simple(tmp_path / 'other', container='array_record')
  code = (
    'import sys; from aloe_jax.data import index;'
    '[index.load(path, {}) for path in sys.argv[1:]];'
    'assert not any(name in sys.modules for name in ("tensorflow", "tensorflow_datasets"))'
  )
  subprocess.run([sys.executable, '-c', code, str(small), str(tmp_path / 'other')], check=True)


def test_an_index_is_built_once_and_beside_the_dataset(small):
  steps = []
  index.load(small, {}, progress=steps.append)
  assert steps == [4, 5, 8]
  foreign.assert_numbers(index.load(small, {}, progress=steps.append))
  assert steps == [4, 5, 8]
  (name,) = foreign.indices(small)
  assert name.startswith('.small.index-')  # hidden from a user's small*
  assert sorted(path.name for path in small.parent.iterdir()) == [name, 'small']


def test_an_index_moves_with_its_dataset(small, tmp_path):
  index.load(small, {})
  (tmp_path / 'elsewhere').mkdir()
  for name in ('small', *foreign.indices(small)):
    (tmp_path / name).rename(tmp_path / 'elsewhere' / name)
  steps = []
  found = index.load(tmp_path / 'elsewhere/small', {}, progress=steps.append)
  foreign.assert_pixels(found)
  assert not steps


def test_another_index_is_built_when_a_file_or_the_mapping_changes(small):
  index.load(small, {})
  index.load(small, {'images': None})
  assert len(foreign.indices(small)) == 2
  os.utime(foreign.shard(small), ns=(0, 0))
  index.load(small, {})
  assert len(foreign.indices(small)) == 3
  fields = small / 'features.json'
  fields.write_text(fields.read_text() + '\n')
  index.load(small, {})
  assert len(foreign.indices(small)) == 4
  index.load(small, {}, on_error='skip')
  assert len(foreign.indices(small)) == 5


def test_a_build_that_is_interrupted_leaves_nothing(small):
  def interrupt(steps):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    index.load(small, {}, progress=interrupt)
  assert [path.name for path in small.parent.iterdir()] == ['small']


def test_what_a_killed_build_leaves_is_never_read(small):
  code = (
    'import os, sys; from aloe_jax.data import index;'
    'index.load(sys.argv[1], {}, progress=lambda steps: os._exit(9))'
  )
  assert subprocess.run([sys.executable, '-c', code, str(small)]).returncode == 9
  assert len(foreign.indices(small)) == 1
  foreign.assert_numbers(index.load(small, {}))
  assert len(foreign.indices(small)) == 2


def test_an_index_that_lost_its_last_file_is_built_again(small):
  index.load(small, {})
  (name,) = foreign.indices(small)
  (small.parent / name / 'index.json').unlink()
  (small.parent / name / 'state.npy').write_bytes(b'')
  foreign.assert_numbers(index.load(small, {}))
  assert foreign.indices(small) == [name]


def test_of_two_processes_that_build_at_once_the_slower_reads_what_the_faster_wrote(small):
  def build_too(steps):
    if steps == 4:
      index.load(small, {})

  foreign.assert_numbers(index.load(small, {}, progress=build_too))
  assert len(foreign.indices(small)) == 1
