"""The script that compares continuations of ended chunks, on a run of an earlier version."""

import json
import pathlib
import shutil

import pytest

from aloe_jax import config as config_lib
from experiments import ended_chunks
from experiments import laundry

OLD = pathlib.Path(__file__).parent / 'golden' / 'old_run' / 'workdir'

pytestmark = pytest.mark.usefixtures('quick_compilation')


@pytest.fixture
def workdir(tmp_path):
  shutil.copytree(OLD, tmp_path / 'run', copy_function=shutil.copyfile)
  return tmp_path / 'run'


def test_all_continuations_are_compared_with_the_critic_as_it_is(workdir, capsys):
  before = {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}
  judged = ','.join(str(path) for path in sorted((workdir / 'episodes').iterdir()))
  ended_chunks.main([f'--workdir={workdir}', '--iteration=1', f'--episodes={judged}'])
  found = json.loads((workdir / 'ended_chunks_1.json').read_text())
  assert found.pop('run') == {'iteration': 1, 'episodes': 128, 'past_end': 'policy'}
  assert list(found) == ['as it is', 'executed', 'policy', 'mask']
  assert found['mask']['ended_auroc'] > 0.9
  for name, told in found.items():
    assert set(ended_chunks.TITLES) - {'ended_auroc'} <= told.keys()
    assert ('ended_auroc' in told) == (name != 'as it is')
  assert len({told['bias_v'] for told in found.values()}) == 4  # each has learnt something else
  printed = capsys.readouterr().out
  assert 'Critic, mask: 20/20 updates' in printed
  assert 'trained for' in printed and 'Iteration 1' in printed
  # Nothing of the run has changed.
  assert {path: path.read_bytes() for path in before} == before
  assert not (workdir / 'report' / 'bank').exists()


def test_a_run_without_a_critic_of_actions_is_refused(workdir):
  config = laundry.get_config('sim_debug')
  config.agent = 'awr'
  config_lib.keep(config, workdir / 'config.json')
  for path in workdir.glob('checkpoints/*/meta/metadata'):
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | {'config': json.loads(config.to_json())}))
  with pytest.raises(SystemExit, match='is a run of awr; expected'):
    ended_chunks.main([f'--workdir={workdir}'])
