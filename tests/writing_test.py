"""Directories of arrays are whole or not there, and hold what was there when they were begun."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import full_disk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.run import checkpoints
from aloe_jax.run import removal
from aloe_jax.run import state_items
from aloe_jax.run import unfinished
from aloe_jax.run import writing
from aloe_jax.run import written_files

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def writer():
  made = writing.Writer()
  yield made
  made.close()


def read(path, like):
  return state_items.read(path, like, 'remove it')


@jax.jit
def grown(x):
  return x + 1


def test_what_is_donated_while_it_is_written_is_on_disk_as_it_was(tmp_path, writer):
  step = jax.jit(grown, donate_argnums=0)
  x = jnp.arange(4_000_000, dtype=jnp.float32)
  expected = np.array(x)
  futures = []
  for number in range(3):
    future = writer.start(tmp_path / f'1-{number}', {'actor': {'actor': x}}, {})
    for _ in range(3):
      x = step(x)
    future.result()
    futures.append(future)
    found = read(tmp_path / f'1-{number}', {'actor': jax.ShapeDtypeStruct(x.shape, x.dtype)})
    np.testing.assert_array_equal(found['actor'], expected + 3 * number)


def test_what_did_not_change_is_written_once_and_each_directory_is_whole(tmp_path, writer):
  first, second = tmp_path / '0', tmp_path / '1'
  trees = {name: {name: np.arange(9.0) + i} for i, name in enumerate(('actor', 'critic'))}
  writer.start(first, trees, {}).result()
  changed = {'critic': {'critic': np.arange(9.0) + 5}}
  writer.start(second, changed, {}, {'actor': first}).result()
  files = [path.relative_to(first) for path in (first / 'actor').rglob('*') if path.is_file()]
  assert len(files) > 3
  assert all(os.path.samefile(first / file, second / file) for file in files)
  assert written_files.read(second).keys() >= {str(file) for file in files}
  shutil.rmtree(first)
  assert written_files.damaged(second, 'actor') is None
  found = read(second, {'actor': np.zeros(9), 'critic': np.zeros(9)})
  np.testing.assert_array_equal(found['actor'], np.arange(9.0))
  np.testing.assert_array_equal(found['critic'], np.arange(9.0) + 5)


def test_files_are_copied_where_they_cannot_have_two_names(tmp_path, writer, monkeypatch):
  writer.start(tmp_path / '0', {'actor': {'actor': np.arange(9.0)}}, {}).result()

  def refuse(*arguments):
    raise OSError('Operation not permitted')

  monkeypatch.setattr(os, 'link', refuse)
  writer.start(tmp_path / '1', {}, {}, {'actor': tmp_path / '0'}).result()
  np.testing.assert_array_equal(read(tmp_path / '1', {'actor': np.zeros(9)})['actor'], range(9))


def test_a_byte_that_flipped_in_any_file_of_arrays_is_refused_by_the_name_of_the_file(
  tmp_path, writer
):
  rng = np.random.default_rng(0)
  tree = {'actor': {'actor': {'w': rng.normal(size=(40, 30)), 'b': rng.normal(size=30)}}}
  path = tmp_path / '3'
  writer.start(path, tree, {}).result()
  files = [file for file in (path / 'actor').rglob('*') if file.is_file() and file.stat().st_size]
  assert len(files) > 4
  for file in files:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    whole, _ = file.read_bytes(), file.write_bytes(content)
    with pytest.raises(ValueError) as refused:
      read(path, tree['actor'])
    assert str(refused.value) == (
      f'{file} holds other bytes than were written, by their checksum; remove it'
    )
    file.write_bytes(whole)
  np.testing.assert_array_equal(
    read(path, tree['actor'])['actor']['b'], tree['actor']['actor']['b']
  )


def test_a_save_that_found_no_room_leaves_nothing_and_the_next_one_is_whole(
  tmp_path, writer, capfd
):
  tree = {'actor': {'actor': np.random.default_rng(0).normal(size=100_000)}}
  with full_disk.of(20_000), pytest.raises(Exception, match='File too large'):
    writer.start(tmp_path / '2-5', tree, {}).result()
  assert not list(tmp_path.iterdir())
  writer.start(tmp_path / '2-5', tree, {}).result()
  assert [path.name for path in tmp_path.iterdir()] == ['2-5']


def test_a_slow_removal_holds_nobody_up(tmp_path, monkeypatch):
  (tmp_path / '1-5').mkdir()
  slow, rmtree, goes_on = [], shutil.rmtree, threading.Event()

  def remove(path, **options):
    if path.name == '.1-5.removed' and path.exists():
      slow.append(goes_on.wait(60))
    rmtree(path, **options)

  monkeypatch.setattr(shutil, 'rmtree', remove)
  removal.remove(tmp_path / '1-5')
  goes_on.set()
  assert not (tmp_path / '1-5').exists()
  removal._remover().submit(int).result()
  assert slow == [True] and not list(tmp_path.iterdir())


def memory():
  """Megabytes that this process holds."""
  text = pathlib.Path('/proc/self/status').read_text()
  return int(text.partition('VmRSS:')[2].split()[0]) / 1024


def test_twenty_saves_and_a_read_take_no_memory_that_they_do_not_give_back(tmp_path, writer):
  tree = {'actor': {'actor': jnp.ones((20, 2**18))}}  # 21 MB
  sizes = []
  for number in range(20):
    writer.start(tmp_path / f'1-{number}', tree, {}).result()
    sizes.append(memory())
  assert max(sizes[2:]) < sizes[1] + 10
  found = read(tmp_path / '1-19', tree['actor'])
  assert memory() < sizes[1] + 2.5 * 21
  del found


# Forks, which spare an import each, a process that saves until it is killed.
SAVES = """
import os, pathlib, sys
import numpy as np
from aloe_jax.run import writing
place = pathlib.Path(sys.argv[1])
while number := os.fork():
  print(number, flush=True)
  os.waitpid(number, 0)
  print('killed', flush=True)
