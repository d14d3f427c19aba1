"""Whatever is written when the disk is full: one message, nothing half done, and it goes on."""

import errno
import json
import os
import re
import time

import finished_runs
import foreign
import full_disk
import jax.numpy as jnp
import numpy as np
import pytest
import robot

from aloe_jax import config
from aloe_jax import disk
from aloe_jax import files
from aloe_jax import metrics
from aloe_jax.data import index
from aloe_jax.data import row_cache
from aloe_jax.run import checkpoints

SHAPE = (10, 2, 3)
ROWS = np.arange(60, dtype=np.float32).reshape(SHAPE)
ENDING = (
  r', [\d.]+ MB are free there. Make room and give the same command again; what was finished is '
  'kept.'
)


def full(what):
  return pytest.raises(disk.FullError, match=f'^{what} could not be written: File too .*{ENDING}$')


def build(path, asked):
  def compute(rows):
    asked.extend(rows.tolist())
    return ROWS[rows]

  return row_cache.build(
    path, SHAPE, jnp.bfloat16, compute, batch_size=4, progress=lambda done: None
  )


@pytest.mark.parametrize('room', [0, 100, 130, 128 + 4 * 12, 128 + 4 * 12 + 5, 128 + 8 * 12 + 23])
def test_rows_of_which_a_part_was_written_are_computed_again(room, tmp_path):
  """A disk that fills up takes a part of a write without an error."""
  path, asked = tmp_path / 'features.npy', []
  with full_disk.of(room), full(f'{path}: rows that are computed once'):
    build(path, asked)
  assert not path.exists()
  again = []
  np.testing.assert_array_equal(np.float32(build(path, again)), ROWS)
  whole = max(0, room - 128) // (4 * 12)
  assert again[0] == 4 * whole
  assert [file.name for file in tmp_path.iterdir()] == ['features.npy']


@pytest.mark.parametrize('size', [0, 60, 200])
def test_rows_that_were_cut_later_are_computed_again_and_said(size, tmp_path, caplog):
  path = tmp_path / 'features.npy'
  build(path, [])
  os.truncate(path, size)
  asked = []
  np.testing.assert_array_equal(np.float32(build(path, asked)), ROWS)
  assert asked[0] == 0
  assert f'{path} is damaged; what it held is computed again.' in caplog.text


@pytest.mark.parametrize('room', [0, 200, 300])
def test_an_index_is_built_later_and_nothing_is_left_of_it(room, small):
  with full_disk.of(room), full(f'{small.parent}/.small.index-[0-9a-f]+: the index of a dataset'):
    index.load(small, {})
  assert not foreign.indices(small)
  foreign.assert_numbers(index.load(small, {}), episodes=(0, 1, 2))


@pytest.mark.parametrize(
  'name', ['index.json', 'state.npy', 'boundaries.npy', 'episodes.jsonl', 'image_head.npy']
)
@pytest.mark.parametrize('share', [0, 0.5])
def test_an_index_that_was_cut_later_is_built_anew_and_said(name, share, small, caplog):
  index.load(small, {})
  (built,) = (small.parent / found for found in foreign.indices(small))
  before = (built / name).read_bytes()
  os.truncate(built / name, int(len(before) * share))
  found = index.load(small, {})
  foreign.assert_numbers(found, episodes=(0, 1, 2))
  foreign.assert_pixels(found, episodes=(0, 1, 2))
  assert f'{built}, the index of {small}, is damaged and is built anew.' in caplog.text
  assert (built / name).read_bytes() == before
  assert [small.parent / one for one in foreign.indices(small)] == [built]


def test_an_index_that_tells_no_sizes_is_as_good(small):
  index.load(small, {})
  (built,) = (small.parent / found for found in foreign.indices(small))
  told = json.loads((built / 'index.json').read_text())
  del told['sizes']
  (built / 'index.json').write_text(json.dumps(told))
  before = (built / 'state.npy').stat().st_mtime_ns
  foreign.assert_numbers(index.load(small, {}), episodes=(0, 1, 2))
  assert (built / 'state.npy').stat().st_mtime_ns == before


