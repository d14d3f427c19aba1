"""Plain recordings that contradict themselves, or hold what nothing reads, are refused."""

import json

import command_line
import lerobot_files
import numpy as np
import pytest

from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.data.importers import plain
from aloe_jax.data.importers import settings as settings_lib


def take(root, number, arrays=None, **told):
  """An episode of four steps with a picture; returns its folder."""
  folder = root / f'take_{number}'
  (folder / 'head').mkdir(parents=True)
  given = {'state': np.zeros((4, 5)), 'action': np.zeros((4, 2))} | (arrays or {})
  for name, array in given.items():
    np.save(folder / f'{name}.npy', array)
  for t in range(4):
    (folder / f'head/{t}.png').write_bytes(lerobot_files.png(np.full((16, 16, 3), t, np.uint8)))
  (folder / 'episode.json').write_text(json.dumps({'prompt': 'fold'} | told))
  return folder


def refusal(root, **changes):
  with pytest.raises(ValueError) as refused:
    list(plain.Folder(root, settings_lib.Settings(**changes)))
  return str(refused.value)


ENDS = {'end_reason': np.array(['', '', '', 'failure'])}


@pytest.mark.parametrize(
  'arrays, told, message',
  [
    ({}, {'fps': 30, 'metadata': {'fps': 15}}, 'found fps 30 and metadata fps 15, expected one'),
    (
      {},
      {'fps': 30, 'metadata': {'control_hz': '15'}},
      'found fps 30 and metadata control_hz 15.0',
    ),
    (
      {},
      {'end_reason': 'success', 'metadata': {'success': False}},
      'found metadata success False, but the episode ends by success',
    ),
    (
      {},
      {'success': True, 'metadata': {'outcome': 'failure'}},
      "found metadata outcome 'failure', but the episode ends by success",
    ),
    ({}, {'metadata': {'success': True}}, 'success True, but the episode ends by cut'),
    (ENDS, {'success': True}, 'found success True, but the episode ends by failure'),
    (ENDS, {'end_reason': 'timeout'}, "found 'failure' at the last step and 'timeout' in episode"),
    (
      {'source': np.array(['policy'] * 3 + ['human'])},
      {'source': 'demo'},
      "source: found 'demo' in episode.json and another at some steps",
    ),
    ({'state': np.zeros((4, 5), complex)}, {}, 'state: found complex128 [4, 5], expected numbers'),
    ({}, {'prompt': ' \n'}, 'prompt: found none, expected what the robot was asked to do'),
  ],
)
def test_a_contradiction_is_refused_by_its_file(arrays, told, message, tmp_path):
  folder = take(tmp_path, 0, arrays, **told)
  found = refusal(tmp_path)
  assert found.startswith(str(folder))
  assert message in found


@pytest.mark.parametrize(
  'arrays, told',
  [
    ({}, {'fps': 30, 'metadata': {'fps': 30.0, 'hz': 30}}),
    ({}, {'success': True, 'metadata': {'success': 1, 'outcome': 'Success'}}),
    ({}, {'end_reason': 'timeout', 'metadata': {'success': False}}),
    (ENDS, {'success': False, 'end_reason': 'failure'}),
    ({'source': np.array(['human'] * 4)}, {'source': 'human'}),
  ],
)
def test_what_is_told_twice_alike_is_accepted(arrays, told, tmp_path):
  if len(told) == 2 and 'end_reason' in told and 'success' in told:
    del told['success']
  take(tmp_path, 0, arrays, **told)
  assert len(list(plain.Folder(tmp_path, settings_lib.Settings()))) == 1


@pytest.mark.parametrize('cameras', [None, {'head': 'head'}])
def test_a_misspelt_array_is_refused_whether_cameras_are_chosen_or_not(cameras, tmp_path):
  take(tmp_path, 0, {'end_resaon': np.array(['', '', '', 'success'])})
  assert "take_0: found 'end_resaon', expected only action, end_reason," in refusal(
    tmp_path, cameras=cameras
  )


