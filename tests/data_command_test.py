"""What is in a dataset is told, what is wrong with it is listed to the last, by one command."""

import collections
import json
import pathlib
import shutil
import struct
import subprocess
import sys

import command_line
import foreign
import numpy as np
from PIL import Image
import pytest

from aloe_jax import normalize
from aloe_jax.data import __main__ as command
from aloe_jax.data import contact_sheet
from aloe_jax.data import features
from aloe_jax.data import inspection
from aloe_jax.data import mapping
from aloe_jax.data import tfrecord
from aloe_jax.data import validation

GOLDEN = pathlib.Path(__file__).parent / 'golden/rlds_oxe_like'
DATASET = GOLDEN / 'aloe_oxe_like/0.1.0'
EXPECTED = json.loads((GOLDEN / 'expected.json').read_text())['train']
LENGTHS = [episode['length'] for episode in EXPECTED]
IDS = [episode['metadata']['episode_metadata/episode_id'] for episode in EXPECTED]
CAMERAS = ('head', 'left_wrist', 'right_wrist')


@pytest.fixture
def dataset(tmp_path):
  """A copy of the golden dataset, to be damaged."""
  return pathlib.Path(shutil.copytree(DATASET, tmp_path / 'data', copy_function=shutil.copyfile))


def run(monkeypatch, capsys, *arguments):
  """Status, output and errors of the command, in this process."""
  monkeypatch.setattr(sys, 'argv', ['data', *map(str, arguments)])
  status = 0
  try:
    command.main()
  except SystemExit as exit:
    status = exit.code
  printed = capsys.readouterr()
  return status, printed.out, printed.err


def shard(directory, number):
  return sorted(directory.glob('*tfrecord*'))[number]


def rewrite(path, number, change):
  """Changes the payload of a record, with checksums that are right."""
  records = [bytes(record.payload) for record in tfrecord.walk(path)]
  records[number] = change(records[number])
  with path.open('wb') as file:
    for record in records:
      length = struct.pack('<Q', len(record))
      file.write(length + struct.pack('<I', tfrecord.masked_checksum(length)))
      file.write(record + struct.pack('<I', tfrecord.masked_checksum(record)))


def with_nan(payload):
  """The state at step 2 is not a number; numbers 0 and 1 are those of episode and step."""
  at = payload.index(struct.pack('<f', 2.0), payload.index(b'steps/observation/state'))
  while struct.unpack_from('<f', payload, at + 4)[0] != np.float32(-0.1 + 0.02):
    at = payload.index(struct.pack('<f', 2.0), at + 1)
  return payload[:at] + struct.pack('<f', np.nan) + payload[at + 4 :]


def with_broken_picture(payload):
  """The first JPEG of the left wrist loses its header."""
  at = payload.index(b'\xff\xd8\xff', payload.index(b'steps/observation/left_wrist_image')) + 3
  return payload[:at] + b'\0\0\0' + payload[at + 3 :]


# inspect


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
  assert survey['pictures'] == {camera: {'96 x 96': 6} for camera in CAMERAS}
  assert found['unreadable'] == 0


def test_the_mapping_that_is_shown_reads_the_same_fields():
  leaves = features.read(DATASET).leaves
  shown = inspection.inspect(DATASET, {}).mapping
  assert shown['head'] == 'observation/image'
  assert shown['intervention'] == 'none'
  assert mapping.resolve(leaves, mapping.parse(shown)) == mapping.resolve(leaves, {})


def test_the_pictures_are_those_of_the_episodes_first_middle_and_last_step(tmp_path):
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


def test_a_camera_without_a_picture_is_drawn_as_missing(tmp_path):
  picture = np.full((4, 6, 3), 200, np.uint8)
  scene = inspection.Scene('title', ['step 0'], {'head': [picture], 'left_wrist': [None]})
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
  status, printed, errors = run(monkeypatch, capsys, 'inspect', tmp_path / 'data')
  assert status.startswith(f'error: {tmp_path / "data"}: state: found no field with a name in use')
  assert 'steps/joints, steps/torque' in status
  assert 'joints: tensor float32 [2]' in printed
  assert '--config.data.mapping.state=none' in printed
  assert not errors
  chosen = ('--mapping.state=joints', '--mapping.action=torque', '--json')
  status, printed, _ = run(monkeypatch, capsys, 'inspect', tmp_path / 'data', *chosen)
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
  status, _, _ = run(monkeypatch, capsys, 'inspect', DATASET, *options)
  assert status.startswith('error: ')
  assert message in status


