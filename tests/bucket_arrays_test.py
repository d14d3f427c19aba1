"""Checkpoints in a bucket: whole or not there, damaged ones named, removed without a wait."""

import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest
import robot

from aloe_jax import files
from aloe_jax.buckets import storage
from aloe_jax.pretrained import openpi
from aloe_jax.run import checkpoints
from aloe_jax.run import removal
from aloe_jax.run import state_items
from aloe_jax.run import writing
from aloe_jax.run import written_files


@pytest.fixture
def place(emulator, tmp_path):
  """A directory of checkpoints in the bucket."""
  return files.place(f'gs://robots/{tmp_path.name}/run/checkpoints')


def tree(seed):
  return {'w': jnp.asarray(np.random.default_rng(seed).normal(size=(64, 8)), jnp.float32)}


def write(path, seed, shared=None):
  writer = writing.Writer()
  items = state_items.of_fields({'critic': tree(seed)} | ({} if shared else {'actor': tree(1)}))
  writer.start(path, items, {'phase': 'critic', 'iteration': 1}, shared).result()
  writer.close()


def read(path, field='critic'):
  return state_items.read(path, {field: tree(0)}, 'x')[field]['w']


def test_a_checkpoint_is_read_back_and_shares_what_is_the_same_with_the_next(place, emulator):
  write(place / '1', 2)
  emulator.requests.clear()
  write(place / '2', 3, {'actor': place / '1'})
  np.testing.assert_array_equal(read(place / '2'), tree(3)['w'])
  np.testing.assert_array_equal(read(place / '2', 'actor'), tree(1)['w'])
  copied = [path for _, path in emulator.requests if 'rewriteTo' in path]
  assert len(copied) == len(storage.find(place / '1' / 'actor'))
  kept = checkpoints.Checkpoints(place)
  assert (kept.numbers(), kept.latest(), kept.others()) == ([1, 2], 2, [])
  checkpoints.check_files(place / '2')
  assert checkpoints.find(place.parent) == place / '2'
  notes = written_files.read(place / '2')
  assert {name.partition('/')[0] for name in notes} == {'critic', 'actor'}


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # of Orbax
def test_one_that_was_cut_off_is_never_the_latest_and_the_next_start_removes_it(place, emulator):
  """Wherever the line goes dead: in the arrays, before the checksums, before the last word."""
  write(place / '1', 2)
  for last in ('/2/critic/', '/2/files.json', '.2.writing'):

    def dead(method, path, last=last):
      changes = method in ('POST', 'PUT', 'DELETE')
      if changes and last in path and (last != '.2.writing' or method == 'DELETE'):
        emulator.dead = True
      return 403 if changes and getattr(emulator, 'dead', False) else None

    emulator.dead = False
    with emulator.rule(dead), pytest.raises(storage.Told, match='may not'):
      write(place / '2', 3)
    assert emulator.dead
    kept = checkpoints.Checkpoints(place)
    assert kept.numbers() == [1], last
    assert kept.others() == []
    with pytest.raises(ValueError, match='/2 is not whole: it was begun and not ended'):
      checkpoints.read_meta(place / '2')
  kept.sweep()
  wait_until(lambda: not storage.find(place / '2'))
  write(place / '2', 3)
  np.testing.assert_array_equal(read(kept.newest()), tree(3)['w'])


def test_what_a_person_has_put_there_is_left_and_named(place):
  write(place / '1', 2)
  storage.write(place / '7' / 'notes.txt', b'mine')
  kept = checkpoints.Checkpoints(place)
  kept.sweep()
  kept.remove([1, 7])
  wait_until(lambda: not storage.find(place / '1'))
  assert kept.others() == ['7']
  assert storage.read(place / '7' / 'notes.txt') == b'mine'


def test_a_byte_that_has_changed_is_named(place):
  write(place / '1', 2)
  name = max(storage.find(place / '1' / 'critic').items(), key=lambda item: item[1].size)[0]
  content = bytearray(storage.read(place / '1' / 'critic' / name))
  content[len(content) // 2] ^= 1
  storage.write(place / '1' / 'critic' / name, bytes(content))
  with pytest.raises(ValueError, match=f'{name} holds other bytes than were written'):
    read(place / '1')
  storage.write(place / '1' / 'critic' / name, bytes(content[:-9]))
  with pytest.raises(ValueError, match=f'{name}'):
    checkpoints.check_files(place / '1')


def test_a_service_that_is_slow_to_remove_holds_nobody_up(place, emulator):
  for number in (1, 2):
    write(place / str(number), number)

  asked, goes_on, in_time = threading.Event(), threading.Event(), []

  def slow(method, path):
    if 'checkpoints/1/' in path and method == 'DELETE':
      asked.set()
      in_time.append(goes_on.wait(60))

  with emulator.rule(slow):
    checkpoints.Checkpoints(place).remove([1])
    assert checkpoints.Checkpoints(place).numbers() == [2]
    write(place / '3', 5)  # the removal goes on meanwhile
    assert asked.wait(60)
    goes_on.set()
  write(place / '1', 7)  # and takes nothing of what has the name by then
  assert all(in_time)  # nobody waited for it
  removal._remover().submit(int).result()
  np.testing.assert_array_equal(read(place / '1'), tree(7)['w'])
  assert checkpoints.Checkpoints(place).numbers() == [1, 2, 3]


def test_an_export_that_was_cut_off_leaves_nothing_and_a_killed_one_is_refused(emulator, tmp_path):
  target = files.place(f'gs://robots/{tmp_path.name}/exported')
  dead = lambda method, path: 403 if method == 'POST' and '_METADATA' in path else None  # noqa: E731
  with emulator.rule(dead), pytest.raises(storage.Told, match='may not'):
    openpi.export(target, tree(1), stats=robot.make_stats(), asset='mine')
  assert not storage.find(target)
  openpi.export(target, tree(1), stats=robot.make_stats(), asset='mine')
  assert openpi.shapes(target)['w'].shape == (64, 8)
  storage.write(target.with_name('.exported.writing'), b'')  # as a killed one leaves it
  with pytest.raises(ValueError, match='is not whole: its export did not come to its end; repeat'):
    openpi.shapes(target)
  openpi.export(target, tree(2), stats=robot.make_stats(), asset='mine')
  assert openpi.shapes(target)['w'].shape == (64, 8)


def wait_until(is_so):
  stop = time.monotonic() + 20
  while not is_so():
    assert time.monotonic() < stop
    time.sleep(0.05)
