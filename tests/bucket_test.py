"""Datasets in a bucket are copied here once; paths begin at home where they say so."""

import json
import pathlib

import bare_rlds
import command_line
import fsspec
import numpy as np
import pytest

from aloe_jax import command_line as options
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax.data import bucket
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.run import indices
from aloe_jax.run import requirements
from experiments import laundry

URL = 'memory://robots/towels/1.0.0'


def make_episode(seed):
  rng = np.random.default_rng(seed)
  return {
    'observation/state': rng.normal(size=(5, 3)),
    'action': rng.normal(size=(5, 2)),
  }


@pytest.fixture
def remote(tmp_path):
  """The file system of `URL`, which holds three episodes, also at tmp_path/here."""
  system = fsspec.filesystem('memory')
  here = bare_rlds.write(tmp_path / 'here', [make_episode(seed) for seed in range(3)])
  system.put(str(here), '/robots/towels/1.0.0', recursive=True)
  yield system
  system.rm('/robots', recursive=True)


@pytest.fixture
def fetched(monkeypatch):
  """Names of the files that were copied, as they are."""
  names = []
  kind = type(fsspec.filesystem('memory'))
  get_file = kind.get_file

  def counted(self, remote_path, local_path, **rest):
    names.append(pathlib.PurePosixPath(remote_path).name)
    get_file(self, remote_path, local_path, **rest)

  monkeypatch.setattr(kind, 'get_file', counted)
  return names


def test_a_dataset_is_copied_once_and_read_as_a_local_one(remote, fetched, tmp_path, capsys):
  found = index.load(URL, {}, cache=tmp_path / 'cache')
  assert f'Copy {URL}' in capsys.readouterr().out
  local = index.load(tmp_path / 'here', {})
  np.testing.assert_array_equal(found.action, local.action)
  assert found.content == local.content
  assert sorted(fetched) == ['bare-train.tfrecord-00000', 'dataset_info.json', 'features.json']
  index.load(URL, {}, cache=tmp_path / 'cache')
  index.load(pathlib.Path(URL), {}, cache=tmp_path / 'cache')  # which makes memory:/robots of it
  assert len(fetched) == 3
  assert found.dataset.name == '1.0.0'
  assert [path.name for path in found.dataset.parent.iterdir()] == ['1.0.0']


def test_another_content_there_is_another_copy(remote, fetched, tmp_path):
  first = bucket.local(URL, tmp_path / 'cache')
  remote.pipe('/robots/towels/1.0.0/note.txt', b'more')
  second = bucket.local(URL, tmp_path / 'cache')
  assert first != second
  assert (second / 'note.txt').read_bytes() == b'more'
  remote.pipe('/robots/towels/1.0.0/note.txt', b'less')  # of the same size
  third = bucket.local(URL, tmp_path / 'cache')
  assert (third / 'note.txt').read_bytes() == b'less'


def test_a_copy_that_was_stopped_is_not_read_and_goes_on(remote, fetched, tmp_path, monkeypatch):
  kind = type(remote)
  get_file = kind.get_file

  def broken(self, remote_path, local_path, **rest):
    if 'tfrecord' in remote_path:
      pathlib.Path(local_path).write_bytes(b'half')
      raise ConnectionError('the line is down')
    get_file(self, remote_path, local_path, **rest)

  with monkeypatch.context() as broken_line:
    broken_line.setattr(kind, 'get_file', broken)
    with pytest.raises(OSError, match=r'cannot be read \(ConnectionError: the line is down\); ch'):
      bucket.local(URL, tmp_path / 'cache')
  assert not list((tmp_path / 'cache').glob('buckets/*/1.0.0'))
  before = list(fetched)
  found = bucket.local(URL, tmp_path / 'cache')
  after = fetched[len(before) :]
  assert 'bare-train.tfrecord-00000' in after
  assert not set(before) & set(after)
  assert not [path.name for path in found.iterdir() if path.name.startswith('.')]
  assert len(rlds.read(found)) == 3


def test_what_cannot_be_copied_is_said_with_what_to_do(remote, tmp_path, monkeypatch):
  with pytest.raises(ValueError, match=f'{URL} is in a bucket .*expected config.data.cache'):
    index.load(URL, {})
  with pytest.raises(FileNotFoundError, match='expected an RLDS dataset: dataset_info.json, feat'):
    bucket.local('memory://robots/towels', tmp_path)
  with pytest.raises(OSError, match='FileNotFoundError.*check the address'):
    bucket.local('memory://robots/socks', tmp_path)
  with pytest.raises(ValueError, match='cannot be read from here .Protocol not known'):
    bucket.local('warehouse://robots/socks', tmp_path)
  monkeypatch.setitem(__import__('sys').modules, 's3fs', None)
  message = '`pip install s3fs`, or `aws s3 cp --recursive s3://a/b DIR` .* mount the bucket'
  with pytest.raises(ValueError, match=message):
    bucket.local('s3://a/b', tmp_path)
  monkeypatch.setattr('shutil.disk_usage', lambda path: type('U', (), {'free': 10}))
  with pytest.raises(OSError, match='GB are to be copied to .* room for 0.0 GB; choose another'):
    bucket.local(URL, tmp_path / 'cache')


def test_the_commands_read_from_buckets_too(remote, tmp_path, monkeypatch, capsys):
  cache = f'--cache={tmp_path}/cache'
  told = command_line.data(monkeypatch, capsys, 'inspect', URL, cache, '--json')
  assert json.loads(told[1])['survey']['episodes'] == 3
  told = command_line.data(monkeypatch, capsys, 'validate', URL, tmp_path / 'here', cache)
  assert 'No problems found.' in told[1]
  status, _, _ = command_line.data(monkeypatch, capsys, 'validate', URL)
  assert 'in `data`: --cache' in status
  status, _, _ = command_line.data(
    monkeypatch, capsys, 'stats', URL, cache, '--to=gs://bucket/norm_stats.json'
  )
  assert 'expected a file or a directory here' in status


def test_training_finds_its_datasets_in_buckets_and_at_home(remote, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  config = laundry.get_config('debug')
  given = [f"--config.data.episodes=('~/here', '{URL}')", '--config.data.cache=~/cache']
  said = options.override(config, given)
  assert said['data.episodes'] == (str(tmp_path / 'here'), URL)
  assert config.data.cache == str(tmp_path / 'cache')
  here, copy = indices.directories(config)
  assert here == tmp_path / 'here'
  assert copy.is_relative_to(tmp_path / 'cache' / 'buckets')
  requirements.check(config)
  with pytest.raises(ValueError, match='no place is given; expected config.data.cache'):
    config.data.cache = ''
    requirements.check(config)


@pytest.mark.parametrize(
  'field', ['data.cache', 'data.norm_stats', 'critic.encoder', 'actor.tokenizer']
)
def test_what_has_to_be_here_is_refused_in_a_bucket(field):
  config = laundry.get_config('debug')
  options.override(config, [f'--config.{field}=gs://bucket/x'])
  with pytest.raises(ValueError, match=f"config.{field} is 'gs://bucket/x', which is in a bucket"):
    config_lib.validate(config)


def test_the_directory_of_a_run_may_begin_at_home(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  parser = options.parser('aloe_jax.train', '')
  assert options.parse(parser, ['--workdir=~/run']).workdir == tmp_path / 'run'
  assert files.expanded(['~/a', pathlib.Path('~/b'), 3]) == [
    str(tmp_path / 'a'), tmp_path / 'b', 3,
  ]  # fmt: skip
