"""All that is wrong with a dataset is listed, by file, record and episode."""

import json

import command_line
import foreign
import golden_rlds
import numpy as np
import pytest

from aloe_jax.data import tfrecord
from aloe_jax.data.tools import inspection
from aloe_jax.data.tools import validation

DATASET = golden_rlds.DATASET
LENGTHS = golden_rlds.LENGTHS
IDS = golden_rlds.IDS
CAMERAS = golden_rlds.CAMERAS


def with_broken_image(payload):
  """The first JPEG of the left wrist loses its header."""
  at = payload.index(b'\xff\xd8\xff', payload.index(b'steps/observation/left_wrist_image')) + 3
  return payload[:at] + b'\0\0\0' + payload[at + 3 :]


def test_nothing_is_wrong_with_an_intact_split():
  (report,) = validation.validate(DATASET, {}, split='train')
  assert not report.problems
  assert not report.notes
  assert report.size == sum(path.stat().st_size for path in DATASET.glob('*train*'))
  assert report.survey.images == {camera: {'96 x 96': sum(LENGTHS)} for camera in CAMERAS}
  ranges = report.to_json()['ranges']
  np.testing.assert_allclose(ranges['state']['max'][:2], [max(IDS), max(LENGTHS) - 1])
  assert ranges['state']['max_at'][1] == [LENGTHS.index(max(LENGTHS)), max(LENGTHS) - 1]
  first, last = -0.1 + 0.2 * np.arange(14) / 13, 0.01 * (max(LENGTHS) - 1)
  np.testing.assert_allclose(ranges['action']['min'], first, atol=1e-6)
  np.testing.assert_allclose(ranges['action']['max'], first + last, atol=1e-6)


def test_all_that_is_wrong_is_listed_by_file_record_and_episode(dataset):
  data = bytearray(foreign.shard(dataset, 0).read_bytes())
  data[100] ^= 1
  foreign.shard(dataset, 0).write_bytes(data)
  golden_rlds.rewrite(foreign.shard(dataset, 1), 0, golden_rlds.with_nan)
  golden_rlds.rewrite(foreign.shard(dataset, 1), 2, with_broken_image)
  (report,) = validation.validate(dataset, {}, split='train')
  places = [(problem.file, problem.record, problem.episode) for problem in report.problems]
  names = [foreign.shard(dataset, number).name for number in (0, 1)]
  assert places == [(names[0], 0, 0), (names[1], 0, 3), (names[1], 2, 5)]
  checksum, nan, image = (problem.message for problem in report.problems)
  assert 'do not match their checksum' in checksum
  assert 'step 2: steps/observation/state: found NaN or infinity' in nan
  assert 'step 0: image of left_wrist: ' in image
  assert 'the image is damaged' in image
  assert report.survey.lengths == [LENGTHS[e] for e in (1, 2, 4, 5)]
  assert report.survey.images['left_wrist'] == {'96 x 96': sum(report.survey.lengths) - 1}


def test_a_file_that_was_cut_is_wrong_even_between_two_records(dataset):
  path = foreign.shard(dataset, 1)
  data = path.read_bytes()
  second = list(tfrecord.walk(path))[1]
  stop = second.offset + len(second.payload) + 4
  path.write_bytes(data[: stop + 40])
  (report,) = validation.validate(dataset, {}, split='train')
  (cut,) = report.problems
  assert (cut.file, cut.record, cut.episode) == (path.name, 2, 5)
  assert 'it is incomplete' in cut.message
  path.write_bytes(data[:stop])
  (report,) = validation.validate(dataset, {}, split='train')
  (count,) = report.problems
  assert (count.file, count.record, count.episode) == (path.name, None, None)
  assert 'found 2 records, expected 3' in count.message
  assert len(report.survey.lengths) == 5


