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
import types

from aloe_jax import faults
from aloe_jax.agents import agent as agent_lib
from aloe_jax.agents import aloe
from aloe_jax.agents import awr
from aloe_jax.agents import bc
from aloe_jax.agents import dagger
from aloe_jax.agents import filtered_bc
from aloe_jax.agents import filtered_policy_bc
from aloe_jax.agents import recap

_ALL = (aloe, awr, bc, dagger, filtered_bc, filtered_policy_bc, recap)
AGENTS = {module.AGENT.name: module.AGENT for module in _ALL}


def find(name: str) -> agent_lib.Agent:
  """The agent that `config.agent` names: one of `AGENTS`, or 'module:VARIABLE' of any module.

  Raises:
    ValueError: there is none, and those that there are; or its module cannot be imported.
  """
  if name in AGENTS:
    return AGENTS[name]
  module_name, colon, variable = name.partition(':')
  if not (colon and module_name and variable):
    raise ValueError(
      f'config.agent is {name!r}; expected one of {", ".join(map(repr, AGENTS))}, or '
      "'module:VARIABLE' of one of your own."
    )
  module = _import(module_name, name)
  found = getattr(module, variable, None)
  if not isinstance(found, agent_lib.Agent):
    where = getattr(module, '__file__', None) or 'no file'
    what = 'nothing' if found is None else f'a {type(found).__name__}'
    raise ValueError(
      f'config.agent is {name!r}, but {module_name} ({where}) holds {what} called {variable!r}; '
      'expected an aloe_jax.agents.agent.Agent.'
    )
  return found


def _import(module_name: str, agent: str) -> types.ModuleType:
  """The module that the name of an agent begins with; a ValueError where it cannot be had."""
  told = f'config.agent is {agent!r}, but'
  if not all(part.isidentifier() for part in module_name.split('.')):
    raise ValueError(
      f'{told} {module_name!r} is no name of a module; expected one as Python imports it, such as '
      "'toy' for toy.py or 'mine.toy' for mine/toy.py."
    )
  try:
    return importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    if error.name is not None and f'{module_name}.'.startswith(f'{error.name}.'):
      raise ValueError(
        f'{told} Python finds no module {error.name!r}; expected one in the directory that the '
        f'command is started from, on PYTHONPATH or installed: {sys.path}.'
      ) from error
    raise ValueError(_cannot_import(told, module_name, error)) from error
  except (Exception, SystemExit) as error:  # whatever a person's file does
    raise ValueError(_cannot_import(told, module_name, error)) from error


def _cannot_import(told: str, module_name: str, error: BaseException) -> str:
  return (
    f'{told} importing {module_name} ends with {faults.told(error)}; expected a module that can '
    f"be imported: try python -c 'import {module_name}'."
  )