def test_pictures_that_no_camera_shows_are_named(tmp_path, monkeypatch, capsys):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(
    tmp_path / 'data', {'image': image, 'odd': image},
    lambda e, t: dict.fromkeys(('image', 'odd'), foreign.pixels(e, t)),
  )  # fmt: skip
  status, printed, _ = run(monkeypatch, capsys, 'inspect', tmp_path / 'data')
  assert status == 0
  assert '--config.data.mapping.head=image' in printed
  assert 'Pictures that no camera shows: odd' in printed


# validate


def test_nothing_is_wrong_with_an_intact_split():
  (report,) = validation.validate(DATASET, {}, split='train')
  assert not report.problems
  assert not report.notes
  assert report.size == sum(path.stat().st_size for path in DATASET.glob('*train*'))
  assert report.survey.pictures == {camera: {'96 x 96': sum(LENGTHS)} for camera in CAMERAS}
  ranges = report.to_json()['ranges']
  np.testing.assert_allclose(ranges['state']['max'][:2], [max(IDS), max(LENGTHS) - 1])
  assert ranges['state']['max_at'][1] == [LENGTHS.index(max(LENGTHS)), max(LENGTHS) - 1]
  first, last = -0.1 + 0.2 * np.arange(14) / 13, 0.01 * (max(LENGTHS) - 1)
  np.testing.assert_allclose(ranges['action']['min'], first, atol=1e-6)
  np.testing.assert_allclose(ranges['action']['max'], first + last, atol=1e-6)


def test_all_that_is_wrong_is_listed_by_file_record_and_episode(dataset):
  data = bytearray(shard(dataset, 0).read_bytes())
  data[100] ^= 1
  shard(dataset, 0).write_bytes(data)
  rewrite(shard(dataset, 1), 0, with_nan)
  rewrite(shard(dataset, 1), 2, with_broken_picture)
  (report,) = validation.validate(dataset, {}, split='train')
  places = [(problem.file, problem.record, problem.episode) for problem in report.problems]
  names = [shard(dataset, number).name for number in (0, 1)]
  assert places == [(names[0], 0, 0), (names[1], 0, 3), (names[1], 2, 5)]
  checksum, nan, picture = (problem.message for problem in report.problems)
  assert 'do not match their checksum' in checksum
  assert 'step 2: steps/observation/state: found NaN or infinity' in nan
  assert 'step 0: picture of left_wrist: ' in picture
  assert 'the picture is damaged' in picture
  assert report.survey.lengths == [LENGTHS[e] for e in (1, 2, 4, 5)]
  assert report.survey.pictures['left_wrist'] == {'96 x 96': sum(report.survey.lengths) - 1}


def test_a_file_that_was_cut_is_wrong_even_between_two_records(dataset):
  path = shard(dataset, 1)
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
def test_pictures_are_decoded_in_any_container(container, tmp_path):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(
    tmp_path / 'data', {'image': image}, lambda e, t: {'image': foreign.pixels(e, t)},
    container=container,
  )  # fmt: skip
  chosen = {'images': {'head': 'image'}}
  (report,) = validation.validate(tmp_path / 'data', chosen)
  assert not report.problems
  assert report.survey.pictures == {'head': {'2 x 3': sum(foreign.LENGTHS)}}
  frames = inspection.inspect(tmp_path / 'data', chosen, episode=2).scene.frames['head']
  np.testing.assert_array_equal(frames, [foreign.pixels(2, t) for t in range(3)])


def test_a_broken_png_is_wrong_at_its_step(tmp_path):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(tmp_path / 'data', {'image': image}, lambda e, t: {'image': foreign.pixels(e, t)})
  rewrite(shard(tmp_path / 'data', 1), 0, lambda payload: payload.replace(b'IHDR', b'IHDX', 1))
  (report,) = validation.validate(tmp_path / 'data', {'images': {'head': 'image'}})
  (problem,) = report.problems
  assert (problem.record, problem.episode) == (0, 2)
  assert 'episode 2, step 0: picture of head: ' in problem.message


def test_every_missing_file_of_every_split_is_named(monkeypatch, capsys):
  status, printed, _ = run(monkeypatch, capsys, 'validate', DATASET, '--json')
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
  status, printed, _ = run(
    monkeypatch, capsys, 'validate', DATASET, tmp_path / 'none', tmp_path / 'narrow', *options
  )
  good, missing, narrow = json.loads(printed)
  assert status == 1
  assert not good['problems']
  assert 'there is no such directory' in missing['problems'][0]['message']
  assert [problem['message'] for problem in narrow['problems']] == [
    f'{tmp_path / "narrow"}: action: found 2 numbers a step, expected 14 as in {DATASET}.'
  ]


# stats


