"""Of a dataset of which only some shards are there the others are read, and counted."""

import json

import bare_rlds
import command_line
import numpy as np
import pytest

from aloe_jax.data import absent
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.data import schema
from aloe_jax.data import tfds_directory
from aloe_jax.data import tfrecord

STEPS = 5


@pytest.fixture
def dataset(tmp_path, monkeypatch):
  """16 episodes in 8 shards, whose numbers tell the episode."""
  monkeypatch.setattr(tfds_directory, '_RECORDS_PER_SHARD', 2)
  rng = np.random.default_rng(0)
  made = [
    {'observation/state': np.full((STEPS, 3), number), 'action': rng.normal(size=(STEPS, 2))}
    for number in range(16)
  ]
  return bare_rlds.write(tmp_path / 'data', made)


def shard(dataset, number):
  return dataset / f'bare-train.tfrecord-{number:05d}'


def lose(dataset, *numbers):
  """Moves shards away; returns what brings them back."""
  kept = {number: shard(dataset, number).read_bytes() for number in numbers}
  for number in numbers:
    shard(dataset, number).unlink()
  return lambda: [shard(dataset, n).write_bytes(content) for n, content in kept.items()]


def episodes(found):
  return found.state[found.boundaries[:-1], 0].tolist()


TOLD = (
  '/data/bare-train.tfrecord-00001: the shard is missing. Of the 8 shards of the split, counted '
  'from 0, 1-3, 5 are not there, with 8 of 16 episodes; 8 episodes are there.'
)


def test_all_that_are_missing_are_named_with_what_is_there_and_the_option(dataset):
  lose(dataset, 1, 2, 3, 5)
  with pytest.raises(FileNotFoundError) as error:
    index.load(dataset, {})
  assert TOLD in str(error.value)
  assert 'config.data.on_error=skip in training, --on-error=skip in `data`' in str(error.value)
  with pytest.raises(ValueError, match='1-3, 5 are not there'):
    rlds.read(dataset)


def test_the_others_are_read_and_what_is_left_out_is_counted(dataset):
  lose(dataset, 1, 2, 3, 5)
  found = index.load(dataset, {}, on_error='skip')
  assert episodes(found) == [0, 1, 8, 9, 12, 13, 14, 15]
  assert (found.lost, len(found.skipped)) == (8, 1)
  assert found.remarks == [
    f'Skipped: {found.skipped[0]}',
    f'{dataset}: 8 episodes were skipped.',
  ]
  assert found.skipped[0].endswith(TOLD)
  (first, second, *_) = found.episodes()
  assert (first.file, second.record) == ('bare-train.tfrecord-00000', 1)


def test_shards_that_arrive_are_read_from_then_on(dataset):
  bring_back = lose(dataset, 0, 7)
  before = index.load(dataset, {}, on_error='skip')
  bring_back()
  after = index.load(dataset, {}, on_error='skip')
  assert (len(before), len(after)) == (12 * STEPS, 16 * STEPS)
  assert (after.lost, after.remarks) == (0, [])
  assert before.content != after.content


def test_a_dataset_of_which_nothing_is_there_is_an_error(dataset, monkeypatch, capsys):
  lose(dataset, *range(8))
  for on_error in ('raise', 'skip'):
    with pytest.raises(FileNotFoundError, match='0-7 are not there, with 16 of 16 .* Copy the'):
      index.load(dataset, {}, on_error=on_error)
  for command in ('inspect', 'validate'):
    status, printed, _ = command_line.data(monkeypatch, capsys, command, dataset)
    assert status
    assert '0-7 are not there' in f'{status}{printed}'
  told = command_line.data(monkeypatch, capsys, 'validate', dataset, '--on-error=skip')
  assert (told[0], 'there is no episode that can be used' in told[1]) == (1, True)


def test_of_a_shard_that_is_cut_the_whole_records_are_read(dataset):
  path = shard(dataset, 2)
  _, second = tfrecord.walk(path)
  path.write_bytes(path.read_bytes()[: second.offset + 40])
  lose(dataset, 4)
  found = index.load(dataset, {}, on_error='skip')
  assert episodes(found) == [0, 1, 2, 3, 4, 6, 7, 10, 11, 12, 13, 14, 15]
  assert found.lost == 3
  path.write_bytes(b'')
  found = index.load(dataset, {}, on_error='skip')
  assert (found.lost, len(episodes(found))) == (4, 12)
  path.write_bytes(shard(dataset, 3).read_bytes()[: second.offset - 12])
  assert index.load(dataset, {}, on_error='skip').lost == 3


def test_the_commands_go_on_and_say_what_is_not_there(dataset, monkeypatch, capsys, tmp_path):
  lose(dataset, 1, 2, 3, 5)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', dataset)
  assert (status, TOLD in printed) == (0, True)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', dataset)
  assert status == 1
  assert printed.count('the shard is missing') == 1
  assert '4 problems found.' in printed
  options = ('--on-error=skip',)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', dataset, *options)
  assert (status, TOLD in printed, 'No problems found.' in printed) == (0, True, True)
  to = ('stats', dataset, f'--to={tmp_path}/norm.json', '--chunk=2')
  status, _, _ = command_line.data(monkeypatch, capsys, *to)
  assert '1-3, 5 are not there' in status
  status, printed, errors = command_line.data(monkeypatch, capsys, *to, *options, '--json')
  assert (status, '8 episodes were skipped' in errors) == (0, True)
  assert json.loads(printed)['norm_stats']['state']['mean'] == pytest.approx([9] * 3)


def test_numbers_that_follow_one_another_are_told_as_ranges(dataset):
  shards = schema.read(dataset).splits['train']
  assert not absent.told(shards)
  lose(dataset, 7)
  assert 'counted from 0, 7 are not there' in absent.told(shards)
  lose(dataset, 0, 2, 3)
  assert 'counted from 0, 0, 2-3, 7 are not there' in absent.told(shards)
