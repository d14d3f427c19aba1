"""Plain folders become RLDS: every number, image and end arrives, and wrong files are named."""

import argparse
import io
import json
import shutil

import command_line
import numpy as np
from PIL import Image
import pytest

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data.importers import command
from aloe_jax.data.importers import plain
from aloe_jax.data.importers import settings as settings_lib

STEPS = (4, 3)


def image(episode, step, camera):
  """[16, 24, 3], flat: the colour tells where it belongs."""
  return np.full((16, 24, 3), (40 * episode + 20, 30 * step + 10, 50 * camera + 5), np.uint8)


def encode(pixels, kind):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, kind, **({'quality': 95} if kind == 'jpeg' else {}))
  return buffer.getvalue()


def numbers(episode):
  rng = np.random.default_rng(episode)
  length = STEPS[episode]
  return {'state': rng.normal(size=(length, 14)), 'action': rng.normal(size=(length, 7))}


@pytest.fixture
def folder(tmp_path):
  """Two episodes: one in .npy files ended by success, one in an .npz with steps of a human."""
  source = tmp_path / 'recordings'
  for episode, length in enumerate(STEPS):
    path = source / f'episode_{episode}'
    (path / 'head').mkdir(parents=True)
    for t in range(length):
      (path / f'head/{t:06d}.jpg').write_bytes(encode(image(episode, t, 0), 'jpeg'))
    frames = np.stack([image(episode, t, 1) for t in range(length)])
    np.save(path / 'left_wrist.npy', frames)
    (path / 'right_wrist').mkdir()
    for t in range(length):
      (path / f'right_wrist/{t:06d}.png').write_bytes(encode(image(episode, t, 2), 'png'))
  first, second = source / 'episode_0', source / 'episode_1'
  for name, array in numbers(0).items():
    np.save(first / f'{name}.npy', array)
  told = {'prompt': 'fold the towel', 'success': True, 'metadata': {'operator': 'A'}}
  (first / 'episode.json').write_text(json.dumps(told))
  np.savez(
    second / 'episode.npz',
    source=np.array(['policy', 'policy', 'human']),
    end_reason=np.array(['', 'takeover', 'failure']),
    **numbers(1),
  )
  told = {'prompt': 'fold the shirt', 'metadata': {'operator': 'B'}}
  (second / 'episode.json').write_text(json.dumps(told))
  return source


def parse(*arguments):
  parser = argparse.ArgumentParser()
  command.add(parser.add_subparsers())
  return parser.parse_args(['import', *map(str, arguments)])


def refusal(folder, **changes):
  with pytest.raises((ValueError, OSError)) as refused:
    list(plain.Folder(folder, settings_lib.Settings(**changes)))
  return str(refused.value)


def test_every_number_image_and_end_arrives(folder, tmp_path, capsys):
  arguments = parse(folder, '--from', 'plain', '--to', tmp_path / 'out', '--name', 'towels')
  arguments.run(arguments)
  found = index.load(tmp_path / 'out', {})
  np.testing.assert_array_equal(found.boundaries, [0, 4, 7])
  expected = {
    name: np.concatenate([numbers(episode)[name] for episode in (0, 1)]).astype(np.float32)
    for name in ('state', 'action')
  }
  np.testing.assert_array_equal(found.state[:, :14], expected['state'])
  np.testing.assert_array_equal(found.state[:, 14:], 0)
  np.testing.assert_array_equal(found.action, expected['action'])
  np.testing.assert_array_equal(found.source, [0, 0, 0, 0, 1, 1, 2])
  np.testing.assert_array_equal(found.end_reason, [0, 0, 0, 1, 0, 4, 2])
  prompts = [found.prompts[number] for number in found.prompt]
  assert prompts == ['fold the towel'] * 4 + ['fold the shirt'] * 3
  metadata = [episode.metadata for episode in found.episodes()]
  assert metadata == [
    {'operator': 'A', 'file_path': 'recordings/episode_0'},
    {'operator': 'B', 'file_path': 'recordings/episode_1'},
  ]
  for row in range(7):
    episode, step = (0, row) if row < 4 else (1, row - 4)
    for number, camera in enumerate(types.CAMERAS):
      pixels = image_codec.decode(found.image(camera, row))
      np.testing.assert_allclose(pixels, image(episode, step, number), atol=3)
  printed = capsys.readouterr().out
  assert '2 episodes, 7 steps' in printed
  assert 'steps by source: demo 4, policy 2, human 1' in printed
  assert 'end reasons: success 1, takeover 1, failure 1' in printed
  assert 'cameras: head, left_wrist, right_wrist' in printed


