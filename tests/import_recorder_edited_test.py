"""Recordings that a person has edited, copied or taken files from: each is named."""

import json
import shutil

import command_line
import pytest
import robot_clock

from aloe_jax.data.importers import recorder_summary


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  """One episode of six steps."""
  root = tmp_path_factory.mktemp('robot') / 'recordings'
  recorder, clock, _ = robot_clock.recorder(root)
  robot_clock.play(recorder, clock, 6, hz=50)
  recorder.end('success')
  recorder.close()
  return root


@pytest.fixture
def root(recorded, tmp_path):
  return shutil.copytree(recorded, tmp_path / 'recordings')


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, root):
  def command(*options):
    given = ('--from=recorder', root, '--to', tmp_path / 'out', '--name=folded')
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return command


def test_a_camera_whose_pictures_are_gone_is_named_by_its_file(run, root):
  (root / '000000/head.images').unlink()
  status, _, _ = run()
  assert f'{root}/000000/head.images is missing, but the episode was recorded with' in status


@pytest.mark.parametrize(
  'field, value, said',
  [
    ('hz', 0, 'hz: found 0, expected steps a second, more than 0'),
    ('hz', float('nan'), 'hz: found nan'),
    ('hz', '50', "hz: found '50'"),
    ('hz', 10**400, 'hz: found 1000'),
    ('real_hz', -1, 'real_hz: found -1'),
    (
      'end_reason',
      'won',
      "end_reason: found 'won', expected one of success, failure, timeout, cut",
    ),
    ('end_reason', ['cut'], "end_reason: found ['cut']"),
    ('exportable', 'no', "exportable: found 'no', expected true or false"),
    ('exportable', None, 'exportable: found None'),
    ('flags', 'x', "flags: found 'x', expected a list of texts"),
    ('cameras', 5, 'cameras: found 5'),
    ('cameras', ['../head'], "cameras: found ['../head'], expected a list of the names"),
    ('started', 'noon', "started: found 'noon'"),
    ('steps_held', 1.5, 'steps_held: found 1.5'),
    ('checkpoint', {}, 'checkpoint: found {}'),
    ('checkpoint_step', 'x', "checkpoint_step: found 'x'"),
  ],
)
def test_an_edited_field_is_named_with_its_file(root, field, value, said):
  summary = json.loads((root / '000000/episode.json').read_text())
  recorder_summary.check(root / '000000', summary)
  with pytest.raises(ValueError) as error:
    recorder_summary.check(root / '000000', summary | {field: value})
  assert f'{root}/000000/episode.json: {said}' in str(error.value)


def test_a_missing_field_stops_the_import(run, root):
  file = root / '000000/episode.json'
  summary = json.loads(file.read_text())
  del summary['exportable']
  file.write_text(json.dumps(summary))
  status, _, _ = run()
  assert f'{file}: exportable is missing, expected true or false' in status


def test_json_that_is_nested_too_deep_is_one_message(run, root):
  (root / '000000/episode.json').write_text('[' * 200_000)
  status, _, _ = run()
  assert f'{root}/000000: found JSON nested too deep' in status


@pytest.mark.parametrize('linked', [False, True])
def test_a_copy_of_an_episode_and_a_link_to_it_count_once(run, root, linked):
  if linked:
    (root / '000001').symlink_to('000000')
  else:
    shutil.copytree(root / '000000', root / '000001')
  status, _, _ = run()
  assert f'{root}/000001 holds the same episode as {root}/000000' in status
  status, printed, _ = run('--on-error=skip')
  assert status == 0 and '1 episodes imported, 1 left out' in printed
