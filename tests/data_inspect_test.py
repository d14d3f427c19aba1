"""What is in a dataset is told, and its images are shown."""

import collections
import json

import command_line
import foreign
import golden_rlds
import numpy as np
from PIL import Image
import pytest

from aloe_jax.data import mapping
from aloe_jax.data import schema
from aloe_jax.data.tools import contact_sheet
from aloe_jax.data.tools import inspection

DATASET = golden_rlds.DATASET
EXPECTED = golden_rlds.EXPECTED
LENGTHS = golden_rlds.LENGTHS
IDS = golden_rlds.IDS
CAMERAS = golden_rlds.CAMERAS


def test_an_inspection_counts_what_was_recorded():
  found = inspection.inspect(DATASET, {}).to_json()
  assert found['container'] == 'tfrecord'
  assert found['splits'] == {'train': 6, 'val': 2}
  assert found['fields']['steps/observation/image']['shape'] == (96, 96, 3)
  survey = found['survey']
  assert survey['episodes'] == 6
  assert survey['steps'] == sum(LENGTHS)
  assert survey['length'] == {'min': 12, 'median': (24 + 27) / 2, 'max': 51}
  names = {'demo': 'demo', 'rollout': 'policy', 'intervention': 'human'}
  steps, ends = collections.Counter(), collections.Counter()
  for episode in EXPECTED:
    source = names[episode['metadata']['episode_metadata/source']]
    success = episode['metadata']['episode_metadata/success']
    steps[source] += episode['length']
    ends[source, 'success' if success else 'failure'] += 1
  assert survey['steps_by_source'] == steps
  assert {(s, r): n for s, of in survey['ends_by_source'].items() for r, n in of.items()} == ends
  assert survey['prompts'] == {'pack the phone into the box': 3, 'fold the towel': 3}
  assert survey['images'] == {camera: {'96 x 96': 6} for camera in CAMERAS}
  assert found['unreadable'] == 0


def test_the_mapping_that_is_shown_reads_the_same_fields():
  leaves = schema.read(DATASET).leaves
  shown = inspection.inspect(DATASET, {}).mapping
  assert shown['head'] == 'observation/image'
  assert shown['intervention'] == 'none'
  assert mapping.resolve(leaves, mapping.parse(shown)) == mapping.resolve(leaves, {})


def test_the_images_are_those_of_the_episodes_first_middle_and_last_step(tmp_path):
  scene = inspection.inspect(DATASET, {}, episode=2).scene
  assert 'episode 2' in scene.title
  last = LENGTHS[2] - 1
  steps = (0, last // 2, last)
  assert [caption.split()[1] for caption in scene.captions] == [str(step) for step in steps]
  colours = [  # of a block in the corner, by episode, step and camera
    [20 + 12 * IDS[2] % 200, 20 + 3 * step % 220, 60 + 60 * camera]
    for camera in range(3)
    for step in steps
  ]
  frames = [frame for camera in CAMERAS for frame in scene.frames[camera]]
  for frame, colour in zip(frames, colours, strict=True):
    np.testing.assert_allclose(frame[4:12, 4:12].mean((0, 1)), colour, atol=2)
  path = tmp_path / 'new' / 'frames.png'
  contact_sheet.write(path, scene)
  with Image.open(path) as image:
    sheet = np.asarray(image.convert('RGB')).reshape(-1, 3).astype(int)
  for colour in colours:
    assert (np.abs(sheet - colour).max(axis=1) <= 3).sum() > 1000  # pixels
  assert [entry.name for entry in path.parent.iterdir()] == ['frames.png']


def test_a_camera_without_an_image_is_drawn_as_missing(tmp_path):
  drawn = np.full((4, 6, 3), 200, np.uint8)
  scene = inspection.Scene('title', ['step 0'], {'head': [drawn], 'left_wrist': [None]})
  contact_sheet.write(tmp_path / 'frames.png', scene)
  with Image.open(tmp_path / 'frames.png') as image:
    assert 1 / 5 < (np.asarray(image.convert('L')) == 200).mean() < 1 / 2  # of the sheet


def test_a_dataset_of_unknown_names_shows_its_fields_and_what_to_choose(
  tmp_path, monkeypatch, capsys
):
  tensor = foreign.tfds_features().Tensor(shape=(2,), dtype=np.float32)
  values = np.zeros(2, np.float32)
  foreign.write(
    tmp_path / 'data', {'joints': tensor, 'torque': tensor}, [
      {'steps': [{'joints': values, 'torque': values}] * 3}
    ]
  )  # fmt: skip
  status, printed, errors = command_line.data(monkeypatch, capsys, 'inspect', tmp_path / 'data')
  assert status.startswith(f'error: {tmp_path / "data"}: state: found no field with a name in use')
  assert 'steps/joints, steps/torque' in status
  assert 'joints: tensor float32 [2]' in printed
  assert '--config.data.mapping.state=none' in printed
  assert not errors
  chosen = ('--mapping.state=joints', '--mapping.action=torque', '--json')
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', tmp_path / 'data', *chosen)
  assert status == 0
  assert json.loads(printed)['survey']['steps'] == 3


@pytest.mark.parametrize(
  'options, message',
  [
    (['--split', 'test'], "split 'test': expected one of ['train', 'val']."),
    (['--episode', '6'], 'found no episode 6, expected one of 0 to 5.'),
    (['--mapping.head', 'observation/imag'], 'images.head: observation/imag is missing'),
  ],
)
def test_what_is_not_there_cannot_be_inspected(options, message, monkeypatch, capsys):
  status, _, _ = command_line.data(monkeypatch, capsys, 'inspect', DATASET, *options)
  assert status.startswith('error: ')
  assert message in status


def test_images_that_no_camera_shows_are_named(tmp_path, monkeypatch, capsys):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(
    tmp_path / 'data', {'image': image, 'odd': image},
    lambda e, t: dict.fromkeys(('image', 'odd'), foreign.pixels(e, t)),
  )  # fmt: skip
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', tmp_path / 'data')
  assert status == 0
  assert '--config.data.mapping.head=image' in printed
  assert 'Images that no camera shows: odd' in printed