def test_pictures_that_were_not_chosen_are_left_out(tmp_path):
  film = np.zeros((4, 8, 8, 3), np.uint8)
  take(tmp_path, 0, {'side': film, 'head_depth': film})
  folder = plain.Folder(tmp_path, settings_lib.Settings(cameras={'head': 'head_depth'}))
  (episode,) = folder
  assert list(episode.images) == ['head']
  assert episode.images['head'].shape == (4, 8, 8, 3)
  assert folder.left_out == ['head', 'side']
  assert folder.notes[0] == 'images: head_depth -> head as asked, although it is depth, by its name'


def test_it_is_said_which_picture_is_which_camera(tmp_path, monkeypatch, capsys):
  take(tmp_path / 'in', 0)
  given = (tmp_path / 'in', '--from=plain', '--to', tmp_path / 'out', '--name=x')
  _, printed, _ = command_line.data(monkeypatch, capsys, 'import', *given)
  assert 'images: head -> head\nimages: none -> left_wrist, right_wrist\n' in printed


def change(name, value):
  """What changes one field of `episode.json`."""

  def act(folder):
    path = folder / 'episode.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

  return act


def save(name, array):
  return lambda folder: np.save(folder / f'{name}.npy', array)


def larger(folder):
  for t in range(4):
    path = folder / f'head/{t}.png'
    path.write_bytes(lerobot_files.png(np.zeros((32, 16, 3), np.uint8)))


def without_camera(folder):
  for path in (folder / 'head').iterdir():
    path.unlink()
  (folder / 'head').rmdir()


@pytest.mark.parametrize('odd', [0, 2, 4])
@pytest.mark.parametrize(
  'act, message',
  [
    (save('state', np.zeros((4, 6))), 'state: found [6], expected [5] as in most episodes'),
    (save('action', np.zeros((4, 3))), 'action: found [3], expected [2] as in most episodes'),
    (larger, 'head: found png 32 x 16, expected png 16 x 16 as in most episodes'),
    (without_camera, 'head: found nothing, expected png 16 x 16 as in most episodes'),
    (change('metadata', {'a': 1}), "metadata 'a': found a int, expected nothing as in most epi"),
    (change('fps', 5), 'fps: found a rate, expected nothing as in most episodes'),
    (change('metadata', {'a': [1]}), "metadata 'a': found a list, expected nothing"),
    (change('prompt', 'x\ud800'), "prompt: found 'x\\ud800', which is no text that can be kept"),
    (lambda folder: (folder / 'state.npy').write_bytes(b''), 'state.npy: found no arrays'),
    (
      lambda folder: (folder / 'episode.json').write_bytes(b''),
      'episode.json: found an empty file',
    ),
  ],
)
def test_the_odd_episode_is_left_out_wherever_it_stands(
  act, message, odd, tmp_path, monkeypatch, capsys
):
  folders = [take(tmp_path / 'in', number) for number in range(5)]
  act(folders[odd])
  given = (tmp_path / 'in', '--from=plain', '--to', tmp_path / 'out', '--name=x')
  status, _, _ = command_line.data(monkeypatch, capsys, 'import', *given)
  assert message in status
  assert f'take_{odd}' in status
  status, printed, _ = command_line.data(monkeypatch, capsys, 'import', *given, '--on-error=skip')
  assert status == 0, status
  (line,) = (line for line in printed.splitlines() if line.startswith('left out: '))
  assert message in line
  assert printed.strip().endswith('4 episodes imported, 1 left out')
  names = [one.metadata['file_path'] for one in rlds.read(tmp_path / 'out')]
  assert names == [f'in/take_{number}' for number in range(5) if number != odd]
  assert len(index.load(tmp_path / 'out', {})) == 16


@pytest.mark.parametrize('odd', [0, 2])
@pytest.mark.parametrize(
  'value, message', [([1], 'found a list, expected a bool'), (2**70, 'hold')]
)
def test_a_value_of_the_metadata_that_cannot_be_kept_leaves_its_episode_out(
  value, message, odd, tmp_path, monkeypatch, capsys
):
  for number in range(3):
    take(tmp_path / 'in', number, metadata={'a': value if number == odd else 1})
  given = (tmp_path / 'in', '--from=plain', '--to', tmp_path / 'out', '--name=x')
  _, printed, _ = command_line.data(monkeypatch, capsys, 'import', *given, '--on-error=skip')
  (line,) = (line for line in printed.splitlines() if line.startswith('left out: '))
  assert f'take_{odd}' in line
  assert printed.strip().endswith('2 episodes imported, 1 left out')
