"""The whole program at its smallest: what a run leaves on disk, and that it can be stopped."""

import json
import re
import shutil

import command_line
import foreign
import jax
import numpy as np
from PIL import Image
import pytest

from aloe_jax import checkpoints as listing
from aloe_jax import config as config_lib
from aloe_jax import evaluate
from aloe_jax import metrics
from aloe_jax import policy
from aloe_jax import train
from aloe_jax.data import rlds
from aloe_jax.run import algorithm
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')


def make_config(**changes):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


def start(workdir, **changes):
  """What the command does, but for a new process."""
  train.run(experiment.Experiment(make_config(**changes)), workdir)


@pytest.fixture(scope='module')
def finished(compiled_once, tmp_path_factory):
  """A finished run, and what it printed."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  status, printed, errors = command_line.run(
    'train',
    '--config=experiments/laundry.py:sim_debug',
    f'--workdir={workdir}',
  )
  assert status == 0, errors
  return workdir, printed


@pytest.fixture
def after(finished, tmp_path):
  """Makes a copy of the finished run as it was after checkpoint 0 or 1."""

  def copy(checkpoint):
    workdir = tmp_path / 'run'
    shutil.copytree(finished[0], workdir)
    for number in range(checkpoint + 1, 3):
      shutil.rmtree(workdir / 'checkpoints' / str(number))
    if checkpoint == 0:
      shutil.rmtree(workdir / 'episodes' / 'iteration_1')
      listed = json.loads((workdir / 'manifest.json').read_text())
      (workdir / 'manifest.json').write_text(json.dumps(listed[:1]))
    first = json.loads((workdir / 'evaluations.json').read_text())[:1]
    (workdir / 'evaluations.json').write_text(json.dumps(first))
    log = workdir / 'metrics' / 'metrics.jsonl'
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(''.join(lines[: (3, 6)[checkpoint]]))
    return workdir

  return copy


def read_metrics(workdir):
  """The lines of a run, but for when they were written."""
  text = (workdir / 'metrics' / 'metrics.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return [{name: x for name, x in line.items() if name != 'time'} for line in lines]


def read_state(workdir, number=2, **changes):
  described = experiment.Experiment(make_config(**changes))
  path = workdir / 'checkpoints' / str(number)
  return checkpoints.restore(path, described.abstract_state(), described.architecture())


def assert_same_bits(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def numbers_of_checkpoints(workdir):
  return sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir())


def test_a_run_leaves_all_that_it_promises(finished):
  workdir, _ = finished
  assert sorted(path.name for path in workdir.iterdir()) == [
    'bank',
    'checkpoints',
    'config.json',
    'curves.png',
    'episodes',
    'evaluations.json',
    'manifest.json',
    'metrics',
  ]
  settled = experiment.Experiment(make_config()).config
  assert config_lib.read(workdir / 'config.json') == settled
  assert numbers_of_checkpoints(workdir) == [0, 1, 2]
  assert len(list((workdir / 'metrics').glob('events.*'))) == 1
  with Image.open(workdir / 'curves.png') as image:
    image.load()
    assert image.format == 'PNG'


def test_plain_tfds_opens_the_episodes(finished):
  _, tfds = foreign.load_tensorflow()
  expected = {'demonstrations': ([b'demo'], 4), 'iteration_1': ([b'human', b'policy'], 8)}
  for name, (sources, count) in expected.items():
    builder = tfds.builder_from_directory(finished[0] / 'episodes' / name)
    assert builder.name == 'fold_laundry'
    dataset = builder.as_dataset(split='train')
    steps = [list(episode['steps'].as_numpy_iterator()) for episode in dataset]
    assert len(steps) == count
    assert sorted({step['source'] for episode in steps for step in episode}) == sources
    for episode in steps:
      assert [step['is_last'] for step in episode] == [False] * (len(episode) - 1) + [True]
      assert episode[-1]['end_reason'] != b''
      assert episode[0]['language_instruction'] == b'Fold the t-shirt'
      assert episode[0]['observation']['image'].shape == (32, 32, 3)


def test_the_cost_of_failure_is_the_mean_length_of_the_demonstrations(finished):
  episodes = rlds.read(finished[0] / 'episodes' / 'demonstrations')
  expected = np.mean([len(episode) for episode in episodes])
  for number in range(3):
    meta = checkpoints.read_meta(finished[0] / 'checkpoints' / str(number))
    assert meta['fail_cost'] == pytest.approx(expected)
    assert meta['own_state'] is True


def test_the_manifest_lists_what_each_iteration_added(finished):
  listed = json.loads((finished[0] / 'manifest.json').read_text())
  assert [(entry['path'], entry['iteration']) for entry in listed] == [
    ('episodes/demonstrations', 0),
    ('episodes/iteration_1', 1),
  ]


def test_a_run_whose_episodes_vanished_is_not_gone_on_with(after, capsys):
  workdir = after(1)
  shutil.rmtree(workdir / 'episodes' / 'iteration_1')
  with pytest.raises(SystemExit, match='error: episodes/iteration_1 is no longer there; iteration'):
    start(workdir)


def test_metrics_follow_algorithm_1_and_count_every_update_once(finished):
  found = [(line['phase'], line['step']) for line in read_metrics(finished[0])]
  assert found == [
    ('actor', 10),
    ('actor', 20),
    ('evaluate', 20),
    ('collect', 20),
    ('critic', 30),
    ('critic', 40),
    ('weights', 41),
    ('actor', 50),
    ('actor', 60),
    ('evaluate', 60),
  ]
  assert int(read_state(finished[0]).step) == 60


def test_what_is_printed_is_what_is_kept(finished):
  workdir, printed = finished
  kept = json.loads((workdir / 'evaluations.json').read_text())
  assert [entry['iteration'] for entry in kept] == [0, 1]
  for entry, name in zip(kept, ('BC warm start', 'iteration 1'), strict=True):
    assert entry['episodes'] == 16
    low, high = metrics.wilson_interval(entry['successes'], 16)
    row = next(line for line in printed.splitlines() if f'│ {name}' in line)
    assert f'{100 * entry["successes"] / 16:.1f} %' in row
    assert f'{100 * low:.1f}-{100 * high:.1f} %' in row
  assert 'ALOE: Fold the t-shirt' in printed
  assert re.search(r'Evaluate 1: 16/16 episodes', printed)


def test_a_run_stopped_twice_ends_bit_for_bit_as_the_unbroken_one(finished, after, monkeypatch):
  workdir = after(0)
  write = metrics.MetricsWriter.write

  def stop_in_the_actor_phase(self, step, scalars, *, phase, measured=False):
    write(self, step, scalars, phase=phase, measured=measured)
    if (phase, step) == ('actor', 50):
      raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(metrics.MetricsWriter, 'write', stop_in_the_actor_phase)
    start(workdir)
  assert numbers_of_checkpoints(workdir) == [0, 1]
  start(workdir)
  assert_same_bits(read_state(workdir), read_state(finished[0]))
  assert read_metrics(workdir) == read_metrics(finished[0])
  name = 'evaluations.json'
  assert (workdir / name).read_text() == (finished[0] / name).read_text()


def test_a_finished_run_started_again_prints_its_table_and_changes_nothing(finished, capsys):
  workdir, printed = finished
  files = [path for path in workdir.rglob('*') if path.is_file()]
  files = [path for path in files if path.name not in ('curves.png', 'config.json')]
  before = {path: path.stat().st_mtime_ns for path in files}
  start(workdir)
  assert {path: path.stat().st_mtime_ns for path in files} == before
  found = capsys.readouterr().out
  assert found.startswith('Going on from')
  shown, before_it = (
    [line for line in text.splitlines() if not line.startswith('Compiled programs in')]
    for text in (found, printed)
  )
  assert shown[1:] == before_it[-len(shown) + 1 :]


def test_more_iterations_go_on_where_the_run_ended(finished, tmp_path, monkeypatch):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  fingerprint, fingerprints = policy.fingerprint, []
  monkeypatch.setattr(
    policy, 'fingerprint', lambda params: fingerprints.append(1) or fingerprint(params)
  )
  start(workdir, iterations=2, critic__updates=10)
  assert len(fingerprints) == 1  # both phases of the iteration have the same policy
  assert numbers_of_checkpoints(workdir) == [0, 1, 2, 3, 4]
  assert len(rlds.read(workdir / 'episodes' / 'iteration_2')) == 8
  lines = read_metrics(workdir)
  assert lines[:10] == read_metrics(finished[0])
  assert [line['step'] for line in lines if line['phase'] == 'critic'] == [30, 40, 70]
  assert [line['step'] for line in lines if line['phase'] == 'evaluate'] == [20, 60, 90]


@pytest.mark.parametrize(
  'name, kept',
  [
    ('bc', [0, 2]),
    ('dagger', [0, 2]),
    ('filtered_bc', [0, 2]),
    ('filtered_policy_bc', [0, 2]),
    ('awr', [0, 1, 2]),
  ],
)
def test_every_algorithm_runs_an_iteration_on_the_same_demonstrations(
  finished, tmp_path, name, kept
):
  shutil.copytree(finished[0] / 'episodes', tmp_path / 'episodes')
  start(tmp_path, agent=name)
  assert numbers_of_checkpoints(tmp_path) == kept
  phases = [line['phase'] for line in read_metrics(tmp_path)]
  assert phases.count('critic') == (2 if 1 in kept else 0)
  assert phases.count('weights') == (1 if 1 in kept else 0)
  assert phases[-1] == 'evaluate'


def test_recap_begins_with_everyones_warm_start_and_acts_by_its_tag_once_it_was_taught(
  finished, tmp_path
):
  shutil.copytree(finished[0] / 'episodes', tmp_path / 'episodes')
  changes = dict(agent='recap', recap__guidance=2.0)
  start(tmp_path, **changes)
  assert numbers_of_checkpoints(tmp_path) == [0, 1, 2]
  warm = read_state(tmp_path, 0, **changes)
  assert_same_bits(warm.actor, read_state(finished[0], 0).actor)
  assert_same_bits(warm.actor, read_state(tmp_path, 1, **changes).actor)
  metas = [checkpoints.read_meta(tmp_path / 'checkpoints' / str(n)) for n in range(3)]
  assert [meta['tagged'] for meta in metas] == [False, False, True]
  told = next(line for line in read_metrics(tmp_path) if line['phase'] == 'weights')
  assert told['positive_policy'] == pytest.approx(0.4, abs=0.01)
  assert told['positive_human'] == 1

  # The command finds in each checkpoint how it is to be asked.
  kept = json.loads((tmp_path / 'evaluations.json').read_text())
  for number, entry in ((0, kept[0]), (2, kept[1])):
    checkpoint = str(tmp_path / 'checkpoints' / str(number))
    evaluate.main([f'--workdir={tmp_path}', f'--checkpoint={checkpoint}'])
    (file,) = (tmp_path / 'evaluations').glob(f'*-{number},*')
    (found,) = json.loads(file.read_text())
    assert ',guidance=2,' in file.name and found['guidance'] == 2
    assert (found['ends'], found['steps']) == (entry['ends'], entry['steps'])


def test_replicas_train_the_actor_that_a_mesh_trains(finished, after):
  workdir = after(1)
  start(workdir, parallel__mode='pmap')
  found, expected = read_state(workdir), read_state(finished[0])
  for name in ('actor', 'actor_ema', 'critic'):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      getattr(found, name),
      getattr(expected, name),
    )


def test_algorithm_1_to_the_letter_and_the_other_critic_run(finished, tmp_path):
  shutil.copytree(finished[0] / 'episodes', tmp_path / 'episodes')
  letter = dict(actor__bank=False, actor__rule='paper', actor__weights='per_step')
  changes = letter | dict(critic__ensemble='full', critic__horizon=2)
  start(tmp_path, **changes)
  architecture = checkpoints.read_meta(tmp_path / 'checkpoints/2')['architecture']
  assert architecture['critic']['horizon'] == 2
  assert architecture['critic']['ensemble'] == 'full'
  assert int(read_state(tmp_path, **changes).step) == 60
  assert 'weights' not in [line['phase'] for line in read_metrics(tmp_path)]


def test_chunks_weigh_the_same_where_the_sweep_draws_what_the_bank_would_hold(finished, after):
  workdir = after(1)
  shutil.rmtree(workdir / 'bank')
  start(workdir, actor__bank=False)
  assert not (workdir / 'bank').exists()
  found, expected = (
    next({**line, 'phase': 0} for line in read_metrics(path) if line['phase'] == 'weights')
    for path in (workdir, finished[0])
  )
  assert found == pytest.approx(expected, rel=1e-4)
  assert expected['advantage_std'] > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    read_state(workdir).actor,
    read_state(finished[0]).actor,
  )


def test_a_phase_of_no_updates_is_skipped_and_said_to_be(finished, tmp_path, capsys):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  changes = dict(iterations=2, critic__updates=0, actor__updates=0)
  start(workdir, **changes)
  printed = capsys.readouterr().out
  for words in (
    'Critic 2: skipped, as config.critic.updates is 0',
    'Actor 2: skipped, as config.a',
  ):
    assert words in printed
  assert numbers_of_checkpoints(workdir) == [0, 1, 2, 3, 4]
  assert_same_bits(read_state(workdir, 4), read_state(finished[0], 2))
  kept = json.loads((workdir / 'evaluations.json').read_text())
  assert kept[2] == kept[1] | {'iteration': 2}
  start(workdir, **changes)
  assert 'skipped' not in capsys.readouterr().out
  listing.main([f'--workdir={workdir}'])
  listed = capsys.readouterr().out
  assert all(listed.count(words) == 1 for words in ('critic, skipped', 'actor, skipped'))


def test_a_run_stopped_after_a_skipped_critic_weighs_by_the_critic_that_it_has(
  finished, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  changes = dict(iterations=2, critic__updates=0, actor__updates=10)
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(algorithm.Run, 'train_actor', stop)
    start(workdir, **changes)
  assert numbers_of_checkpoints(workdir) == [0, 1, 2, 3]
  start(workdir, **changes)
  assert int(read_state(workdir, 4).step) == 70
  assert_same_bits(read_state(workdir, 4).critic, read_state(finished[0], 2).critic)
  steps = [line['step'] for line in read_metrics(workdir) if line['phase'] == 'weights']
  assert steps == [41, 61]


def stop(run, iteration):
  if iteration == 2:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
  'changes', [{}, dict(agent='awr'), dict(actor__rule='paper', actor__weights='per_step')]
)
def test_a_critic_that_has_learnt_nothing_weighs_no_chunks(tmp_path, changes):
  with pytest.raises(SystemExit, match='error: config.critic.first_updates is 0, and there is no'):
    start(tmp_path / 'run', critic__first_updates=0, **changes)
  assert not (tmp_path / 'run').exists()


def test_without_any_updates_a_run_still_collects_and_its_critic_counts_as_untrained(
  finished, tmp_path
):
  shutil.copytree(finished[0] / 'episodes' / 'demonstrations', tmp_path / 'episodes/demonstrations')
  skipped = dict(actor__warm_start_updates=0, critic__first_updates=0, actor__updates=0)
  start(tmp_path, **skipped)
  assert numbers_of_checkpoints(tmp_path) == [1, 2]
  assert int(read_state(tmp_path).step) == 0
  assert (tmp_path / 'episodes' / 'iteration_1').exists()
  kept = str(tmp_path / 'checkpoints' / '2')
  with pytest.raises(SystemExit, match='error: config.critic.first_updates is 0, and there is no'):
    start(tmp_path / 'next', actor__checkpoint=kept, critic__first_updates=0)


def test_values_of_states_reach_as_far_as_the_returns_of_recorded_rewards(finished, tmp_path):
  shutil.copytree(finished[0] / 'episodes', tmp_path / 'episodes')
  trusted = dict(agent='awr', data__mapping__reward='reward')  # 1 at a success, 0 elsewhere
  start(tmp_path, **trusted)
  meta = checkpoints.read_meta(tmp_path / 'checkpoints' / '1')
  scale = 1 / (100 + meta['fail_cost'])
  assert meta['return_range'] == pytest.approx([0, scale])
  told = [line for line in read_metrics(tmp_path) if line['phase'] == 'critic']
  # In the rewards' own units, as all that is said of values.
  assert all(0 < line['value'] < 1 and 0 < line['returns'] < 1 for line in told)

  # Where such a critic is gone on with but not trained, it is not asked of what it cannot tell.
  changes = dict(
    agent='awr',
    sim__task='',
    data__episodes=(str(tmp_path / 'episodes' / 'demonstrations'),),
    actor__checkpoint=str(tmp_path / 'checkpoints' / '2'),
    critic__first_updates=0,
  )
  message = r'error: config.data.mapping.reward .* lie between -.* between 0 and 1 only; expected c'
  with pytest.raises(SystemExit, match=message):
    start(tmp_path / 'next', **changes)
  start(tmp_path / 'next', **changes, data__mapping__reward='reward')
  assert numbers_of_checkpoints(tmp_path / 'next') == [1, 2]


def test_one_iteration_on_given_episodes_needs_no_simulator(finished, tmp_path):
  names = ('demonstrations', 'iteration_1')
  start(
    tmp_path,
    sim__task='',
    data__episodes=tuple(str(finished[0] / 'episodes' / name) for name in names),
    actor__checkpoint=str(finished[0] / 'checkpoints' / '2'),
  )
  assert numbers_of_checkpoints(tmp_path) == [1, 2]
  assert int(read_state(tmp_path).step) == 100
  meta = checkpoints.read_meta(tmp_path / 'checkpoints/2')
  assert meta['fail_cost'] == checkpoints.read_meta(finished[0] / 'checkpoints/0')['fail_cost']
  lines = read_metrics(tmp_path)
  assert [line['phase'] for line in lines] == ['critic', 'critic', 'weights', 'actor', 'actor']
  assert not (tmp_path / 'episodes').exists()


def test_a_loss_that_is_no_number_ends_the_run_with_a_message(after):
  workdir = after(1)
  with pytest.raises(
    SystemExit, match='error: the actor loss is nan at .*; the last checkpoint is 1'
  ):
    start(workdir, actor__lr=float('inf'))


def test_any_agent_goes_on_from_the_policy_of_a_warm_start(finished, tmp_path):
  warm_start, _ = finished
  changes = dict(
    agent='awr',
    actor__checkpoint=str(warm_start / 'checkpoints' / '0'),
    data__episodes=(str(warm_start / 'episodes' / 'demonstrations'),),
    task__demonstrations=0,
  )
  start(tmp_path, **changes)
  before, after = (
    json.loads((workdir / 'evaluations.json').read_text()) for workdir in (warm_start, tmp_path)
  )
  assert before[0] == after[0]
  assert len(after) == 2
  assert not (tmp_path / 'episodes' / 'demonstrations').exists()
  assert numbers_of_checkpoints(tmp_path) == [1, 2]
  policy = read_state(warm_start, 0).actor_ema
  critic_phase = read_state(tmp_path, 1, agent='awr')
  assert critic_phase.step == 20
  assert_same_bits(critic_phase.actor, policy)
  assert_same_bits(critic_phase.actor_ema, policy)
