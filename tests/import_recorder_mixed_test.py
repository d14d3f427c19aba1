"""Recordings that do not belong together, that count twice, or of several checkpoints."""

import json
import shutil

import command_line
import pytest
import robot_clock
import scripted_server

from aloe_client import episode_files
from aloe_client import records
from aloe_client import wire
from aloe_jax.data import index
from aloe_jax.reporting import deployed


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  """Two episodes; in the second a person acts first, and then the policy."""
  root = tmp_path_factory.mktemp('robot') / 'recordings'
  recorder, clock, _ = robot_clock.recorder(root, human=lambda seen: seen['state'], fade=0.01)
  robot_clock.play(recorder, clock, 12)
  recorder.end('success')
  recorder.takeover()
  robot_clock.play(recorder, clock, 3, start=20)
  recorder.release()
  robot_clock.play(recorder, clock, 9, start=23)
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
    status, printed, _ = command_line.data(monkeypatch, capsys, 'import', *given, *options)
    return status, ' '.join(printed.split())

  return command


def test_an_episode_by_another_name_is_left_out_and_told(run, root):
  (root / '000001').rename(root / '000001_good')
  status, printed = run()
  assert status == 0
  assert f'{root}/000001_good: left out: its name is no number, as of an episode' in printed


def edit(folder, **fields):
  file = folder / episode_files.SUMMARY
  file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def rewrite(folder, change):
  """Changes the records of an episode as nobody does by hand; `change` takes each."""
  found, _ = records.read(folder / episode_files.STEPS)
  (folder / episode_files.STEPS).unlink()
  writer = records.Writer(folder / episode_files.STEPS)
  for record in map(wire.unpack, found):
    change(record)
    writer.add(wire.pack(record))
  writer.close()


def metadata(tmp_path):
  return [episode.metadata for episode in index.load(tmp_path / 'out', {}).episodes()]


@pytest.mark.parametrize(
  'changed, said',
  [
    ({'action': {'size': 3, 'unit': 'deg'}}, "unit of the action: found 'deg', and 'rad' in"),
    ({'action': {'names': ['a', 'b', 'c']}}, "names of the action: found ['a', 'b', 'c'], and"),
    ({'action': {'kind': 'velocity'}}, "kind of the action: found 'velocity', and 'position'"),
    ({'state': {'qpos': None}}, "keys of the state: found ['qpos'], and ['state']"),
    ({'state': {'state': {'size': 4}}}, "size of the state 'state': found 4, and 3"),
    ({'state': 5}, 'state: found 5, expected the parts of the state'),
  ],
)
def test_episodes_of_two_robots_are_not_mixed(run, root, changed, said):
  edit(root / '000001', **changed)
  status, _ = run()
  assert f'{root}/000001' in status and said in status


def test_what_one_of_two_recordings_does_not_say_is_not_compared(run, root):
  edit(root / '000001', action=None, state={'state': {'size': None, 'unit': ''}})
  status, _ = run()
  assert status == 0


