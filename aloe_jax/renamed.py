"""Names that were others once, or none: configs, checkpoints and reports of that time are read."""

from collections.abc import Mapping
from typing import Any

FIELDS = {  # of configs, and of the architecture that checkpoints keep
  'critic.language': 'critic.prompt',
  'data.mapping.language': 'data.mapping.prompt',
}
ADDED = {  # fields that configs did not have once, with what was done then
  'actor.frozen_dtype': 'bfloat16',
  'actor.lora.expert': 0,
  'actor.lora.language': 0,
  'actor.lora.scale': 1.0,
  'actor.microbatch': 0,
  'actor.rule': 'paper',
  'actor.small.tower.channels': (),  # cameras were seen through random filters
  'actor.small.tower.width': 64,  # does nothing without channels
  'actor.train': 'all',
  'critic.backup': 'td',
  'critic.pessimism': 'min',
  'data.cache': '',
  'data.check_statistics': 'stop',
  'data.failures': True,
  'data.mapping.last_action': 'keep',
  'data.on_error': 'raise',
  'data.rates': 'same',
  'data.split': 'train',
  **{f'data.ratios.{source}': 0.0 for source in ('demo', 'policy', 'human')},
  **{
    f'data.mapping.{key}': 'none' if key == 'reward' else ''
    for key in (
      'head', 'left_wrist', 'right_wrist', 'state', 'action', 'prompt', 'success', 'source',
      'intervention', 'end_reason', 'reward',
    )
  },
  'recap.drop': 0.3,
  'recap.guidance': 1.0,
  'recap.positive': 0.4,
  'sim.processes': 0,  # changes no result
  'train.compile_cache': '',
  'train.keep': 0,
  'train.save_minutes': 15.0,  # changes no result
}  # fmt: skip
VERSION = 1  # of what the values of configs mean, which kept ones say; those before 1 say none
VALUES = {  # {field: {value of configs without a version: what it is called now}}
  'agent': {'filtered_bc': 'filtered_policy_bc'},
}
NUMBERS = {'horizon': 'effective_horizon'}  # of report.json, with `_low` and `_high` too

GONE = ('replanning',)  # numbers of report.json that are measured no more, likewise


def fields(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """A nested dictionary, such as a config read from JSON, with today's names."""
  renamed = {}
  for name, value in tree.items():
    path = FIELDS.get(prefix + name, prefix + name)
    nested = isinstance(value, Mapping)
    renamed[path.rpartition('.')[2]] = fields(value, f'{path}.') if nested else value
  return renamed


def value(field: str, old: Any) -> Any:
  """What a value of a config that says no version is called now."""
  names = VALUES.get(field, {})
  return names.get(old, old) if isinstance(old, str) else old


def horizon(old: Any) -> Any:
  """What a value of `critic.horizon` is called now: 0 is a whole chunk, in configs of any time."""
  return 'chunk' if old == 0 and not isinstance(old, bool) else old


def numbers(report: Mapping[str, Any]) -> dict[str, Any]:
  """A flat report with today's names, without what is measured no more."""
  ends = ('', '_low', '_high')
  new = {old + end: name + end for old, name in NUMBERS.items() for end in ends}
  gone = {name + end for name in GONE for end in ends}
  return {new.get(name, name): value for name, value in report.items() if name not in gone}
