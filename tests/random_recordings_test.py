"""Whatever was recorded arrives: every number, picture, source and end, against plain readers."""

import argparse

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
import random_recordings

from aloe_jax import types
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import index as index_lib
from aloe_jax.data import rlds
from aloe_jax.data.importers import command

SEEDS = st.integers(0, 2**32 - 1)


def property_test(examples):
  """Few examples, since each writes and reads files; a failing seed is printed."""
  health = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
  limits = hypothesis.settings(
    max_examples=examples,
    deadline=None,
    database=None,
    suppress_health_check=health,
    phases=[hypothesis.Phase.generate],  # shrinking a seed makes nothing simpler
  )
  return lambda test: limits(hypothesis.given(seed=SEEDS)(test))


def run_import(root, kind):
  """`data import` of root/source to root/to."""
  parser = argparse.ArgumentParser()
  command.add(parser.add_subparsers())
  line = ['import', str(root / 'source'), f'--from={kind}', f'--to={root / "to"}', '--name=x']
  parsed = parser.parse_args(line)
  parsed.run(parsed)


def colour(frame):
  """Mean colour of an image as it is stored."""
  pixels = frame if isinstance(frame, np.ndarray) else image_codec.decode(frame)
  return pixels.reshape(-1, 3).mean(0)


def assert_rows(found, e, episode, start, pictures):
  """The rows of an index from `start` on are the episode's."""
  rows = slice(start, start + len(episode.frame))
  np.testing.assert_array_equal(found.state[rows], episode.state)
  np.testing.assert_array_equal(found.action[rows], episode.action)
  assert [found.prompts[number] for number in found.prompt[rows]] == episode.prompt
  for role, expected in pictures.items():
    seen = [colour(found.image(role, row)) for row in range(rows.start, rows.stop)]
    np.testing.assert_allclose(seen, expected, atol=random_recordings.TOLERANCE, err_msg=str(e))
  if episode.human is None:
    assert (found.source[rows] == types.Source.DEMO).all()
  else:
    np.testing.assert_array_equal(
      found.source[rows], np.where(episode.human, types.Source.HUMAN, types.Source.POLICY)
    )
  ends = found.end_reason[rows]
  last = {
    None: types.EndReason.CUT,
    True: types.EndReason.SUCCESS,
    False: types.EndReason.FAILURE,
  }[episode.succeeded]
  assert ends[-1] == last
  expected = np.zeros(len(ends), int)
  if episode.human is not None:
    expected[:-1] = np.where(
      ~episode.human[:-1] & episode.human[1:], types.EndReason.TAKEOVER, expected[:-1]
    )
  expected[episode.holes] = types.EndReason.CUT
  expected[-1] = last
  np.testing.assert_array_equal(ends, expected)


def assert_chunks_stay_together(found, drawn):
  """No chunk holds rows of two sides of a hole."""
  is_first = np.zeros(len(found), bool)
  is_first[found.boundaries[:-1]] = True
  whole = fragments.index(found.source, found.end_reason, is_first)
  start = 0
  for episode in drawn.episodes:
    for hole in episode.holes:
      assert whole.last[start + hole] == start + hole
      assert whole.first[start + hole + 1] == start + hole + 1
      assert not whole.terminal[start + hole]
    start += len(episode.frame)


@pytest.mark.parametrize('version', ['v2.1', 'v3.0'])
@property_test(examples=8)
def test_lerobot_arrives_as_pyarrow_and_pyav_read_it(tmp_path_factory, version, seed):
  drawn = random_recordings.draw(seed, holes=True)
  root = tmp_path_factory.mktemp('lerobot')
  random_recordings.write_lerobot(root / 'source', drawn, version)
  run_import(root, 'lerobot')
  found = index_lib.load(root / 'to', {})
  plainly = random_recordings.read_lerobot(root / 'source', drawn, version)
  for e, (episode, read) in enumerate(zip(drawn.episodes, plainly, strict=True)):
    np.testing.assert_array_equal([row['observation.state'] for row in read['rows']], episode.state)
    pictures = {
      random_recordings.ROLES[name]: colours
      for name, colours in read['pictures'].items()
      if random_recordings.ROLES[name]
    }
    assert set(found.cameras) == set(pictures)
    assert_rows(found, e, episode, found.boundaries[e], pictures)
  assert found.rates == (drawn.fps,)
  assert_chunks_stay_together(found, drawn)
  assert_tfds_agrees(root / 'to', found)


@property_test(examples=8)
def test_plain_recordings_arrive_as_they_were_saved(tmp_path_factory, seed):
  drawn = random_recordings.draw(seed, holes=False, steps_prompt=False)
  root = tmp_path_factory.mktemp('plain')
  random_recordings.write_plain(root / 'source', drawn)
  run_import(root, 'plain')
  found = index_lib.load(root / 'to', {})
  for e, episode in enumerate(drawn.episodes):
    first = int(sum(drawn.frames[:e]))
    pictures = {
      random_recordings.ROLES[name]: [
        random_recordings.picture(first, frame, c)[0, 0] for frame in episode.frame
      ]
      for c, name in enumerate(drawn.cameras)
      if random_recordings.ROLES[name]
    }
    assert set(found.cameras) == set(pictures)
    assert_rows(found, e, episode, found.boundaries[e], pictures)
  assert_tfds_agrees(root / 'to', found)


@property_test(examples=8)
def test_rlds_is_read_as_tfds_reads_it(tmp_path_factory, seed):
  drawn = random_recordings.draw(seed, holes=False, names=random_recordings.RLDS_ROLES)
  root = tmp_path_factory.mktemp('rlds')
  random_recordings.write_rlds(root / 'set', drawn)
  found = index_lib.load(root / 'set', {})
  for episode, read in zip(drawn.episodes, random_recordings.read_rlds(root / 'set'), strict=True):
    e = int(read['metadata']['file_path'])
    np.testing.assert_array_equal(
      [step['observation']['state'] for step in read['steps']], episode.state
    )
    pictures = {
      random_recordings.RLDS_ROLES[name]: [
        step['observation'][name].reshape(-1, 3).mean(0) for step in read['steps']
      ]
      for name in drawn.cameras
      if random_recordings.RLDS_ROLES[name]
    }
    assert_rows(found, e, episode, found.boundaries[e], pictures)


def assert_tfds_agrees(directory, found):
  """What an import wrote opens with TFDS, and holds what the index says."""
  row = 0
  for episode in random_recordings.read_rlds(directory):
    for step in episode['steps']:
      np.testing.assert_array_equal(step['observation']['state'], found.state[row])
      np.testing.assert_array_equal(step['action'], found.action[row])
      assert step['language_instruction'].decode() == found.prompts[found.prompt[row]]
      assert types.Source[step['source'].decode().upper()] == found.source[row]
      end = step['end_reason'].decode().upper() or 'NONE'
      assert types.EndReason[end] == found.end_reason[row]
      for camera in found.cameras:
        field = rlds.CAMERA_FIELDS[camera]
        np.testing.assert_allclose(
          step['observation'][field].reshape(-1, 3).mean(0),
          colour(found.image(camera, row)),
          atol=1,
        )
      row += 1
  assert row == len(found)
