"""The comparisons of `experiments.paper`: tasks, seeds, methods, and the commands of each run."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib

from aloe_jax import agents
from aloe_jax.comparison import jobs
from aloe_jax.comparison import store
from aloe_jax.comparison import tables

LAUNDRY = {'fold_laundry': 'experiments/laundry.py:sim'}
PICK_AND_PLACE = {
  'pack_phone': 'experiments/pack_phone.py:sim',
  'sort_products': 'experiments/sort_products.py:sim',
}
TASKS = PICK_AND_PLACE | LAUNDRY
OGBENCH = {
  name: f'experiments/ogbench.py:{name}' for name in ('cube_double', 'cube_single', 'scene')
}
METAWORLD = {
  name: f'experiments/metaworld.py:{name}'
  for name in ('push', 'hand_insert', 'pick_place_wall', 'shelf_place')
}
GYM_ALOHA = {'transfer_cube': 'experiments/gym_aloha.py:transfer_cube'}
AWAY = OGBENCH | METAWORLD | GYM_ALOHA

_TUNING_SEEDS = (100, 200)  # from, and up to but without
Overrides = Mapping[str, object]  # {field of the config: value}


@dataclasses.dataclass(frozen=True)
class Suite:
  """A comparison.

  Attributes:
    tasks: {name in the figures: experiment}.
    first_seed: of the warm starts and all that follows.
    seeds: how many, of all tasks or {task: of it}.
    methods: {name in tables and figures: what it changes}.
    conditions: flags of the evaluations that follow the ordinary ones.
    report: whether critics are judged on episodes that they have not seen.
  """

  tasks: Mapping[str, str]
  first_seed: int
  seeds: int | Mapping[str, int]
  methods: Mapping[str, Overrides]
  conditions: Sequence[str] = ()
  report: bool = False

  @property
  def pairs(self) -> list[tuple[str, int]]:
    """(task, seed) of all warm starts, seed by seed."""
    counts = {t: self.seeds if isinstance(self.seeds, int) else self.seeds[t] for t in self.tasks}
    return [
      (task, self.first_seed + number)
      for number in range(max(counts.values()))
      for task in self.tasks
      if number < counts[task]
    ]

  def part(self, tasks: Sequence[str], methods: Sequence[str], seeds: int | None) -> 'Suite':
    """This comparison of some tasks, methods and seeds; those not given are all.

    Raises:
      ValueError: naming those that it has not, or the seeds that are for something else.
    """
    _check_seeds(self.first_seed, seeds or 0)
    kept = []
    for what, given, known in (('tasks', tasks, self.tasks), ('methods', methods, self.methods)):
      if unknown := [name for name in given if name not in known]:
        raise ValueError(f'--{what}: found {unknown}, expected some of {list(known)}.')
      kept.append({name: x for name, x in known.items() if not given or name in given})
    return dataclasses.replace(
      self, tasks=kept[0], methods=kept[1], seeds=self.seeds if seeds is None else seeds
    )


def _check_seeds(first: int, count: int) -> None:
  """Refuses seeds of what is reported among those that settings were chosen on, and others."""
  end = next((end for end in _TUNING_SEEDS if first < end), first + count)
  if first + count > end:
    raise ValueError(
      f'--seeds: found {count}, which are seeds {first} to {first + count - 1}; expected '
      f'{end - first} at most: seeds {_TUNING_SEEDS[0]} to {_TUNING_SEEDS[1] - 1} are for tuning '
      'alone, and what is tuned on is not reported.'
    )


METHODS: dict[str, Overrides] = {
  'BC, as long': {'agent': 'bc', 'actor.lr': 5e-4},
  'filtered BC': {'agent': 'filtered_bc', 'actor.lr': 1e-3},
  'filtered policy BC': {'agent': 'filtered_policy_bc', 'actor.lr': 1e-3},
  'DAgger': {'agent': 'dagger', 'actor.lr': 2e-4},
  'AWR': {'agent': 'awr', 'actor.lr': 5e-4},
  'RECAP': {'agent': 'recap', 'actor.lr': 5e-4},
  'ALOE': dict(agent='aloe'),
  "ALOE, the paper's weights": {
    'agent': 'aloe', 'actor.rule': 'paper', 'actor.beta': 0.5, 'actor.lr': 5e-4,
  },
}  # fmt: skip
_PAPERS = METHODS["ALOE, the paper's weights"]
# Three settings of every method, on a seed that is not reported; the best is in METHODS. Those of
# filtered BC were measured with the one that filters the policy alone.
TUNING: dict[str, Overrides] = {
  "ALOE, the paper's weights, β 1": {**_PAPERS, 'actor.beta': 1.0},
  "ALOE, the paper's weights": _PAPERS,
  "ALOE, the paper's weights, β 2": {**_PAPERS, 'actor.beta': 2.0},
  'AWR': METHODS['AWR'],
  'AWR, β 0.5': {**METHODS['AWR'], 'actor.beta': 0.5},
  'AWR, β 2': {**METHODS['AWR'], 'actor.beta': 2.0},
  'RECAP': METHODS['RECAP'],
  'RECAP, guidance 2': {**METHODS['RECAP'], 'recap.guidance': 2.0},
  'RECAP, 20 % positive': {**METHODS['RECAP'], 'recap.positive': 0.2},
  'DAgger': {'agent': 'dagger', 'actor.lr': 5e-4},
  'DAgger, lr 2e-4': {'agent': 'dagger', 'actor.lr': 2e-4},
  'DAgger, lr 1e-3': {'agent': 'dagger', 'actor.lr': 1e-3},
  'filtered BC': {'agent': 'filtered_policy_bc', 'actor.lr': 5e-4},
  'filtered BC, lr 2e-4': {'agent': 'filtered_policy_bc', 'actor.lr': 2e-4},
  'filtered BC, lr 1e-3': {'agent': 'filtered_policy_bc', 'actor.lr': 1e-3},
  'BC, as long': METHODS['BC, as long'],
  'BC, as long, lr 2e-4': {'agent': 'bc', 'actor.lr': 2e-4},
  'BC, as long, lr 1e-3': {'agent': 'bc', 'actor.lr': 1e-3},
}
# Of the paper's weights, as the numbers of earlier versions are.
ABLATIONS: dict[str, Overrides] = {
  name: {**_PAPERS, **change}
  for name, change in {
    "ALOE, the paper's weights": {},
    'no pessimism': {'critic.pessimism': 'mean'},
    '1-step TD': {'critic.horizon': 1},
    'backup of e steps': {'critic.horizon': 2},
    'Monte-Carlo returns': {'critic.backup': 'monte_carlo'},
    'K 1': {'critic.size': 1},
    'K 4': {'critic.size': 4},
    'M 1': {'actor.samples': 1},
    'M 8': {'actor.samples': 8},
    'β 0.25': {'actor.beta': 0.25},
    'β 1': {'actor.beta': 1.0},
    'no failed fragments': {'data.failures': False},
    'weights per step': {'actor.weights': 'per_step'},
    'whole chunks executed': {'task.execute': 8},
    'take-overs go on': {'data.takeover': 'continue'},  # HIL-SERL's rule
  }.items()
}
# What a chunk is filled up with past a terminal end, for every backup that has one to fill: a chunk
# of 1 step never does. With whole chunks executed, e is h.
_EXECUTED = {
  "ALOE, the paper's weights": {},
  'backup of e steps': {'critic.horizon': 2},
  'whole chunks executed': {'task.execute': 8},
}
_OWN_PLAN = {
  f'{name}, own plan past the end': {**change, 'critic.past_end': 'policy'}
  for name, change in _EXECUTED.items()
}
BACKUPS: dict[str, Overrides] = {
  f'{name}{told}': {**_PAPERS, **change, **beta}
  for told, beta in {'': {}, ', β 0.25': {'actor.beta': 0.25}}.items()
  for name, change in (_EXECUTED | _OWN_PLAN | {'1-step TD': {'critic.horizon': 1}}).items()
}
SUITES = {
  'methods': Suite(TASKS, 10, 5, METHODS, ('unseen', 'disturb'), report=True),
  'tuning': Suite(PICK_AND_PLACE, 100, 1, TUNING),
  'ablations': Suite(LAUNDRY, 10, 3, ABLATIONS, report=True),
  'backups': Suite(LAUNDRY, 20, 5, BACKUPS, report=True),
  'away': Suite(AWAY, 10, {name: 5 if name in OGBENCH else 3 for name in AWAY}, METHODS),
}
PARTS = {  # of 'away', by simulator: where each has an environment of its own
  'ogbench': Suite(OGBENCH, 10, 5, METHODS),
  'metaworld': Suite(METAWORLD, 10, 3, METHODS),
  'gym_aloha': Suite(GYM_ALOHA, 10, 3, METHODS),
}


def plan(
  suite: Suite, workdir: pathlib.Path, common: Overrides, report_flags: Sequence[str] = ()
) -> dict[store.Key, jobs.Job]:
  """A job for every warm start and every run of a method, seed by seed.

  Args:
    suite: what to compare.
    workdir: of all runs.
    common: changes to every run.
    report_flags: of `aloe_jax.report`.
  """
  planned = {}
  for task, seed in suite.pairs:
    warm_start = store.Key(task, seed, tables.WARM_START)
    start = warm_start.below(workdir)
    changes = {**common, **dict(agent='bc', seed=seed, iterations=0)}
    planned[warm_start] = _job(suite, start, task, changes, ())
    given = {
      'seed': seed,
      'actor.checkpoint': str(start / 'checkpoints' / '0'),
      'data.episodes': (str(start / 'episodes' / 'demonstrations'),),
      'task.demonstrations': 0,
    }
    for method, setting in suite.methods.items():
      key = store.Key(task, seed, method)
      changes = {**common, **given, **setting}
      needs = (planned[warm_start].name,)
      planned[key] = _job(suite, key.below(workdir), task, changes, needs, report_flags)
  return planned


def _job(
  suite: Suite,
  directory: pathlib.Path,
  task: str,
  changes: Overrides,
  needs: tuple[str, ...],
  report_flags: Sequence[str] = (),
) -> jobs.Job:
  where = (f'--config={suite.tasks[task]}', f'--workdir={directory}')
  given = tuple(f'--config.{field}={value}' for field, value in changes.items())
  commands = [('-m', 'aloe_jax.train', *where, *given)]
  commands += [('-m', 'aloe_jax.evaluate', *where, *given, f'--{c}') for c in suite.conditions]
  if suite.report and agents.find(str(changes.get('agent', 'aloe'))).critic:
    commands.append(('-m', 'aloe_jax.report', *where, *given, *report_flags))
  name = '/'.join(directory.parts[-3:])  # task/seed/method
  return jobs.Job(name, directory, tuple(commands), needs)
