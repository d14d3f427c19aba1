"""What `critic.horizon` and `critic.backup` say, in configs of any time and on a command line."""

import json

import pytest

from aloe_jax import agents
from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.run import experiment
from aloe_jax.run import networks
from aloe_jax.run import unheeded
from experiments import laundry


def make_config(*overrides):
  config = laundry.get_config('sim_debug')  # plans 8 steps, plays 2
  command_line.override(config, [f'--config.{given}' for given in overrides])
  config_lib.validate(config)
  return config


@pytest.mark.parametrize(
  'given, steps', [('chunk', 8), ('execute', 2), ('0', 8), ('1', 1), ('3', 3), ('8', 8)]
)
def test_the_critic_reads_as_many_steps_as_are_named_or_told(given, steps):
  config = make_config(f'critic.horizon={given}')
  assert config_lib.critic_horizon(config) == steps
  described = experiment.Experiment(config)
  assert described.critic.horizon == steps
  assert described.chunking(1.0).critic_horizon == steps


def test_a_chunk_is_what_a_config_file_says_of_it_by_either_name_or_number():
  config = laundry.get_config('sim_debug')
  for value, steps in (('execute', 2), (3, 3), ('chunk', 8), (0, 8)):
    config.critic.horizon = value
    config_lib.validate(config)
    assert config_lib.critic_horizon(config) == steps


@pytest.mark.parametrize('old, today', [(0, 'chunk'), (2, 2), ('execute', 'execute')])
def test_a_kept_config_goes_on_to_mean_what_it_meant(old, today):
  tree = config_lib.to_json(laundry.get_config('sim_debug'))
  tree['critic']['horizon'] = old
  read = config_lib.from_json(json.loads(json.dumps(tree)), 'there')
  assert read.critic.horizon == today
  read.critic.horizon = 'chunk' if today != 'chunk' else 4  # either kind can be set anew
  given = make_config('critic.horizon=0')
  assert config_lib.flat(given) == config_lib.flat(laundry.get_config('sim_debug'))


@pytest.mark.parametrize(
  'horizon, backup, spans',
  [
    ('execute', 'corrected', 4),
    ('4', 'corrected', 2),
    ('1', 'corrected', 8),
    ('chunk', 'corrected', 1),
    ('execute', 'td', 1),
    ('execute', 'monte_carlo', 1),
  ],
)
def test_corrected_targets_span_as_many_horizons_as_a_chunk_has(horizon, backup, spans):
  config = make_config(f'critic.horizon={horizon}', f'critic.backup={backup}')
  assert networks.critic_spans(config) == spans
  assert experiment.Experiment(config).chunking(1.0).spans == spans
  told = unheeded.settings(config, {'critic.backup': backup})
  assert bool(told) == (horizon == 'chunk')
  if told:
    assert 'the critic reads as much as its targets would span' in told[0]


def test_an_agent_that_reads_no_actions_has_nothing_to_correct():
  config = make_config('agent=awr', 'critic.horizon=execute', 'critic.backup=corrected')
  assert experiment.Experiment(config).chunking(1.0).spans == 1


def test_corrected_targets_that_would_not_span_the_chunk_are_refused():
  with pytest.raises(ValueError, match='span the chunk of 8 steps, but the critic reads 3, which'):
    config_lib.validate(make_config('critic.horizon=3', 'critic.backup=corrected'))


def test_corrected_targets_without_a_bank_are_refused():
  config = make_config('critic.horizon=execute', 'critic.backup=corrected', 'actor.bank=False')
  message = "critic.backup is 'corrected', .* config.actor.bank is False.*=True, or config.critic"
  with pytest.raises(ValueError, match=message):
    agents.find('aloe').validate(config)