def test_statistics_are_those_of_all_chunks_written_out(tmp_path, monkeypatch, capsys):
  path = tmp_path / 'norm_stats.json'
  options = ('--chunk', 4, '--delta', 2, -11, '--state-size', 13, '--cache', tmp_path, '--json')
  arguments = ('stats', DATASET, DATASET, '--to', path, *options)
  status, printed, _ = run(monkeypatch, capsys, *arguments)
  assert status == 0
  states, actions = [], []
  for number, length in zip(IDS, LENGTHS, strict=True):
    for t in range(length):
      states.append([number, t])
      for k in range(t, min(t + 4, length)):
        action = -0.1 + 0.2 * np.arange(14) / 13 + 0.01 * k
        actions.append(action - [number, t, *[0] * 12])
  found = normalize.read(path)
  assert json.loads(printed) == json.loads(path.read_text())
  assert found['state'].mean.shape == (13,)
  np.testing.assert_allclose(found['state'].mean[:2], np.mean(states, axis=0), rtol=1e-6)
  np.testing.assert_allclose(found['state'].std[:2], np.std(states, axis=0), rtol=1e-6)
  np.testing.assert_allclose(found['actions'].mean, np.mean(actions, axis=0), atol=1e-6)
  np.testing.assert_allclose(found['actions'].std, np.std(actions, axis=0), atol=1e-5)
  low, high = np.quantile(actions, normalize.QUANTILES, axis=0)
  np.testing.assert_allclose(found['actions'].q01[:2], low[:2], atol=0.3)
  np.testing.assert_allclose(found['actions'].q99[:2], high[:2], atol=0.3)


@pytest.mark.parametrize(
  'options, message',
  [
    ([], 'norm_stats.json exists already; remove it or pass --overwrite.'),
    (['--overwrite', '--state-size', '15'], 'the state has 14 numbers, expected the 15 asked for.'),
    (['--overwrite', '--chunk', '60'], 'the longest of 6 fragments has 51 steps'),
    (['--overwrite', '--delta', '20'], 'delta (20,) covers 20 numbers, but the state has 14.'),
  ],
)
def test_statistics_that_are_not_wanted_or_cannot_be_are_not_written(
  options, message, tmp_path, monkeypatch, capsys
):
  path = tmp_path / 'norm_stats.json'
  path.write_text('kept')
  arguments = ('stats', DATASET, '--to', path, '--cache', tmp_path, *options)
  status, _, _ = run(monkeypatch, capsys, *arguments)
  assert status.startswith('error: ')
  assert message in status
  assert path.read_text() == 'kept'


def test_statistics_leave_out_what_training_would(dataset, tmp_path, monkeypatch, capsys):
  rewrite(shard(dataset, 1), 0, with_nan)
  path = tmp_path / 'norm_stats.json'
  arguments = ('stats', dataset, '--to', path, '--cache', tmp_path, '--json')
  status, _, _ = run(monkeypatch, capsys, *arguments)
  assert 'step 2: steps/observation/state: found NaN' in status
  assert status.endswith('on_error=skip leaves out what is wrong.')
  status, _, _ = run(monkeypatch, capsys, *arguments, '--on-error', 'skip')
  assert status == 0
  numbers = np.repeat(IDS[:3] + IDS[4:], LENGTHS[:3] + LENGTHS[4:])
  np.testing.assert_allclose(normalize.read(path)['state'].mean[0], numbers.mean(), rtol=1e-6)


# The commands, as a user starts them


def test_every_command_says_what_it_does(tmp_path):
  status, printed, _ = command_line.run(
    'data', 'inspect', str(DATASET), '--picture', str(tmp_path / 'frames.png')
  )
  assert status == 0
  assert 'Split train: 6 episodes in 2 files' in printed
  assert (tmp_path / 'frames.png').exists()
  status, printed, _ = command_line.run('data', 'validate', str(DATASET), '--split', 'train')
  assert status == 0
  assert 'No problems found.' in printed
  path = tmp_path / 'norm_stats.json'
  status, printed, _ = command_line.run(
    'data', 'stats', str(DATASET), '--to', str(path), '--cache', str(tmp_path)
  )
  assert status == 0
  assert f'Kept in {path}' in printed
  result = command_line.run('data', 'inspect', str(tmp_path / 'none'))
  command_line.assert_refused(result, f'{tmp_path / "none"}: there is no such directory')


def test_tensorflow_is_never_loaded(tmp_path):
  program = f"""
import sys
dataset, directory = {str(DATASET)!r}, {str(tmp_path)!r}
from aloe_jax.data import __main__ as command
for arguments in (
  ['inspect', dataset],
  ['validate', dataset, '--split', 'train'],
  ['stats', dataset, '--to', directory + '/norm_stats.json', '--cache', directory],
):
  sys.argv = ['data', *arguments]
  command.main()
assert not [name for name in sys.modules if name.startswith('tensorflow')]
"""
  subprocess.run([sys.executable, '-c', program], cwd=command_line.ROOT, check=True)
