"""Learning algorithms: what each one optimises, on which data, and how another one is added.

An algorithm is one file that makes an `agent.Agent`; those of this package are listed in `AGENTS`.
One of your own needs no change here. Write it anywhere Python finds it, such as `toy.py` in the
directory that you start commands from:

    from aloe_jax.agents import agent

    AGENT = agent.Agent('toy', imitates=agent.every_chunk)

and name module and variable wherever a config takes an agent, for every command alike:

    python -m aloe_jax.train --config=experiments/laundry.py:sim --config.agent=toy:AGENT \
      --workdir=runs/toy

Numbers of its own are fields of its config, which a config file adds as `config.toy = dict(...)`;
its `Settings` say which: see `agent.Settings`.
"""

import importlib
import sys

from aloe_jax.agents import agent as agent_lib
from aloe_jax.agents import aloe
from aloe_jax.agents import awr
from aloe_jax.agents import bc
from aloe_jax.agents import dagger
from aloe_jax.agents import filtered_bc
from aloe_jax.agents import recap

_ALL = (aloe.AGENT, awr.AGENT, bc.AGENT, dagger.AGENT, filtered_bc.AGENT, recap.AGENT)
AGENTS = {agent.name: agent for agent in _ALL}


def find(name: str) -> agent_lib.Agent:
  """The agent that `config.agent` names: one of `AGENTS`, or 'module:VARIABLE' of any module.

  Raises:
    ValueError: there is none; names those that there are.
  """
  if name in AGENTS:
    return AGENTS[name]
  module_name, colon, variable = name.partition(':')
  if not (colon and module_name and variable):
    raise ValueError(
      f'config.agent is {name!r}; expected one of {", ".join(map(repr, AGENTS))}, or '
      "'module:VARIABLE' of one of your own."
    )
  try:
    module = importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    # What that module itself lacks is a fault in it, and its traceback tells where.
    if error.name is None or not f'{module_name}.'.startswith(f'{error.name}.'):
      raise
    raise ValueError(
      f'config.agent is {name!r}, but Python finds no module {error.name!r}; expected one in the '
      f'directory that the command is started from, on PYTHONPATH or installed: {sys.path}.'
    ) from error
  found = getattr(module, variable, None)
  if not isinstance(found, agent_lib.Agent):
    what = 'nothing' if found is None else f'a {type(found).__name__}'
    raise ValueError(
      f'config.agent is {name!r}, but {module.__file__} holds {what} called {variable!r}; '
      'expected an aloe_jax.agents.agent.Agent.'
    )
  return found
