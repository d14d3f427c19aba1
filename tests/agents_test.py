"""Agents are found by name, and refuse by name what does not go with them."""

import dataclasses
import json
import re
import sys
from typing import Annotated

import numpy as np
import pytest

from aloe_jax import agents
from aloe_jax import config as config_lib
from aloe_jax.agents import agent as agent_lib
from aloe_jax.run import experiment
from experiments import laundry


def make_config(**changes):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


@dataclasses.dataclass(frozen=True)
class Unsaid(agent_lib.Settings):
  """Settings of which one does not say which field of the config it is."""

  share: float


class Undecorated(agent_lib.Settings):
  """Settings of which one would never be read."""

  share: Annotated[float, 'toy.share']


@pytest.fixture
def modules(tmp_path, monkeypatch):
  """Writes modules where Python finds them; forgets them afterwards."""
  monkeypatch.syspath_prepend(str(tmp_path))
  before = set(sys.modules)

  def write(**sources):
    for name, source in sources.items():
      (tmp_path / f'{name}.py').write_text(source)

  yield write
  for name in set(sys.modules) - before:
    del sys.modules[name]


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      dict(agent='bc', actor__best_of=2),
      "config.actor.best_of is 2, but 'bc' has no critic of actions to choose by; expected 1",
    ),
    (dict(agent='awr', actor__best_of=2), "but 'awr' has no critic of actions"),
    (dict(agent='recap', recap__positive=1.0), 'config.recap.positive is 1.0; expected between 0'),
    (dict(agent='recap', recap__drop=1.0), 'config.recap.drop is 1.0; expected 0 or more and less'),
    (dict(agent='recap', recap__guidance=-1.0), 'config.recap.guidance is -1.0; expected 0 or'),
    (
      dict(agent='recap', recap__guidance=2.0, recap__drop=0.0),
      'config.recap.guidance is 2.0, which needs .*, but config.recap.drop is 0; expected',
    ),
    (
      dict(agent='recap', actor__weights='per_step'),
      "config.actor.weights is 'per_step', but 'recap' tags all chunks .*; expected 'per_phase'",
    ),
    (dict(agent='sac'), "config.agent is 'sac'; expected one of 'aloe', .*, or 'module:VARIABLE'"),
    (dict(agent='nowhere.sac:AGENT'), "but Python finds no module 'nowhere'; expected one in"),
    (dict(agent='json:AGENT'), "json.*holds nothing called 'AGENT'; expected an .*agent.Agent"),
    (dict(agent='json:dumps'), "json.*holds a function called 'dumps'; expected an"),
  ],
)
def test_what_does_not_go_with_an_agent_is_refused_by_name(changes, message):
  with pytest.raises(ValueError, match=message):
    experiment.Experiment(make_config(**changes))


@pytest.mark.parametrize(
  'source, message',
  [
    ('import no_such_library', r"ModuleNotFoundError: .*no_such_library' \(.*faulty.py, line 1\)"),
    ('x = 1\n1 / 0', r'ZeroDivisionError: division by zero \(.*faulty.py, line 2\)'),
    ('def f(:', r'SyntaxError: .*faulty.py, line 1'),
    ('import sys\nsys.exit(3)', r'SystemExit: 3 \(.*faulty.py, line 2\)'),
  ],
)
def test_a_fault_inside_of_an_agents_own_file_is_told_with_its_place(source, message, modules):
  modules(faulty=source)
  with pytest.raises(
    ValueError, match=f"config.agent is 'faulty:AGENT', but importing faulty ends with {message}"
  ):
    agents.find('faulty:AGENT')


@pytest.mark.parametrize('name', ['.:AGENT', '.toy:AGENT', 'a..b:AGENT', 'toy.py/:AGENT'])
def test_what_is_no_name_of_a_module_is_refused(name):
  with pytest.raises(ValueError, match='is no name of a module; expected one as Python imports'):
    agents.find(name)


def test_numbers_of_an_agents_own_are_fields_of_its_config(modules):
  modules(
    toy="""
import dataclasses
from typing import Annotated

from aloe_jax.agents import agent

@dataclasses.dataclass(frozen=True)
class Settings(agent.Settings):
  share: Annotated[float, 'toy.share']

AGENT = agent.Agent('toy', imitates=agent.every_chunk, settings=Settings)
"""
  )
  config = make_config(agent='toy:AGENT')
  expected = "config.toy.share is read by config.agent='toy:AGENT', but is not a field of this"
  with pytest.raises(ValueError, match=re.escape(expected)):
    experiment.Experiment(config)
  config.toy = dict(share=0.25)
  assert experiment.Experiment(config).learner(1.0).settings.share == 0.25


def test_a_kept_config_knows_the_numbers_of_an_agents_own_and_of_no_other():
  config = make_config(agent='my.toy:AGENT')
  config.toy = dict(share=0.25)
  tree = json.loads(config.to_json())
  assert config_lib.from_json(tree, 'kept').toy.share == 0.25
  with pytest.raises(ValueError, match='kept: toy.share: no such field'):
    config_lib.from_json(tree | {'agent': 'aloe'}, 'kept')


def test_losses_take_the_numbers_that_the_config_says():
  changes = dict(agent='recap', actor__beta=0.7, critic__bins=9, recap__positive=0.2)
  found = experiment.Experiment(make_config(**changes)).learner(0.5, (-2.0, 3.0)).settings
  assert (found.beta, found.value_bins, found.positive) == (0.7, 9, 0.2)
  assert (found.reward_scale, found.return_range) == (0.5, (-2.0, 3.0))


@pytest.mark.parametrize(
  'parts, message',
  [
    (dict(critic='value'), "critic is 'value'; expected 'action', 'state' or None"),
    (dict(critic='action'), "critic is 'action', so critic_loss expected a function"),
    (dict(advantage=len), 'critic is None, so advantage expected none'),
    (
      dict(critic='state', critic_loss=len, advantage=len),
      "critic is 'state', so state_value expected a function",
    ),
    (dict(is_positive=len), 'is_positive needs an advantage, which is None'),
    (dict(imitates=None), 'imitates is None; expected a function'),
    (dict(check=3), 'check is 3; expected a function'),
    (dict(settings=None), 'settings is None; expected a class that extends'),
    (dict(settings=dict), "settings is <class 'dict'>; expected a class that extends"),
    (dict(settings=Undecorated), 'Undecorated has share, but is no dataclass; expected @data'),
    (dict(settings=Unsaid), 'Unsaid.share does not say which field of the config it is; expected'),
  ],
)
def test_parts_that_do_not_make_an_agent_are_refused(parts, message):
  with pytest.raises(ValueError, match=f"agent 'toy': {message}"):
    agent_lib.Agent('toy', **dict(imitates=np.ones_like) | parts)


@pytest.mark.parametrize('name', ['awr', 'recap'])
def test_a_distribution_over_one_value_is_refused(name):
  config = laundry.get_config('sim_debug')
  config.agent = name
  config.critic.bins = 1
  with pytest.raises(ValueError, match='config.critic.bins is 1, of which .*; expected 2 or more'):
    agents.find(name).validate(config)
