"""What a robot recorded becomes RLDS: what was executed, by whom, and how it ended."""

import command_line
import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import episode_files
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import index

POLICY, HUMAN = types.Source.POLICY, types.Source.HUMAN


def record(directory, *, hz=50, lost=False, end='success', human=False, steps=11, **options):
  recorder, clock, _ = robot_clock.recorder(directory, **options)
  first = 20 * len(list(directory.glob('0*')))
  clock.now += 100 * len(list(directory.iterdir()))  # no two are of one time
  robot_clock.play(recorder, clock, 1 + steps // 2, start=first, hz=hz)
  if human:
    recorder.takeover(lambda observation: observation['state'] + 0.1)
  if lost:
    recorder.infer(robot_clock.observation(5, images={'head': None}))
    clock.now += 1 / hz
  robot_clock.play(recorder, clock, steps - steps // 2, start=first + 1 + steps // 2, hz=hz)
  if end is not None:
    recorder.end(end)
    recorder.close()
  return recorder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
  def command(source, *options):
    given = ('--from=recorder', source, '--to', tmp_path / 'out', '--name=folded')
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return command


def test_executed_actions_images_sources_and_ends_arrive(run, tmp_path):
  root = tmp_path / 'recordings'
  limited = {'fade': 0.01, 'high': 0.12}
  record(root, human=True, **limited)
  record(root, end='timeout', **limited)
  status, printed, _ = run(root)
  assert status == 0
  assert '2 episodes, 22 steps' in printed
  assert 'end reasons: takeover 1, success 1, timeout 1' in printed
  assert 'images: head -> head' in printed
  found = index.load(tmp_path / 'out', {})
  np.testing.assert_array_equal(found.boundaries, [0, 11, 22])
  np.testing.assert_array_equal(found.source, [POLICY] * 5 + [HUMAN] * 6 + [POLICY] * 11)
  ends = np.zeros(22)
  ends[[4, 10, 21]] = types.EndReason.TAKEOVER, types.EndReason.SUCCESS, types.EndReason.TIMEOUT
  np.testing.assert_array_equal(found.end_reason, ends)
  np.testing.assert_allclose(found.state[:11, 0], np.arange(1, 12) / 100, atol=1e-6)
  recorded = [episode_files.read(path) for path in episode_files.finished(root)]
  np.testing.assert_array_equal(
    found.action, np.concatenate([episode.column('executed') for episode in recorded])
  )
  assert found.action[5:11].max() == np.float32(0.12)  # not what the person asked for
  assert recorded[0].column('requested').max() > 0.15
  for row in range(11):
    pixels = image_codec.decode(found.image('head', row))
    np.testing.assert_array_equal(pixels, np.full((8, 8, 3), row + 1))
  first, second = (episode.metadata for episode in found.episodes())
  assert first['file_path'] == 'recordings/000000' and second['file_path'] == 'recordings/000001'
  assert (first['fps'], first['checkpoint'], first['checkpoint_step']) == (50, 'runs/laundry', 6)
  assert first['started_ms'] == round(1000 * recorded[0].summary['started'])
  assert first['steps_changed'] == 6 and found.prompts == ['fold the t-shirt']


def test_a_cut_without_cameras_is_told_as_what_it_is(run, tmp_path):
  told = scripted_server.metadata(cameras={})
  recorder, clock, _ = robot_clock.recorder(tmp_path / 'recordings', told=told)
  for _ in range(8):
    recorder.infer({'state': np.zeros(3, np.float32)})
    clock.now += 0.02
  recorder.end('cut')
  recorder.close()
  status, printed, errors = run(tmp_path / 'recordings')
  assert not status, errors
  printed = ' '.join(printed.split())
  assert 'cameras: none' in printed and 'images:' not in printed
  assert "A person says how an episode went as it ends, recorder.end('success')" in printed
  assert '--end-reason' not in printed and '--success' not in printed


def test_what_was_asked_for_can_be_imported_instead(run, tmp_path):
  record(tmp_path / 'recordings', human=True, high=0.12)
  status, _, _ = run(tmp_path / 'recordings', '--action=requested[0:2]')
  assert status == 0
  found = index.load(tmp_path / 'out', {})
  assert found.action.shape == (11, 2) and found.action.max() > 0.15
  (tmp_path / 'out').rename(tmp_path / 'first')
  status, _, _ = run(tmp_path / 'recordings', '--action=asked')
  assert "--action: found 'asked', expected parts of executed, requested, state" in status


def test_an_episode_that_lost_pictures_is_named_and_left_out(run, tmp_path):
  root = tmp_path / 'recordings'
  record(root)
  record(root, lost=True)
  record(root, end='failure')
  status, printed, _ = run(root)
  assert status == 0
  assert '2 episodes, 22 steps' in printed
  assert f'{root}/000001: left out: 1 images of head are missing' in printed.replace('\n', ' ')
  kept = [e.metadata['file_path'] for e in index.load(tmp_path / 'out', {}).episodes()]
  assert kept == ['recordings/000000', 'recordings/000002']


def test_the_open_episode_of_a_dead_program_is_a_cut_and_that_of_a_live_one_is_left_out(
  run, tmp_path
):
  root = tmp_path / 'recordings'
  record(root)
  recorder = record(root, end=None)
  assert recorder.flush(10)
  status, printed, _ = run(root)
  assert status == 0
  assert '1 episodes, 11 steps' in printed
  assert 'an episode is being recorded: left out' in printed
  recorder._writer._held.close()  # as when the program dies
  before = sorted(path.name for path in root.rglob('*'))
  (tmp_path / 'out').rename(tmp_path / 'first')
  status, printed, _ = run(root)
  assert status == 0
  assert 'end reasons: success 1, cut 1' in printed
  assert sorted(path.name for path in root.rglob('*')) == before  # nothing was changed
  recorder.close()


def test_the_rate_is_the_real_one_where_the_loop_ran_at_another(run, tmp_path):
  root = tmp_path / 'recordings'
  record(root, hz=20)
  status, printed, _ = run(root)
  assert status == 0
  assert 'ran at 20 steps a second, not 50: that rate is kept as fps' in printed
  assert next(iter(index.load(tmp_path / 'out', {}).episodes())).metadata['fps'] == 20


def test_cameras_are_found_by_their_names_or_chosen(run, tmp_path):
  told = scripted_server.metadata(cameras={'images/head': {'camera': 'tower'}})
  record(tmp_path / 'recordings', told=told)
  status, printed, _ = run(tmp_path / 'recordings')
  assert 'pictures tower, expected a name in use; choose, such as --camera head=tower' in status
  status, printed, _ = run(tmp_path / 'recordings', '--camera', 'head=tower')
  assert status == 0
  assert 'cameras: head' in printed
  status, _, _ = run(tmp_path / 'recordings', '--camera', 'head=top', '--to', tmp_path / 'other')
  assert '--camera: top: found no such pictures' in status


def test_folders_that_hold_no_episodes_or_damaged_ones_are_named(run, tmp_path):
  status, _, _ = run(tmp_path / 'missing')
  assert 'there is no such folder; expected recorded episodes' in status
  (tmp_path / 'empty').mkdir()
  status, _, _ = run(tmp_path / 'empty')
  assert 'found no episodes in it, expected folders such as 000000' in status
  root = tmp_path / 'recordings'
  record(root)
  record(root)
  steps = root / '000001/steps.records'
  steps.write_bytes(steps.read_bytes()[:-5])
  status, _, _ = run(root)
  assert f'{steps}: record' in status and 'is damaged' in status
  status, printed, _ = run(root, '--on-error=skip')
  assert status == 0
  assert '1 episodes imported, 1 left out' in printed


def test_flags_of_other_formats_have_no_use_here(run, tmp_path):
  record(tmp_path / 'recordings')
  status, _, _ = run(tmp_path / 'recordings', '--success=done')
  assert 'which has the end that was recorded instead' in status


def test_features_that_stand_in_for_images_arrive(run, tmp_path):
  root = tmp_path / 'recordings'
  told = scripted_server.metadata(cameras={}, features=[2, 3])
  recorder, clock, _ = robot_clock.recorder(root, told=told)
  for step in range(6):
    seen = {'state': np.zeros(3), 'features': np.full((2, 3), step)}
    recorder.infer(seen)
    clock.now += 0.02
  recorder.end('success')
  recorder.close()
  status, _, _ = run(root)
  assert status == 0
  features = index.load(tmp_path / 'out', {}).features
  np.testing.assert_array_equal(features[:, 1, 2], [1, 2, 3, 4, 5])
