"""Imitation of what succeeded: which rows it is, and runs of when the name meant another filter."""

import json
import re
import sys
import types as types_lib

import command_line as command_line_tool
import numpy as np
import pytest
import robot
import tiny

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import train
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import agent
from aloe_jax.data import replay
from aloe_jax.run import changeable
from aloe_jax.run import experiment
from aloe_jax.run import kept
from experiments import laundry

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
DEMO, POLICY, HUMAN = types.Source


@pytest.fixture
def buffer():
  """Two demonstrations, a rescue that succeeds and one that fails, and rollouts on their own."""
  rng = np.random.default_rng(0)
  ends = (
    ([NONE, SUCCESS], [DEMO] * 2),  # rows 0 and 1
    ([NONE, NONE, CUT], [DEMO] * 3),  # 2 to 4; nothing can start at the last
    ([NONE, TAKEOVER, NONE, SUCCESS], [POLICY] * 2 + [HUMAN] * 2),  # 5 to 8
    ([NONE, FAILURE, NONE, FAILURE], [POLICY] * 2 + [HUMAN] * 2),  # 9 to 12
    ([NONE, TIMEOUT, NONE, TIMEOUT], [POLICY] * 2 + [HUMAN] * 2),  # 13 to 16
    ([NONE, NONE, SUCCESS], [POLICY] * 3),  # 17 to 19
  )
  episodes = [tiny.make_episode(rng, list(reasons), DEMO, 'put it there') for reasons, _ in ends]
  for episode, (_, sources) in zip(episodes, ends, strict=True):
    episode.source[:] = sources
  chunking = replay.Chunking(tiny.HORIZON, 2, 0.9, 6.0)
  return replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking)


@pytest.mark.parametrize(
  'name, expected',
  [
    ('filtered_bc', [0, 1, 7, 8, 17, 18, 19]),
    ('filtered_policy_bc', [0, 1, 2, 3, 7, 8, 11, 12, 15, 16, 17, 18, 19]),
  ],
)
def test_the_rows_that_a_filter_keeps_are_those_counted_by_hand(name, expected, buffer):
  starts = buffer.starts
  kept_rows = starts[AGENTS[name].imitates(buffer.source[starts], buffer.succeeded[starts])]
  assert kept_rows.tolist() == expected


def of_old(workdir, agent):
  """The config of a run that a version began when kept configs said none."""
  config = laundry.get_config('sim_debug')
  config.agent = agent
  workdir.mkdir(exist_ok=True)
  (workdir / 'config.json').write_text(config.to_json())
  return config


def read(workdir, command, *arguments):
  parser = command_line.parser(f'aloe_jax.{command}', '')
  given = command_line.parse(parser, [f'--workdir={workdir}', *arguments])
  return config_lib.flat(kept.config(given, command))


SAME = ('--config=experiments/laundry.py:sim_debug', '--config.agent=filtered_bc')


@pytest.mark.parametrize('command', changeable.COMMANDS)
def test_a_run_of_old_goes_on_as_what_it_was_and_says_so(command, tmp_path, capsys):
  config = of_old(tmp_path, 'filtered_bc')
  config.agent = 'filtered_policy_bc'
  for _ in range(2):  # the second time it is this version that has kept the config
    for arguments in ((), SAME):
      assert read(tmp_path, command, *arguments) == config_lib.flat(config)
      assert capsys.readouterr().out == (
        "agent = 'filtered_policy_bc': what the version that began this run called 'filtered_bc'.\n"
      )
    config_lib.keep(config, tmp_path / 'config.json')


def test_a_run_of_another_agent_has_nothing_to_say_of_it(tmp_path, capsys):
  config = of_old(tmp_path, 'aloe')
  assert read(tmp_path, 'train') == config_lib.flat(config)
  assert not capsys.readouterr().out


def test_a_run_of_this_version_is_what_it_is_called_and_not_the_other(tmp_path, capsys):
  config = laundry.get_config('sim_debug')
  for name, other in (
    ('filtered_bc', 'filtered_policy_bc'),
    ('filtered_policy_bc', 'filtered_bc'),
  ):
    config.agent = name
    workdir = tmp_path / name
    config_lib.keep(config, workdir / 'config.json')
    assert json.loads((workdir / 'config.json').read_text())['version'] == 1
    assert read(workdir, 'train') == config_lib.flat(config)
    assert not capsys.readouterr().out
    with pytest.raises(SystemExit, match=f"the run has agent = '{name}', the command line says"):
      read(workdir, 'train', f'--config.agent={other}')


def test_a_checkpoint_of_old_is_read_as_what_it_was():
  tree = json.loads(laundry.get_config('sim_debug').to_json()) | {'agent': 'filtered_bc'}
  assert config_lib.from_json(tree, 'there').agent == 'filtered_policy_bc'
  assert config_lib.from_json(tree | {'version': 1}, 'there').agent == 'filtered_bc'


def test_where_there_is_nothing_to_imitate_the_run_ends_before_the_phase_and_says_what_there_is(
  tmp_path, monkeypatch, compiled_once
):
  nobody = types_lib.SimpleNamespace(
    AGENT=agent.Agent('nobody', lambda source, succeeded: np.zeros(len(source), bool))
  )
  monkeypatch.setitem(sys.modules, 'nobody', nobody)
  config = laundry.get_config('sim_debug')
  config.agent = 'nobody:AGENT'
  with pytest.raises(SystemExit) as stopped:
    train.run(experiment.Experiment(config), tmp_path)
  told = stopped.value.code
  assert told.startswith("error: 'nobody' imitates none of the chunks that iteration 1 has: "), told
  demos, policy, human = re.findall(r'(\d+) of (\w+), (\d+) in a success', told)
  assert (demos[1], policy[1], human[1]) == ('demo', 'policy', 'human')
  assert demos[0] == demos[2]  # those that did not succeed were not kept
  assert int(policy[2]) <= int(policy[0])
  assert "or another agent: 'filtered_policy_bc'" in told
  assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['0']


def test_a_robots_run_of_failures_alone_is_refused_before_anything_is_learnt(tmp_path):
  ends = np.array([NONE] * (robot.LENGTH - 1) + [FAILURE], np.int8)
  made = [robot.make_episode(number, end_reason=ends) for number in (0, 2)]
  episodes = str(robot.write_episodes(tmp_path / 'episodes', *made))
  flags = robot.make_flags(
    agent='filtered_bc',
    data__episodes=(episodes,),
    fail__cost=10.0,
    actor__tokenizer='words',
    data__check_statistics='warn',
  )
  status, _, errors = command_line_tool.run('train', *flags, f'--workdir={tmp_path / "run"}')
  assert status == 1
  assert errors.startswith("error: 'filtered_bc' imitates none of the chunks that iteration 1 has")
  assert '24 of demo, 0 in a success' in errors
  assert not (tmp_path / 'run' / 'checkpoints').exists()
