"""Fills the table of docs/dry_run.md in: π0.5 at full size on every machine.

  python docs/dry_run_table.py                  what is not in docs/results/dry_run.json, or old
  python docs/dry_run_table.py v5e-16 h100x8    of these machines alone

It needs the TPU compiler (`pip install -c constraints.txt -e '.[tpu]'`), no TPU, and minutes a
program. What is found is kept as soon as it is, in the place of what an older program took.
"""

import argparse
from collections.abc import Iterator
import dataclasses
import datetime
import importlib.metadata
import json
import pathlib
import subprocess
import sys

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.dry_run import estimate
from aloe_jax.dry_run import programs
from aloe_jax.dry_run import report
from aloe_jax.dry_run import topologies
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import requirements

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / 'docs' / 'results' / 'dry_run.json'
PAGE = ROOT / 'docs' / 'dry_run.md'
EXPERIMENT = ROOT / 'experiments' / 'laundry.py'
BEGIN, END = '<!-- table: docs/dry_run_table.py -->', '<!-- end of table -->'
# Of the programs that are compiled now: to be raised where a change of them shows in the table.
VERSION = 1
OLDER = (
  'Of programs from before parameters were rounded ahead of what loops over them and the sampler '
  'gathered its weights once, with more traffic than there is, as slices in fusions of fusions '
  'were counted whole. Their actor updates are from before attention was '
  'changed too'
)
# As the experiment has it; then what is otherwise drawn beforehand, in every update.
CONFIGS = ({}, {'actor.bank': False, 'actor.weights': 'per_step'})
ORDER = (
  'features', 'actor update', 'bank, M = 8', 'critic update',
  'critic update, sampling in the step', 'actor update, weights in the step',
)  # fmt: skip
COLUMNS = (
  'machine', 'program', 'rows', 'held', 'on the way', 'peak', 'of', 'TFLOP', 'traffic',
  'received', 'FLOPs s', 'memory s', 'links s', 'links',
)  # fmt: skip


def main() -> None:
  """Compiles what is missing and writes the page."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('topologies', nargs='*', default=list(topologies.TOPOLOGIES))
  parser.add_argument('--here', action='store_true', help='in this process, of one machine')
  given = parser.parse_args()
  if given.here:
    fill(topologies.find(given.topologies[0]))
    return
  for name in given.topologies:
    topologies.find(name)
    subprocess.run([sys.executable, __file__, '--here', name], cwd=ROOT, check=True)
  write()


def fill(topology: topologies.Topology) -> None:
  """Compiles the programs of one machine that are not known yet, and keeps each."""
  devices = topologies.devices(topology)
  for changes in CONFIGS:
    config = command_line.load(str(EXPERIMENT))
    for field, value in changes.items():
      section, _, name = field.partition('.')
      config[section][name] = value
    report.fill_in(config)
    config_lib.validate(config)
    requirements.check_batches(config, topology.count, f'of {topology.name}')
    experiment = experiment_lib.Experiment(config, devices)
    for program in programs.of(experiment, devices, apart=topology.chip is not None):
      place = topology.name, program.name
      if any(_place(x) == place and not _is_old(x) for x in read()):
        continue
      found = dataclasses.asdict(estimate.of(program, topology))
      found |= {'topology': topology.name, 'versions': versions(topology), 'date': today()}
      found['version'] = VERSION
      others = [x for x in read() if _place(x) != place]
      RESULTS.write_text(json.dumps([*others, found], indent=1) + '\n')
      print(topology.name, program.name, flush=True)


def read() -> list[dict]:
  """What is known."""
  return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def versions(topology: topologies.Topology) -> dict[str, str]:
  """Of the compilers."""
  names = ['jax', 'jaxlib', *(['libtpu'] if topology.shape else [])]
  return {name: importlib.metadata.version(name) for name in names}


def today() -> str:
  """The date, year first."""
  return datetime.datetime.now(datetime.UTC).date().isoformat()


def write() -> None:
  """Puts the table between its marks."""
  before, _, rest = PAGE.read_text().partition(BEGIN)
  _, _, after = rest.partition(END)
  table = '\n'.join(lines())
  PAGE.write_text(f'{before}{BEGIN}\n\n{table}\n\n{END}{after}')


def lines() -> Iterator[str]:
  """Of the table, in the order of the machines and of a run."""
  yield '| ' + ' | '.join(COLUMNS) + ' |'
  yield '|---|---|' + '---:|' * (len(COLUMNS) - 2)
  names = {field.name for field in dataclasses.fields(estimate.Estimate)}
  order = list(topologies.TOPOLOGIES)
  rows = sorted(read(), key=lambda x: (order.index(x['topology']), ORDER.index(x['name'])))
  for kept in rows:
    found = estimate.Estimate(**{name: kept[name] for name in names})
    topology = topologies.TOPOLOGIES[kept['topology']]
    name, *rest = cells(found, topology)
    yield '| ' + ' | '.join([name + (' °' if _is_old(kept) else ''), *rest]) + ' |'
  if any(map(_is_old, rows)):
    yield ''
    yield f'° {OLDER}.'


def _place(row: dict) -> tuple[str, str]:
  return row['topology'], row['name']


def _is_old(row: dict) -> bool:
  return row.get('version', 0) < VERSION


def cells(found: estimate.Estimate, topology: topologies.Topology) -> list[str]:
  """Of one row: GB and seconds."""
  passing = found.held['temporaries']
  name = topology.name + (' (estimate)' if topology.is_estimate else '')
  row = [name, found.name, f'{found.rows}', _giga(found.peak - passing), _giga(passing)]
  row += [_giga(found.peak) + ('' if found.fits else ' **no**')]
  row += [_giga(found.capacity) if found.capacity else '']
  if found.refused:
    return row + [''] * (len(COLUMNS) - len(row))
  row += [f'{found.flops / 1e12:.4g}', _giga(found.traffic), _giga(sum(found.exchanged.values()))]
  if not topology.chip:
    return row + [''] * (len(COLUMNS) - len(row))
  seconds = [f'{x:.3g}' for x in (found.compute, found.memory, found.links)]
  return row + seconds + [f'{100 * found.share:.0f} %']


def _giga(size: float) -> str:
  return f'{size / 1e9:.2f}'


if __name__ == '__main__':
  main()