def test_a_copy_of_an_episode_that_was_made_while_it_grew_is_left_out(run, root):
  folder = shutil.copytree(root / '000000', root / 'open-01700000000000000000')
  (folder / episode_files.SUMMARY).rename(folder / episode_files.HEADER)
  (folder / episode_files.SOUND).touch()
  steps = (folder / episode_files.STEPS).read_bytes()
  (folder / episode_files.STEPS).write_bytes(steps[: 2 * len(steps) // 3])
  status, printed = run()
  assert status == 0 and '2 episodes' in printed
  assert f'{folder}: left out: a copy of the beginning of {root}/000000' in printed


def test_one_scene_that_was_played_twice_counts_once(run, root):
  later = shutil.copytree(root / '000000', root / '000002')

  def change(record):
    if 'time' in record:
      record['time'] += 1000

  rewrite(later, change)
  status, _ = run()
  assert f'{root}/000002 holds the same steps as {root}/000000, number for number' in status
  pictures = later / f'head{episode_files.IMAGES}'
  pictures.write_bytes((root / '000001/head.images').read_bytes())
  status, printed = run()  # another scene
  assert status == 0 and '3 episodes' in printed


def test_the_checkpoint_is_the_one_whose_chunks_were_played(run, root, tmp_path):
  def change(record):
    if record['type'] == 'plan':
      record.update(checkpoint_step=9, checkpoint='runs/laundry/9')

  edit(root / '000000', checkpoint='runs/old', checkpoint_step=1)
  rewrite(root / '000000', change)
  rewrite(root / '000001', lambda record: record.update(who='human') if 'who' in record else None)
  status, _ = run()
  assert status == 0
  told = [(m['checkpoint'], m['checkpoint_step'], m['checkpoints']) for m in metadata(tmp_path)]
  assert told == [('runs/laundry/9', 9, 1), ('', -1, 0)]


def test_an_episode_in_which_two_checkpoints_acted_says_so(run, root, tmp_path):
  later = []

  def change(record):
    if record['type'] == 'plan':
      later.append(record['number'])
      record['checkpoint_step'] += len(later) > 1

  rewrite(root / '000000', change)
  assert len(later) > 1
  status, printed = run()
  assert status == 0
  assert f'{root}/000000: 2 checkpoints acted' in printed
  assert 'runs/laundry (6 updates), runs/laundry (7 updates); it counts for neither' in printed
  assert [(m['checkpoint_step'], m['checkpoints']) for m in metadata(tmp_path)] == [(-1, 2), (6, 1)]


def test_what_a_person_began_is_no_success_of_the_checkpoint(run, tmp_path):
  run()
  (found,) = deployed.of([index.load(tmp_path / 'out', {})], 50.0)
  assert (found.step, found.checkpoint) == (6, 'runs/laundry')
  assert (found.alone.episodes, found.alone.successes) == (2, 1)
  assert (found.taken_over, found.helped) == (1, 1)


def test_two_episodes_in_which_nothing_moved_are_no_scene_that_was_played_twice(tmp_path, run):
  shutil.rmtree(tmp_path / 'recordings')
  recorder, clock, _ = robot_clock.recorder(tmp_path / 'recordings')
  for _ in range(2):
    for _ in range(4):
      recorder.infer(robot_clock.observation(0))
      clock.now += 0.02
    recorder.end('failure')
  recorder.close()
  status, printed = run()
  assert status == 0 and '2 episodes' in printed


@pytest.mark.parametrize(
  'kind, fields, said',
  [
    ('step', {'who': 'nobody'}, "step 0: who: found 'nobody', expected one of policy, human"),
    ('step', {'who': ...}, 'step 0: who is missing, expected one of policy, human'),
    ('step', {'plan': 'x'}, "step 0: plan: found 'x', expected a number or nothing"),
    ('step', {'prompt': 7}, 'step 0: prompt: found 7, expected a text'),
    ('step', {'step': 1}, 'step 0: found the step 1 there, expected them in the order'),
    ('plan', {'checkpoint_step': 'abc'}, "checkpoint_step: found 'abc', expected a number"),
    ('plan', {'checkpoint_step': -7}, 'checkpoint_step: found -7, expected a number'),
  ],
)
def test_a_record_of_no_use_is_named_by_its_file(run, root, kind, fields, said):
  def change(record):
    if record['type'] == kind:
      record.update(fields)
      for name in [name for name, value in fields.items() if value is ...]:
        del record[name]

  rewrite(root / '000001', change)
  status, _ = run()
  assert f'{root}/000001/{episode_files.STEPS}, ' in status and said in status


def test_a_server_that_names_its_checkpoint_only_at_first_is_believed(run, root, tmp_path):
  told = scripted_server.metadata()['aloe']
  rewrite(
    root / '000000',
    lambda record: (
      record.update(checkpoint_step=None, checkpoint=None) if record['type'] == 'plan' else None
    ),
  )
  status, _ = run()
  assert status == 0
  assert metadata(tmp_path)[0]['checkpoint_step'] == told['step']