def test_take_overs_are_found_by_the_source_where_ends_are_not_told(folder):
  path = folder / 'episode_1/episode.npz'
  arrays = {name: array for name, array in np.load(path).items() if name != 'end_reason'}
  np.savez(path, **arrays)
  _, second = plain.Folder(folder, settings_lib.Settings())
  np.testing.assert_array_equal(second.source, [1, 1, 2])
  np.testing.assert_array_equal(second.end_reason, [0, 4, 5])


def test_images_that_are_files_are_not_encoded_again(folder):
  episode = next(iter(plain.Folder(folder, settings_lib.Settings())))
  assert (
    episode.images['right_wrist'][2] == (folder / 'episode_0/right_wrist/000002.png').read_bytes()
  )


def test_what_a_recording_does_not_say_comes_from_the_settings(folder):
  (folder / 'episode_0/episode.json').write_text('{"metadata": {"operator": "A"}}')
  settings = settings_lib.Settings(
    source=types.Source.HUMAN, end_reason=types.EndReason.FAILURE, prompt='fold'
  )
  first, second = plain.Folder(folder, settings)
  np.testing.assert_array_equal(first.source, [2, 2, 2, 2])
  np.testing.assert_array_equal(first.end_reason, [0, 0, 0, 2])
  np.testing.assert_array_equal(second.source, [1, 1, 2])
  assert first.prompt == second.prompt == 'fold'


def test_a_success_is_never_guessed(folder):
  (folder / 'episode_0/episode.json').write_text('{"prompt": "fold"}')
  episode = next(iter(plain.Folder(folder, settings_lib.Settings())))
  np.testing.assert_array_equal(episode.end_reason, [0, 0, 0, types.EndReason.CUT])


def test_a_failure_may_be_told_by_success_or_by_its_name(folder):
  for told in ('"success": false', '"end_reason": "failure"'):
    (folder / 'episode_0/episode.json').write_text(f'{{"prompt": "fold", {told}}}')
    episode = next(iter(plain.Folder(folder, settings_lib.Settings())))
    np.testing.assert_array_equal(episode.end_reason, [0, 0, 0, types.EndReason.FAILURE])


def test_cameras_and_arrays_of_other_names_can_be_chosen(folder):
  shutil.move(folder / 'episode_0/head', folder / 'episode_0/top')
  shutil.move(folder / 'episode_0/state.npy', folder / 'episode_0/qpos.npy')
  settings = settings_lib.Settings(cameras={'head': 'top'}, state='qpos')
  episode = next(iter(plain.Folder(folder, settings)))
  assert list(episode.images) == ['head']
  np.testing.assert_array_equal(episode.state[:, :14], numbers(0)['state'].astype(np.float32))


def save(name, array):
  return lambda path: np.save(path / name, array)


def write(name, content):
  return lambda path: (path / name).write_bytes(content)


def with_nan():
  action = numbers(0)['action']
  action[2, 3] = np.nan
  return action


def test_a_state_keeps_the_numbers_that_it_has(folder):
  wide = np.arange(4 * 44.0).reshape(4, 44)
  np.save(folder / 'episode_0' / 'state.npy', wide)
  first = next(iter(plain.IMPORTER.open(folder, settings_lib.Settings())))
  np.testing.assert_array_equal(first.state, wide)


DEEP = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x10\0\0\0\0'  # head of a 16-bit PNG