def test_episodes_are_written_later_and_nothing_is_left_of_them(tmp_path):
  with full_disk.of(10_000), full(f'{tmp_path}/data: the episodes'):
    robot.write_episodes(tmp_path / 'data')
  assert not list(tmp_path.iterdir())
  robot.write_episodes(tmp_path / 'data')
  assert len(index.load(tmp_path / 'data', {})) == 4 * robot.LENGTH


def test_a_line_of_which_a_part_was_written_is_dropped_when_the_run_goes_on(tmp_path, capsys):
  path = tmp_path / 'metrics.jsonl'
  with (
    full_disk.of(2000),
    full(f'{path}: what was measured'),
    metrics.MetricsWriter(tmp_path) as writer,
  ):
    for step in range(100):
      writer.write(step, {'loss': 1.0})
  assert path.stat().st_size == 2000
  whole = len(metrics.read(path))
  with metrics.MetricsWriter(tmp_path, resume_step=whole) as writer:
    writer.write(whole, {'loss': 2.0})
  assert [record['step'] for record in metrics.read(path)] == [*range(whole + 1)]
  assert 'which a crash left damaged' in ' '.join(capsys.readouterr().out.split())


def test_a_checkpoint_is_saved_later_and_what_was_written_of_it_is_none(tmp_path, capfd):
  with full_disk.of(20_000), full(f'{tmp_path}/checkpoints: checkpoint 1'):
    finished_runs.write(tmp_path)
  assert 'Traceback' not in capfd.readouterr().err
  kept = checkpoints.Checkpoints(tmp_path / 'checkpoints')
  assert kept.latest() is None
  time.sleep(2)  # threads of the save that failed, which another process would not have
  built = finished_runs.write(tmp_path)
  checkpoints.check(kept.path(1), built.architecture())
  assert [path.name for path in (tmp_path / 'checkpoints').iterdir()] == ['1']


@pytest.mark.parametrize('size', [100, 0])
def test_a_file_that_is_replaced_stays_as_it_was(size, tmp_path):
  path = tmp_path / 'report.html'
  files.write_text(path, 'before')
  with full_disk.of(size), full(f'{path}: it'):
    files.write_text(path, 'x' * 1000)
  assert path.read_text() == 'before'
  assert [file.name for file in tmp_path.iterdir()] == ['report.html']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_say_it_is_understood_wherever_it_comes_from(number, tmp_path):
  words = os.strerror(number)
  for cause in (OSError(number, words), ValueError(f'RESOURCE_EXHAUSTED: write: {words}')):
    message = f'checkpoint 3 could not be written: {words}, '
    with (
      pytest.raises(disk.FullError, match=message),
      disk.writing('checkpoint 3', tmp_path / 'not' / 'there'),
    ):
      raise RuntimeError('a thread has ended') from cause
  message = f'error: {tmp_path}: a file could not be written: {words}, .* MB'
  with pytest.raises(SystemExit, match=message), config.user_errors():
    raise OSError(number, words, str(tmp_path))


def test_whatever_else_the_system_refuses_is_one_message_too(tmp_path):
  refused = OSError(errno.EACCES, 'Permission denied')
  tensorstore = ValueError("Error writing: Input/output error [os_error_code='5']")
  for error, reason in ((refused, 'Permission denied'), (tensorstore, 'Input/output error')):
    message = f'{tmp_path}: a figure could not be written: {reason}. Mend that and give the same'
    with pytest.raises(disk.WriteError) as told, disk.writing('a figure', tmp_path):
      raise error
    assert str(told.value).startswith(message)
    assert disk.told(told.value) == str(told.value)


def test_errors_about_what_is_read_are_left_as_they_are(tmp_path):
  message = re.escape("[Errno 2] No such file or directory: '/elsewhere/video.mp4'")
  with pytest.raises(FileNotFoundError, match=message), disk.writing('it', tmp_path / 'a' / 'b'):
    raise FileNotFoundError(errno.ENOENT, 'No such file or directory', '/elsewhere/video.mp4')
  assert disk.told(ValueError('no space')) == ''
