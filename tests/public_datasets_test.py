"""The fields of public datasets are found by their names, or it is said what to choose."""

import io
import json
import pathlib

import numpy as np
from PIL import Image
import public_datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import mapping
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings

DOCS = pathlib.Path(__file__).parents[1] / 'docs/public_datasets.md'


def named(sets):
  return pytest.mark.parametrize('found', [pytest.param(s, id=s.name) for s in sets])


def short(path):
  return path and path.removeprefix('steps/')


@named([found for found in public_datasets.SETS if found.kind != 'LeRobot'])
def test_fields_of_a_public_set_are_what_they_are_there(found):
  leaves = found.leaves()
  proposed = mapping.propose(leaves)
  cameras = {camera: short(path) for camera, path in proposed['images'].items()}
  assert cameras == found.cameras
  assert [short(path) for path in proposed['prompt']] == list(filter(None, [found.prompt]))
  if found.refused:
    with pytest.raises(ValueError, match=found.refused):
      mapping.resolve(leaves, {})
    return
  resolved = mapping.resolve(leaves, {})
  assert tuple(short(path) for path in resolved.state) == tuple(found.state)
  assert tuple(short(path) for path in resolved.action) == tuple(found.action)
  assert short(resolved.success) == (found.success or None)


def write(directory, found):
  """An episode of two steps whose pictures are flat, each of its own grey."""
  columns = {
    'episode_index': [0, 0],
    'task_index': [0, 0],
    'timestamp': np.float32([0.0, 0.1]),
    'frame_index': [0, 1],
  }
  features = {}
  for name, size in (found.state | found.action).items():
    columns[name] = np.zeros((2, size), np.float32).tolist()
    features[name] = {'dtype': 'float32', 'shape': [size], 'names': None}
  for name in filter(None, (found.success, found.intervention)):
    columns[name] = [False, True]
    features[name] = {'dtype': 'bool', 'shape': [1], 'names': None}
  for number, name in enumerate(found.pictures):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(buffer, 'png')
    columns[name] = [{'bytes': buffer.getvalue(), 'path': 'x.png'}] * 2
    features[name] = {'dtype': 'image', 'shape': [8, 8, 3], 'names': None}
  for folder in ('meta', 'data/chunk-000'):
    (directory / folder).mkdir(parents=True)
  info = {'codebase_version': 'v2.1', 'fps': 10, 'chunks_size': 1000, 'features': features}
  (directory / 'meta/info.json').write_text(json.dumps(info))
  (directory / 'meta/tasks.jsonl').write_text('{"task_index": 0, "task": "fold"}')
  (directory / 'meta/episodes.jsonl').write_text('{"episode_index": 0, "length": 2}')
  pq.write_table(pa.table(columns), directory / 'data/chunk-000/episode_000000.parquet')


@named([found for found in public_datasets.SETS if found.kind == 'LeRobot'])
def test_pictures_and_flags_of_a_public_set_arrive_where_they_belong(found, tmp_path):
  write(tmp_path, found)
  if found.refused:
    with pytest.raises(ValueError, match=found.refused):
      lerobot.Dataset(tmp_path, settings.Settings())
    return
  dataset = lerobot.Dataset(tmp_path, settings.Settings())
  (episode,) = dataset
  names = list(found.pictures)
  shown = {
    camera: names[image_codec.decode(frames[0])[0, 0, 0]]
    for camera, frames in (episode.images or {}).items()
  }
  assert shown == {camera: name for camera, name in found.cameras.items() if name}
  assert set(dataset.left_out) == set(names) - set(shown.values())
  success = types.EndReason.SUCCESS if found.success else types.EndReason.CUT
  assert episode.end_reason[-1] == success
  human = types.Source.HUMAN if found.intervention else types.Source.DEMO
  assert episode.source[-1] == human


def test_the_docs_have_a_row_for_every_set():
  text = DOCS.read_text(encoding='utf-8').splitlines()
  assert [line for line in text if line.startswith('| ')][1:] == public_datasets.table()
  assert len(public_datasets.SETS) >= 40