@pytest.mark.parametrize(
  'spoil, message',
  [
    (save('action.npy', with_nan()), ': action, step 2: found NaN or infinity'),
    (save('state.npy', np.zeros((3, 14))), ': state: found float64 [3, 14], expected numbers [4'),
    (save('action.npy', np.zeros((0, 7))), ': found no steps, expected at least one'),
    (save('actions.npy', np.zeros((4, 7))), ": found 'actions', expected only action, "),
    (save('source.npy', np.array(['demo'] * 3)), ': source: found 3, expected one a step: 4'),
    (save('source.npy', np.array(['bot'] * 4)), ": source, step 0: found 'bot', expected one of"),
    (save('source.npy', np.zeros(4)), ': source: found float64 [4], expected text [T]'),
    (save('end_reason.npy', np.array([''] * 4)), ": end_reason: found '' at the last step"),
    (save('left_wrist.npy', np.zeros((4, 8, 8, 3))), ": images of 'left_wrist': found float64"),
    (save('left_wrist.npy', np.zeros((4, 8), np.uint8)), ": images of 'left_wrist': found uint8"),
    (write('action.npy', b'broken'), '/action.npy: found no arrays that can be read'),
    (write('episode.json', b'{'), '/episode.json: found no whole JSON'),
    (write('episode.json', b'[]'), '/episode.json: found a list, expected an object'),
    (write('episode.json', b'{}'), '/episode.json: prompt: found none'),
    (write('episode.json', b'{"task": "x"}'), "/episode.json: found 'task', expected only end_"),
    (
      write('episode.json', b'{"prompt": "x", "success": 1}'),
      '/episode.json: success: found 1, expected a bool',
    ),
    (
      write('episode.json', b'{"prompt": "x", "success": true, "end_reason": "cut"}'),
      '/episode.json: found both end_reason and success',
    ),
    (
      write('episode.json', b'{"prompt": "x", "end_reason": "done"}'),
      "/episode.json: end_reason: found 'done', expected one of ['success'",
    ),
    (write('head/first.jpg', b''), "/head/first.jpg: found the name 'first', expected a number"),
    (write('head/000004.jpg', b''), ": images of 'head': found 5, expected one a step: 4"),
    (write('head/000001.jpg', b'x'), ": images of 'head': step 1: found neither JPEG nor PNG"),
    (
      write('head/000001.jpg', DEEP),
      ": images of 'head': step 1: found a PNG of 16 bits a channel",
    ),
    (lambda path: (path / 'state.npy').unlink(), ': state is missing, expected state.npy'),
    (lambda path: (path / 'head/000002.jpg').unlink(), '/head: found 000003.jpg after 000001.jpg'),
    (lambda path: (path / 'depth').mkdir(), ": found 'depth', expected only action, end_reason"),
    (
      lambda path: np.savez(path / 'episode.npz', state=np.zeros((4, 14))),
      ': state: found both state.npy and state in episode.npz',
    ),
  ],
)
def test_what_is_wrong_is_named_by_its_folder_and_file(spoil, message, folder):
  spoil(folder / 'episode_0')
  assert refusal(folder).startswith(f'{folder}/episode_0{message}')


def test_a_camera_that_was_asked_for_must_be_there(folder):
  assert refusal(folder, cameras={'head': 'top'}).startswith(
    f'{folder}/episode_0/top: there are no such images, expected a folder or top.npy'
  )


def test_a_folder_without_episodes_is_refused(tmp_path):
  assert 'found no folders in it, expected one an episode' in refusal(tmp_path)
  assert 'there is no such folder' in refusal(tmp_path / 'nowhere')


def test_nothing_is_left_of_an_import_that_fails(folder, tmp_path):
  (folder / 'episode_1/episode.json').unlink()
  arguments = parse(folder, '--from', 'plain', '--to', tmp_path / 'out', '--name', 'towels')
  with pytest.raises(ValueError, match='episode_1/episode.json: prompt: found none'):
    arguments.run(arguments)
  assert [path.name for path in tmp_path.iterdir()] == ['recordings']


def test_a_directory_that_exists_is_refused_before_anything_is_read(tmp_path):
  arguments = parse(tmp_path / 'nowhere', '--from', 'plain', '--to', tmp_path, '--name', 'towels')
  with pytest.raises(FileExistsError, match='exists already'):
    arguments.run(arguments)


def test_a_camera_that_the_model_does_not_know_is_refused(capsys):
  with pytest.raises(SystemExit):
    parse('src', '--from', 'plain', '--to', 'out', '--name', 'x', '--camera', 'nose=top')
  assert (
    "found 'nose=top', expected one of head, left_wrist, right_wrist" in capsys.readouterr().err
  )


def test_the_command_line_imports_once_and_refuses_to_do_it_again(folder, tmp_path):
  target = tmp_path / 'out'
  arguments = ('import', str(folder), '--from=plain', f'--to={target}', '--name=towels')
  status, printed, errors = command_line.run('data', *arguments)
  assert status == 0, errors
  assert 'import: 2/2 episodes' in printed
  assert f'{target}: 2 episodes, 7 steps' in printed
  command_line.assert_refused(command_line.run('data', *arguments), f'{target} exists already')
