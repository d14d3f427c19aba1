"""`collect` in OGBench: its scripted human demonstrates, watches a policy, and goes on."""

import command_line
import numpy as np
import pytest
import scripted_server

from aloe_client import episode_files
from aloe_jax import collect
from aloe_jax import types
from aloe_jax.data import index

pytest.importorskip('ogbench')

TASK = '--config=experiments/ogbench.py:cube_single_debug'
HORIZON, STATE, OBJECTS, ACTION = 8, 19, (3, 16), 5
DEMO, POLICY, HUMAN = types.Source


def part(size, kind):
  return {'size': size, 'names': [], 'unit': '', 'kind': kind}


TOLD = scripted_server.metadata(
  prompt='Move the cube to its target',
  cameras={},
  features=list(OBJECTS),
  state={'state': part(STATE, 'position')},
  action=part(ACTION, 'velocity'),
  horizon=HORIZON,
  execute=2,
  control_hz=20.0,
  values=False,
  real_time=False,
)


def rise(request):
  """Up with an open gripper, where nothing is to be done."""
  assert request['state'].shape == (STATE,) and request['features'].shape == OBJECTS
  actions = np.tile(np.float32([0.0, 0.0, 1.0, 0.0, -1.0]), (HORIZON, 1))
  return {'actions': actions, 'aloe': {'checkpoint': 'run/checkpoints/0', 'step': 3, 'flags': []}}


@pytest.fixture
def bring_home(monkeypatch, capsys, tmp_path):
  """Imports recordings; what is read of them, and the episodes as they were recorded."""

  def command(recordings):
    data = tmp_path / 'data'
    given = ('import', recordings, '--from=recorder', '--to', data, '--name=cubes')
    status, _, errors = command_line.data(monkeypatch, capsys, *given)
    assert status == 0, errors
    recorded = [episode_files.read(path) for path in episode_files.finished(recordings)]
    return index.load(data, {}), recorded

  return command


def test_the_human_takes_over_from_a_policy_that_gets_nowhere(tmp_path, bring_home):
  recordings = tmp_path / 'recordings'
  with scripted_server.serving(rise, TOLD) as url:
    collect.main([TASK, f'--to={recordings}', f'--server={url}', '--speed=100', '--episodes=2'])
  found, recorded = bring_home(recordings)
  assert len(found.boundaries) == 3
  for episode, first, last in zip(recorded, found.boundaries, found.boundaries[1:], strict=False):
    taken = int(np.flatnonzero(found.end_reason[first:last] == types.EndReason.TAKEOVER)[0])
    assert taken >= 40  # steps without a centimetre
    source = found.source[first:last]
    assert set(source[: taken + 1]) == {POLICY} and set(source[taken + 1 :]) == {HUMAN}
    np.testing.assert_array_equal(found.action[first:last], episode.column('executed'))
    assert np.abs(found.action[first:last]).max() <= 1
    assert episode.summary['real_hz'] == 20.0


def test_what_the_human_shows_is_brought_home(tmp_path, bring_home):
  recordings = tmp_path / 'recordings'
  collect.main([TASK, f'--to={recordings}', '--human=demonstrating', '--episodes=2'])
  found, recorded = bring_home(recordings)
  assert set(found.source) == {DEMO}
  assert [e.summary['end_reason'] for e in recorded] == ['success'] * 2
  np.testing.assert_array_equal(found.state[: len(recorded[0].steps)], recorded[0].column('state'))
