"""`collect`: a simulated robot's episodes over a real socket, recorded as they were."""

import socket
import threading

import numpy as np
import pytest
import scripted_server

from aloe_client import episode_files
from aloe_jax import collect
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_sight

TASK = '--config=experiments/sort_products.py:sim_debug'
PART = {'size': tabletop.ACTION_SIZE, 'names': [], 'unit': '', 'kind': 'velocity'}
TOLD = scripted_server.metadata(
  prompt='Retrieve the objects from the front bin and place them onto the conveyor belt.',
  cameras={},
  features=list(tabletop_sight.FEATURE_SHAPE),
  state={'state': PART},
  action=PART,
  horizon=8,
  execute=2,
  control_hz=30.0,
  values=False,
  real_time=False,
)

pytestmark = pytest.mark.usefixtures('quick_compilation')


def reply(request):
  """Down, with both grippers open: in the end somebody is alarmed, or time runs out."""
  assert request['features'].shape == tabletop_sight.FEATURE_SHAPE
  action = np.zeros((8, 2, 7), np.float32)
  action[..., 2], action[..., 6] = -0.2, 1.0
  return {
    'actions': action.reshape(8, -1),
    'aloe': {'checkpoint': 'run/checkpoints/2', 'step': 7, 'flags': []},
  }


def run(directory, *options):
  collect.main([TASK, f'--to={directory}', '--speed=100', *options])


def episodes(directory):
  return [episode_files.read(path) for path in episode_files.finished(directory)]


def refusal(directory, *options):
  with pytest.raises(SystemExit) as ended:
    run(directory, *options)
  return str(ended.value.code)


def test_demonstrations_are_kept_where_they_succeed_and_more_are_of_other_scenes(tmp_path, capsys):
  for _ in range(2):
    collect.main([TASK, f'--to={tmp_path}', '--human=demonstrating', '--episodes=1'])
  found = episodes(tmp_path)
  assert [e.summary['end_reason'] for e in found] == ['success', 'success']
  assert all((e.column('who') == 'human').all() for e in found)
  assert all(e.summary['real_hz'] == 30.0 for e in found)
  assert all(e.summary['action'] == {'size': 14, 'kind': 'velocity'} for e in found)
  assert found[0].column('features').shape[1:] == tabletop_sight.FEATURE_SHAPE
  first, second = (e.column('features')[0] for e in found)
  assert not np.array_equal(first, second)
  printed = capsys.readouterr().out
  assert '--name=sort_products' in printed
  assert 'success' in printed and 'holds 1 already; 1 more join' in printed


def test_what_is_played_is_what_is_recorded_and_counted(tmp_path, capsys):
  with scripted_server.serving(reply, TOLD) as url:
    run(tmp_path, f'--server={url}', '--episodes=2', '--human=none')
  found = episodes(tmp_path)
  assert len(found) == 2
  steps = sum(len(e.steps) for e in found)
  printed = capsys.readouterr().out
  assert f' {steps} ' in printed
  assert all((e.column('who') == 'policy').all() for e in found)
  assert {p['checkpoint_step'] for e in found for p in e.plans.values()} == {7}
  played = [s for e in found for s in e.steps if not s['held']]
  expected = reply({'features': np.zeros(tabletop_sight.FEATURE_SHAPE)})['actions'][0]
  np.testing.assert_array_equal(played[0]['executed'], expected)


def test_a_server_that_falls_silent_ends_it_and_whole_episodes_stay(tmp_path, monkeypatch):
  monkeypatch.setattr(collect, '_SILENT_SECONDS', 1.0)
  answered = []

  def dying(request):
    answered.append(1)
    return reply(request) if len(answered) < 20 else None

  with scripted_server.serving(dying, TOLD) as url:
    told = refusal(tmp_path, f'--server={url}', '--episodes=50', '--human=none')
  assert 'the server gave no actions for 1 s' in told
  whole = [e for e in episodes(tmp_path) if e.summary['end_reason'] != 'cut']
  assert (f' {len(whole)} whole episodes are kept in' in told) == bool(whole)
  assert len(episodes(tmp_path)) - len(whole) <= 1


