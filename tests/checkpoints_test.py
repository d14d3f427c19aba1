"""Checkpoints come back bit for bit, and those of other networks are refused by name."""

import os
import re
import shutil

import jax
import numpy as np
import pytest
import tiny

from aloe_jax.run import checkpoints

ARCHITECTURE = {'actor': {'width': 16, 'depth': 1}, 'critic': {'size': 2}, 'chunk': 8}
ENCODER = {'filters': np.float32([[1, 2], [3, 4]])}
META = {'architecture': ARCHITECTURE, 'fail_cost': 0.1 + 0.2, 'phase': 'critic'}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A directory of two checkpoints, and the state in the newest."""
  kept = checkpoints.Checkpoints(tmp_path_factory.mktemp('run') / 'checkpoints')
  assert kept.latest() is None
  learner = tiny.make_learner()
  kept.save(0, tiny.make_state(learner, seed=1), {}, META)
  state = tiny.make_state(learner, seed=7)
  params = jax.tree.map(lambda x: np.nextafter(x, np.float32(1)), state.critic)
  state = state.replace(critic=params, step=np.int32(41))
  kept.save(2, state, ENCODER, META)
  return kept, state


def test_what_is_saved_is_restored_bit_for_bit(saved):
  kept, state = saved
  learner = tiny.make_learner()
  example = jax.tree.map(lambda x: x[0], tiny.make_actor_batches(np.random.default_rng(0), 1, 1))
  like = jax.eval_shape(lambda: learner.init(0, example))
  found = checkpoints.restore(kept.path(2), like, ARCHITECTURE)
  assert jax.tree.structure(found) == jax.tree.structure(state)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
    assert (a.dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_frozen_encoder_comes_back_with_its_checkpoint(saved):
  like = {'filters': jax.ShapeDtypeStruct((2, 2), np.float32)}
  found = checkpoints.restore_encoder(saved[0].path(2), like)
  np.testing.assert_array_equal(found['filters'], ENCODER['filters'])


def test_the_tower_of_the_small_actor_comes_back_too(saved, tmp_path):
  _, params = tiny.make_encoder()
  kept = checkpoints.Checkpoints(tmp_path / 'checkpoints')
  kept.save(0, saved[1], params, META)
  found = checkpoints.restore_encoder(kept.path(0), jax.eval_shape(lambda: params))
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_the_newest_is_the_one_of_the_highest_number_and_all_are_kept(saved):
  kept, _ = saved
  assert kept.latest() == 2
  assert int(checkpoints.restore(kept.path(0), saved[1], ARCHITECTURE).seed) == 1
  assert int(checkpoints.restore(kept.path(2), saved[1], ARCHITECTURE).seed) == 7


def test_what_was_said_about_a_checkpoint_is_read_back(saved):
  assert checkpoints.read_meta(saved[0].path(2)) == META


def test_an_unfinished_checkpoint_is_not_the_newest(saved, tmp_path):
  (tmp_path / '7.orbax-checkpoint-tmp').mkdir()
  assert checkpoints.Checkpoints(tmp_path).latest() is None


def test_another_architecture_is_refused_with_every_field_that_differs(saved):
  other = {'actor': {'width': 32, 'depth': 1}, 'critic': None, 'chunk': 8}
  with pytest.raises(ValueError) as refused:
    checkpoints.restore(saved[0].path(2), saved[1], other)
  lines = str(refused.value).splitlines()
  assert lines[0].endswith('is a checkpoint of another architecture:')
  assert lines[1:3] == [
    '  actor.width: 16 there, 32 here',
    "  critic: {'size': 2} there, None here",
  ]
  assert 'depth' not in str(refused.value)


def test_tuples_and_lists_are_the_same_architecture(tmp_path, saved):
  kept = checkpoints.Checkpoints(tmp_path / 'checkpoints')
  kept.save(0, saved[1], {}, {'architecture': {'sizes': [1, 2]}})
  checkpoints.check(kept.path(0), {'sizes': (1, 2)})


@pytest.mark.parametrize('name', ['nowhere', '.'])
def test_what_is_no_checkpoint_is_refused_with_an_example(name, tmp_path):
  with pytest.raises(FileNotFoundError, match=re.escape('such as runs/laundry/checkpoints/4')):
    checkpoints.check(tmp_path / name, ARCHITECTURE)


@pytest.mark.parametrize(
  'text, message',
  [
    (b'', 'found an empty file'),
    (b'\xff\xfe', 'found no whole JSON: it is no text .*utf-8'),
    (b'{"phase": ', 'found no whole JSON'),
    (b'[]', 'found list, expected an object'),
    (b'{"phase": "actor"}', 'found phase, expected architecture too'),
    (b'{"architecture": 3}', 'architecture: found 3, expected dict'),
  ],
)
def test_a_damaged_description_is_named_with_what_to_do(text, message, tmp_path):
  (tmp_path / 'meta').mkdir()
  file = tmp_path / 'meta' / 'metadata'
  file.write_bytes(text)
  with pytest.raises(ValueError, match=f'{file}: {message}.*; use another checkpoint'):
    checkpoints.check(tmp_path, ARCHITECTURE)


@pytest.mark.parametrize('by', [-10, 1])
def test_a_file_of_another_size_than_was_written_is_named_with_what_to_do(saved, tmp_path, by):
  shutil.copytree(saved[0].path(2).parent, tmp_path / 'checkpoints')
  path = tmp_path / 'checkpoints/2'
  files = [file for file in (path / 'actor').rglob('*') if file.is_file()]
  largest = max(files, key=lambda file: file.stat().st_size)
  size = largest.stat().st_size
  os.truncate(largest, size + by)
  advice = f'remove {path}: its run then goes on from checkpoint 0.'
  with pytest.raises(ValueError, match=re.escape(advice)) as refused:
    checkpoints.check(path, ARCHITECTURE)
  assert f'{largest}: found {size + by} bytes, expected {size}' in str(refused.value)
  os.truncate(largest, size)
  checkpoints.check(path, ARCHITECTURE)
  (path / 'files.json').unlink()  # as checkpoints of earlier versions are
  checkpoints.check(path, ARCHITECTURE)


def test_a_file_in_the_place_of_a_checkpoint_is_told_before_its_phase_is_done(tmp_path):
  for name in ('4', '04', 'notes'):
    (tmp_path / name).write_text('mine')
  (tmp_path / '2').mkdir()
  with pytest.raises(ValueError, match=f'{tmp_path}/4: found no directory, .* remove it'):
    checkpoints.Checkpoints(tmp_path).check_free()
  (tmp_path / '4').unlink()
  checkpoints.Checkpoints(tmp_path).check_free()