@pytest.mark.parametrize('container', ['tfrecord', 'array_record'])
def test_images_are_decoded_in_any_container(container, tmp_path):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(
    tmp_path / 'data', {'image': image}, lambda e, t: {'image': foreign.pixels(e, t)},
    container=container,
  )  # fmt: skip
  chosen = {'images': {'head': 'image'}}
  (report,) = validation.validate(tmp_path / 'data', chosen)
  assert not report.problems
  assert report.survey.images == {'head': {'2 x 3': sum(foreign.LENGTHS)}}
  frames = inspection.inspect(tmp_path / 'data', chosen, episode=2).scene.frames['head']
  np.testing.assert_array_equal(frames, [foreign.pixels(2, t) for t in range(3)])


def test_a_broken_png_is_wrong_at_its_step(tmp_path):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(tmp_path / 'data', {'image': image}, lambda e, t: {'image': foreign.pixels(e, t)})
  golden_rlds.rewrite(
    foreign.shard(tmp_path / 'data', 1), 0, lambda payload: payload.replace(b'IHDR', b'IHDX', 1)
  )
  (report,) = validation.validate(tmp_path / 'data', {'images': {'head': 'image'}})
  (problem,) = report.problems
  assert (problem.record, problem.episode) == (0, 2)
  assert 'episode 2, step 0: image of head: ' in problem.message


def test_every_missing_file_of_every_split_is_named(monkeypatch, capsys):
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', DATASET, '--json')
  train, val = json.loads(printed)
  assert status == 1
  assert (train['split'], train['problems']) == ('train', [])
  assert [problem['file'] for problem in val['problems']] == [
    *(f'aloe_oxe_like-val.tfrecord-0000{number}-of-00002' for number in range(2)),
    '',
  ]
  assert 'there is no episode' in val['problems'][-1]['message']


def text():
  return foreign.tfds_features().Text()


def test_ends_that_are_lost_are_wrong(tmp_path):
  def values(e, t):
    if e == 0:  # four steps: the policy, then a human
      return {'source': 'policy' if t < 2 else 'human', 'end_reason': ['', '', '', 'success'][t]}
    return {'source': 'demo', 'end_reason': ''}

  foreign.simple(tmp_path / 'data', {'source': text(), 'end_reason': text()}, values)
  (report,) = validation.validate(tmp_path / 'data', {})
  assert [(p.record, p.episode) for p in report.problems] == [(0, 0), (1, 1), (0, 2)]
  takeover, *ends = (problem.message for problem in report.problems)
  assert 'step 1 is the last of the policy before a human acts' in takeover
  assert 'expected TAKEOVER' in takeover
  assert 'step 0 is the last of its episode but has end_reason NONE' in ends[0]
  assert 'step 2 is the last of its episode but has end_reason NONE' in ends[1]


def test_what_may_be_meant_is_noted_with_its_episodes(tmp_path):
  def values(e, t):
    return {'language_instruction': 'fold' if e == 0 else '', 'action': np.float32([7, t])}

  foreign.simple(tmp_path / 'data', {'language_instruction': text()}, values)
  (report,) = validation.validate(tmp_path / 'data', {})
  assert not report.problems
  assert [str(note) for note in report.notes] == [
    'One step only in the episodes: 1.',
    'An empty prompt in the episodes: 1, 2.',
    'action: numbers [0] never move.',
  ]


def test_a_long_list_of_episodes_is_cut_for_a_person():
  shown = str(validation.Note('Odd', tuple(range(25))))
  assert shown.startswith('Odd: 0, 1, 2')
  assert shown.endswith('19 and 5 more.')


def test_datasets_that_do_not_go_together_are_wrong_and_the_others_are_read_on(
  tmp_path, monkeypatch, capsys
):
  foreign.simple(tmp_path / 'narrow')
  options = ('--split', 'train', '--json')
  status, printed, _ = command_line.data(
    monkeypatch, capsys, 'validate', DATASET, tmp_path / 'none', tmp_path / 'narrow', *options
  )
  good, missing, narrow = json.loads(printed)
  assert status == 1
  assert not good['problems']
  assert 'there is no such directory' in missing['problems'][0]['message']
  assert [problem['message'] for problem in narrow['problems']] == [
    f'{tmp_path / "narrow"}: {key}: found {width} numbers a step, expected 14 as in {DATASET}.'
    for key, width in (('state', 3), ('action', 2))
  ]