writer = writing.Writer()
first = 1 + max([int(path.name[2:]) for path in place.glob('1-*')], default=0)
for number in range(first, 10_000):
  fields = {name: {name: np.full(50_000, number, np.float32)} for name in ('actor', 'actor_ema')}
  meta = {'after': 0, 'step': number, 'phase': '', 'iteration': 1, 'updates': 9, 'done': number}
  writer.start(place / f'1-{number}', fields, meta).result()
  print(number, flush=True)
"""


def test_of_twenty_saves_that_are_killed_none_is_taken_for_whole(tmp_path):
  """The newest that is found holds what belongs to its number, moving average too."""
  place, rng = tmp_path / unfinished.DIRECTORY, random.Random(0)
  place.mkdir()
  like = {name: jax.ShapeDtypeStruct((50_000,), np.float32) for name in ('actor', 'actor_ema')}
  newest, unwritten = 0, 0
  with subprocess.Popen(
    [sys.executable, '-W', 'ignore', '-c', SAVES, str(place)],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    text=True,
  ) as parent:
    for _ in range(20):
      child = int(parent.stdout.readline())
      told = [int(parent.stdout.readline())]
      time.sleep(rng.uniform(0, 0.1))
      os.kill(child, signal.SIGKILL)
      told += [int(line) for line in iter(parent.stdout.readline, 'killed\n')]
      unwritten += any(path.name.startswith('.') for path in place.iterdir())
      found = unfinished.find(tmp_path, 0)
      assert found.done == found.step >= told[-1] > newest
      for value in read(found.path, like).values():
        np.testing.assert_array_equal(value, found.done)
      newest = found.done
    parent.kill()
    os.kill(int(parent.stdout.readline()), signal.SIGKILL)
  assert unwritten > 5  # times that a save was met
  unfinished.clear(tmp_path)
  removal._remover().submit(int).result()
  assert not [path for path in place.iterdir() if path.name.startswith('.')]


def test_what_somebody_else_put_there_is_neither_taken_for_a_checkpoint_nor_removed(tmp_path):
  names = ('best', '7.orbax-checkpoint-tmp', '.mine', '007', 'notes.txt')
  for name in names[:-1]:
    (tmp_path / name).mkdir()
  (tmp_path / 'notes.txt').write_text('lr too high')
  (tmp_path / '3').mkdir()  # copied here without its description
  (tmp_path / '.2.writing.orbax-checkpoint-tmp').mkdir()  # of a save that was killed
  kept = checkpoints.Checkpoints(tmp_path)
  assert kept.numbers() == [3]
  assert kept.others() == sorted(names)
  kept.sweep()
  kept.remove([3])
  removal._remover().submit(int).result()
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, '3'])
