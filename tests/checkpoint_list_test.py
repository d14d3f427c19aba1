"""`python -m aloe_jax.checkpoints` says what a run has, and `train.keep` how much of it stays."""

import json
import os
import re

import finished_runs
import numpy as np
import pytest

from aloe_jax import checkpoints
from aloe_jax.run import evaluation
from aloe_jax.run import restored
from aloe_jax.run import surplus
from aloe_jax.run import unfinished
from aloe_jax.run import writing


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Two checkpoints, a save inside the third phase, and a directory of somebody else."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  built = finished_runs.write(workdir, 0)
  finished_runs.write(workdir, 1)
  meta = {'phase': 'actor', 'iteration': 1, 'architecture': built.architecture()}
  meta |= {'after': 1, 'step': 48, 'done': 7, 'updates': 20}
  path = workdir / unfinished.DIRECTORY / '2-7'
  writer = writing.Writer()
  writer.start(
    path, {'actor_ema': {'actor_ema': np.random.default_rng(0).normal(size=125_000)}}, meta
  ).result()
  writer.close()
  (workdir / 'checkpoints' / 'best').mkdir()
  evaluated = evaluation.Evaluation(4, {'failure': 1, 'success': 3}, steps=900, control_hz=30.0)
  entries = [{'iteration': 0, **evaluated.summary()}]
  (workdir / 'evaluations.json').write_text(json.dumps(entries))
  return workdir, built


def listed(capsys, workdir, *options):
  checkpoints.main([f'--workdir={workdir}', *options])
  printed = capsys.readouterr().out
  rows = [re.split(r'\s*│\s*', line.strip('│ ')) for line in printed.splitlines() if '│' in line]
  return {row[0]: row[1:] for row in rows}, printed


def test_each_checkpoint_is_listed_with_what_it_is_and_whether_it_is_whole(run, capsys):
  rows, printed = listed(capsys, run[0])
  assert rows['0'][:4] == ['warm_start', '0', '', '75.0 %']
  assert rows['0'][-1] == 'whole'
  assert rows['1'][:2] == ['critic', '1']
  assert rows['2, unfinished'] == ['actor', '1', '48 (7 of 20 of the phase)', '', '1.0', 'whole']
  assert 'Updates are those of the whole run up to there, of critic and actor together.' in printed
  assert f'{run[0]}/checkpoints/best: not of this run' in ' '.join(printed.split())
  rows, _ = listed(capsys, run[0], '--verify')
  assert rows['1'][-1] == 'whole, every byte'


def test_a_flipped_byte_is_found_when_every_byte_is_asked_for(run, capsys):
  file = max(
    (path for path in (run[0] / 'checkpoints/1/critic').rglob('*') if path.is_file()),
    key=lambda path: path.stat().st_size,
  )
  whole = file.read_bytes()
  file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
  rows, _ = listed(capsys, run[0])
  assert rows['1'][-1] == 'whole'
  _, printed = listed(capsys, run[0], '--verify')
  assert 'holds other bytes than were written' in ' '.join(re.sub('[│\n]', ' ', printed).split())
  os.truncate(file, 1)
  _, printed = listed(capsys, run[0])
  assert 'damaged: ' in printed
  file.write_bytes(whole)


@pytest.mark.parametrize(
  'options, message',
  [
    (['--config.seed=1'], 'error: --config does nothing in `checkpoints`; leave it out.'),
    (['--workdir=nowhere'], 'error: .*/nowhere/checkpoints holds no checkpoint; expected the --wo'),
  ],
)
def test_what_cannot_be_listed_is_one_message(run, options, message, capsys):
  with pytest.raises(SystemExit) as refused:
    checkpoints.main([f'--workdir={run[0]}', *options])
  told = capsys.readouterr().err if refused.value.code == 2 else refused.value.code
  assert re.match(message, told)


def test_a_save_inside_a_phase_is_no_checkpoint_to_act_by(run):
  path = run[0] / unfinished.DIRECTORY / '2-7'
  with pytest.raises(ValueError, match=f'{path} is a save inside a phase, which its run goes on'):
    restored.read_actor(run[1], path)


@pytest.mark.parametrize(
  'keep, best, gone',
  [
    (0, 2, []),
    (1, None, [0, 1, 2, 3, 4, 5]),
    (2, 2, [0, 1, 3, 4]),
    (1, 0, [1, 2, 3, 4, 5]),
    (9, None, []),
  ],
)
def test_the_newest_and_the_best_stay(keep, best, gone):
  assert surplus.numbers([6, 0, 1, 2, 3, 4, 5], keep, best) == gone


def test_the_newest_policy_stays_beside_a_newer_critic():
  assert surplus.numbers([0, 1, 2, 3], 1, 0) == [1]