def test_a_server_that_refuses_where_the_policy_went_is_held_against_the_policy(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(collect, '_SILENT_SECONDS', 0.5)
  asked = []

  def refusing(request):
    asked.append(1)
    return reply(request) if len(asked) < 5 else 'Error in inference server: state: far outside.'

  with scripted_server.serving(refusing, TOLD) as url:
    told = refusal(tmp_path, f'--server={url}', '--episodes=50', '--human=none')
  (found,) = episodes(tmp_path)
  assert found.summary['end_reason'] in ('timeout', 'failure')
  assert found.steps[-1]['held'] and not found.steps[0]['held']
  assert 'state: far outside. 1 whole episodes are kept' in told


def test_a_robot_that_outlives_its_server_waits_for_it_and_goes_on(tmp_path, monkeypatch, capsys):
  patience = collect._SILENT_SECONDS
  monkeypatch.setattr(collect, '_SILENT_SECONDS', 1.0)
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  (ready, lost, cut, done), asked = (threading.Event() for _ in range(4)), []
  say = collect._say

  def heard(text):
    say(text)
    if 'The episode is a cut.' in text:  # once is enough, however slow this machine is
      collect._SILENT_SECONDS = patience
      cut.set()

  def dying(request):
    asked.append(1)
    if len(asked) < 5:
      return reply(request)
    lost.set()
    return scripted_server.CLOSE

  def killed_and_started_anew():
    with scripted_server.serving(dying, TOLD, port=port):
      ready.set()
      lost.wait(20)
    cut.wait(20)
    with scripted_server.serving(reply, TOLD, port=port):
      done.wait(60)

  monkeypatch.setattr(collect, '_say', heard)
  server = threading.Thread(target=killed_and_started_anew)
  server.start()
  assert ready.wait(20)
  try:
    run(tmp_path, f'--server=ws://127.0.0.1:{port}', '--episodes=2', '--human=none')
  finally:
    done.set()
    server.join()
  printed = ' '.join(capsys.readouterr().out.split())
  assert 'nothing listens there' in printed and 'The episode is a cut.' in printed
  assert printed.index('The episode is a cut.') < printed.index('The server answers again.')
  ends = [e.summary['end_reason'] for e in episodes(tmp_path)]
  assert len(ends) == 3 and ends[0] == 'cut' and 'cut' not in ends[1:]


def test_a_server_whose_policy_sees_otherwise_is_named_before_anything_moves(tmp_path):
  cameras = {'images/head': {'shape': None, 'camera': 'head'}}
  told = {'aloe': TOLD['aloe'] | {'features': None, 'cameras': cameras}}
  with scripted_server.serving(reply, told) as url:
    said = refusal(tmp_path, f'--server={url}', '--episodes=1')
  assert f'{url} serves a policy that reads the pictures images/head, and the simulator' in said
  assert (
    'shows features. Start the server of a run of this simulator with --robot=simulator' in said
  )


@pytest.mark.parametrize(
  'told, said',
  [
    ({'prompt': 'Fold the t-shirt'}, "was trained to 'Fold the t-shirt', and this config asks for"),
    ({'action': PART | {'size': 7}}, 'action has 14 numbers here and 7 there'),
    ({'state': {'state': PART | {'size': 8}}}, "state 'state' has 14 numbers here and 8 there"),
  ],
)
def test_a_policy_of_another_task_or_robot_is_refused_before_it_plays(told, said, tmp_path):
  with scripted_server.serving(reply, {'aloe': TOLD['aloe'] | told}) as url:
    assert said in refusal(tmp_path, f'--server={url}', '--human=none')
  assert not episode_files.finished(tmp_path)


@pytest.mark.parametrize(
  'options, said',
  [
    (('--episodes=0',), '--episodes is 0; expected 1 or more'),
    (('--speed=nan',), '--speed is nan; expected more than 0'),
    (('--human=nobody',), "--human is 'nobody'; expected one of watching"),
    (('--human=demonstrating', '--speed', '100', '--real_time'), '--real_time is of a policy'),
    (('--human=demonstrating', '--server=ws://robot:1'), '--server is of a policy'),
    (('--human=demonstrating',), '--speed is of a policy, and --human=demonstrating asks none'),
    (('--server=ws://127.0.0.1:9',), '127.0.0.1:9'),
  ],
)
def test_a_wrong_option_is_named(options, said, tmp_path, capsys):
  told = refusal(tmp_path / 'to', *options)
  assert said in told + capsys.readouterr().err
