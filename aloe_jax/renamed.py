"""Names that were others once: configs, checkpoints and reports that hold the old ones are read."""

from collections.abc import Mapping
from typing import Any

FIELDS = {  # of configs, and of the architecture that checkpoints keep
  'critic.language': 'critic.prompt',
  'data.mapping.language': 'data.mapping.prompt',
}
NUMBERS = {'horizon': 'effective_horizon'}  # of report.json, with `_low` and `_high` too


def fields(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """A nested dictionary, such as a config read from JSON, with today's names."""
  renamed = {}
  for name, value in tree.items():
    path = FIELDS.get(prefix + name, prefix + name)
    nested = isinstance(value, Mapping)
    renamed[path.rpartition('.')[2]] = fields(value, f'{path}.') if nested else value
  return renamed


def numbers(report: Mapping[str, Any]) -> dict[str, Any]:
  """A flat report with today's names."""
  new = {old + end: name + end for old, name in NUMBERS.items() for end in ('', '_low', '_high')}
  return {new.get(name, name): value for name, value in report.items()}
