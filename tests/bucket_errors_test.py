"""A bucket that cannot be used: one message before any work, with what to do."""

import re
import sys

import command_line
import pytest

from aloe_jax import command_line as options
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import train
from aloe_jax.buckets import storage
from aloe_jax.run import checkpoints
from experiments import laundry

TRAIN = '--config=experiments/laundry.py:sim_debug'


@pytest.fixture
def cache(emulator, tmp_path):
  return f'--config.data.cache={tmp_path}'


def assert_told(capsys, message, *arguments):
  with pytest.raises(SystemExit) as ended:
    train.main([TRAIN, *arguments])
  said = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err
  assert re.match(f'error: {message}', said), said
  assert '\n' not in said.strip()


def test_a_bucket_without_rights_is_told_before_any_work_and_left_as_it_was(
  emulator, cache, tmp_path, capsys
):
  url = f'gs://robots/{tmp_path.name}/run'
  with emulator.rule(lambda method, path: 403 if method == 'POST' else None):
    message = f'{url}/.probe-.* cannot be written: this account may not .*roles/storage.objectUser'
    assert_told(capsys, message, f'--workdir={url}', cache)
  with emulator.rule(lambda method, path: 403):
    assert_told(capsys, f'{url} cannot be read: this account may not', f'--workdir={url}', cache)
  with emulator.rule(lambda method, path: 401):
    message = f'{url} cannot be read: nobody is logged in .*auth application-default login'
    assert_told(capsys, message, f'--workdir={url}', cache)
  assert not emulator.names(tmp_path.name)
  assert not list(tmp_path.iterdir())


def test_a_bucket_that_is_not_there_is_told_with_the_command_that_makes_it(cache, capsys):
  message = 'gs://nowhere/run cannot be read: there is no bucket nowhere.*create gs://nowhere'
  assert_told(capsys, message, '--workdir=gs://nowhere/run', cache)


@pytest.mark.parametrize(
  'url, message',
  [
    ('gs://robots', 'expected gs://BUCKET/FOLDER, a folder in a bucket'),
    ('gs://Robots/run', 'whose name has lower case letters'),
    ('s3://robots/run', 'no other buckets are written to'),
  ],
)
def test_an_address_that_is_none_is_told(url, message, capsys):
  assert_told(capsys, f'--workdir is {url!r}; .*{message}', f'--workdir={url}')


def test_a_package_that_is_not_installed_is_told_with_the_command_that_installs_it(
  monkeypatch, capsys
):
  monkeypatch.setitem(sys.modules, 'gcsfs', None)
  storage.system.cache_clear()
  message = r"gs:// is reached through the package gcsfs, which is not installed .*'\.\[gcs\]'"
  assert_told(capsys, message, '--workdir=gs://robots/run')
  storage.system.cache_clear()


def test_a_service_out_of_reach_is_told(emulator, cache, monkeypatch, capsys):
  def unreachable(path):
    raise ConnectionError('no route to host')

  monkeypatch.setattr(storage.system(), 'ls', unreachable)
  message = 'gs://robots/run cannot be read: ConnectionError: no route to host. Look whether'
  assert_told(capsys, message, '--workdir=gs://robots/run', cache)


def test_a_dry_run_asks_no_bucket_anything(emulator, capsys):
  emulator.requests.clear()
  with pytest.raises(SystemExit):
    train.main([TRAIN, '--workdir=gs://robots/run', '--dry_run', '--topology=none'])
  assert 'none' in capsys.readouterr().err
  assert not emulator.requests


def test_where_an_actor_starts_from_may_be_in_a_bucket_and_a_lone_file_may_not():
  config = laundry.get_config('debug')
  options.override(config, ['--config.actor.checkpoint=gs://robots/pi05_base'])
  config_lib.validate(config)
  options.override(config, ['--config.actor.checkpoint=gs://robots/pali.npz'])
  with pytest.raises(ValueError, match='which is in a bucket; expected a file or a directory here'):
    config_lib.validate(config)


def test_a_checkpoint_that_is_not_in_the_bucket_is_told(emulator, tmp_path):
  result = command_line.run(
    'export', '--workdir=gs://robots/none', f'--to={tmp_path}', XDG_CACHE_HOME=str(tmp_path)
  )
  assert result[0] != 0
  assert 'Traceback' not in result[2], result[2]
  assert 'gs://robots/none' in result[2]


def test_a_damaged_checkpoint_of_a_run_is_told_with_the_one_before_it(emulator, tmp_path):
  url = f'gs://robots/{tmp_path.name}/checkpoints'
  for name in ('0/files.json', '2/files.json', '2/meta/metadata'):
    storage.write(f'{url}/{name}', b'')
  with pytest.raises(ValueError, match=f'remove {url}/2: its run then goes on from checkpoint 0'):
    checkpoints.read_meta(files.place(f'{url}/2'))


def test_a_checkpoint_without_its_last_file_is_told_before_its_phase_is_done_again(
  emulator, tmp_path
):
  url = f'gs://robots/{tmp_path.name}/checkpoints'
  for name in ('0/files.json', '2/meta/metadata', '.3.writing', '3/meta/metadata'):
    storage.write(f'{url}/{name}', b'')
  with pytest.raises(ValueError, match=f'{url}/2: found no files.json, .* remove it'):
    checkpoints.Checkpoints(files.place(url)).check_free()
  storage.remove(f'{url}/2/meta/metadata')
  checkpoints.Checkpoints(files.place(url)).check_free()


def test_a_damaged_config_is_no_fault_of_the_bucket(emulator, tmp_path):
  url = f'gs://robots/{tmp_path.name}'
  storage.write(f'{url}/config.json', b'{"seed')
  result = command_line.run('checkpoints', f'--workdir={url}', XDG_CACHE_HOME=str(tmp_path))
  assert f'error: {url}/config.json: found no whole JSON' in result[2]
  assert 'storage.googleapis.com' not in result[2]
