"""An algorithm in one file outside of the package, through every command."""

import json

import command_line
import pytest

from aloe_jax.run import checkpoints

# Expectile regression of the return by a critic of states, and weights from it, as IQL's V: with
# a number of its own.
TOY = """
import dataclasses
from typing import Annotated

import jax.numpy as jnp

from aloe_jax.agents import agent


@dataclasses.dataclass(frozen=True)
class Settings(agent.Settings):
  expectile: Annotated[float, 'toy.expectile']


def state_value(critic, params, observation, settings):
  return critic.apply(params, observation.features, observation.proprio)[:, 0]


def critic_loss(params, target_params, batch, *, critic, settings):
  miss = batch.returns - state_value(critic, params, batch.observation, settings)
  share = jnp.where(miss > 0, settings.expectile, 1 - settings.expectile)
  loss = jnp.mean(share * miss**2)
  return loss, {'loss': loss, 'expectile': jnp.float32(settings.expectile)}


def advantage(params, batch, policy_action, *, critic, settings):
  assert policy_action is None
  return batch.returns - state_value(critic, params, batch.observation, settings)


def imitates(source, succeeded):
  return succeeded | (source == 0)


AGENT = agent.Agent(
  'toy',
  imitates,
  critic='state',
  critic_loss=critic_loss,
  state_value=state_value,
  advantage=advantage,
  settings=Settings,
)
"""
CONFIG = """
from experiments import laundry


def get_config(variant='sim_debug'):
  config = laundry.get_config(variant)
  config.agent = 'toy:AGENT'
  config.toy = dict(expectile=0.9)
  config.critic.bins = 1
  config.evaluation.episodes = 4
  config.sim.rollouts = 4  # as many as the report plays: one program for both
  return config
"""


@pytest.fixture
def command(tmp_path, compiled_once):
  """Runs a command beside which the agent's file lies; returns what it printed."""
  (tmp_path / 'toy.py').write_text(TOY)
  (tmp_path / 'toy_laundry.py').write_text(CONFIG)

  def run(name, *arguments):
    status, printed, errors = command_line.run(
      name,
      f'--config={tmp_path}/toy_laundry.py',
      f'--workdir={tmp_path}/run',
      *arguments,
      PYTHONPATH=f'{tmp_path}:{command_line.ROOT}',
    )
    assert status == 0, errors
    return printed

  return run


def test_an_agent_of_ones_own_trains_evaluates_and_is_reported_on(command, tmp_path):
  workdir = tmp_path / 'run'
  assert 'TOY: Fold the t-shirt' in command('train')
  meta = checkpoints.read_meta(workdir / 'checkpoints' / '2')
  assert (meta['agent'], meta['architecture']['critic']['kind']) == ('toy', 'state')
  lines = [json.loads(x) for x in (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines()]
  critic = [line for line in lines if line['phase'] == 'critic']
  assert [line['expectile'] for line in critic] == [pytest.approx(0.9)] * 2
  weights = next(line for line in lines if line['phase'] == 'weights')
  assert weights['advantage_std'] > 0

  command('evaluate')
  (kept,) = (workdir / 'evaluations').glob('*.json')
  trained = json.loads((workdir / 'evaluations.json').read_text())
  assert json.loads(kept.read_text())[0]['ends'] == trained[1]['ends']

  command('report', '--count=4')
  numbers = json.loads((workdir / 'report.json').read_text())
  assert numbers['agent'] == 'toy'
  assert numbers['episodes'] == 4
  assert numbers['spearman_low'] <= numbers['spearman'] <= numbers['spearman_high']
  assert 'TOY, iteration 1: Fold the t-shirt' in (workdir / 'report.html').read_text()
