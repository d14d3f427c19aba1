"""The comparisons of `experiments.paper`: tasks, seeds, and what each method changes."""

from collections.abc import Mapping, Sequence
import dataclasses

LAUNDRY = {'fold_laundry': 'experiments/laundry.py:sim'}
PICK_AND_PLACE = {
  'pack_phone': 'experiments/pack_phone.py:sim',
  'sort_products': 'experiments/sort_products.py:sim',
}
TASKS = PICK_AND_PLACE | LAUNDRY
OGBENCH = {
  'cube_single': 'experiments/ogbench.py:cube_single',
  'cube_double': 'experiments/ogbench.py:cube_double',
}

Overrides = Mapping[str, object]  # {field of the config: value}


@dataclasses.dataclass(frozen=True)
class Suite:
  """A comparison.

  Attributes:
    tasks: {name in the figures: experiment}.
    first_seed: of the warm starts and all that follows.
    seeds: how many.
    methods: {name in tables and figures: what it changes}.
    conditions: flags of the evaluations that follow the ordinary ones.
    report: whether critics are judged on episodes that they have not seen.
  """

  tasks: Mapping[str, str]
  first_seed: int
  seeds: int
  methods: Mapping[str, Overrides]
  conditions: Sequence[str] = ()
  report: bool = False


METHODS: dict[str, Overrides] = {
  'BC, as long': dict(agent='bc'),
  'filtered BC': {'agent': 'filtered_bc', 'actor.lr': 1e-3},
  'filtered policy BC': {'agent': 'filtered_policy_bc', 'actor.lr': 1e-3},
  'DAgger': {'agent': 'dagger', 'actor.lr': 2e-4},
  'AWR': dict(agent='awr'),
  'RECAP': dict(agent='recap'),
  'ALOE': {'agent': 'aloe', 'actor.beta': 0.5},
}
# Three settings of every method, on a seed that is not reported; the best is in METHODS. Those of
# filtered BC were measured with the one that filters the policy alone.
TUNING: dict[str, Overrides] = {
  'ALOE': dict(agent='aloe'),
  'ALOE, β 0.5': {'agent': 'aloe', 'actor.beta': 0.5},
  'ALOE, β 2': {'agent': 'aloe', 'actor.beta': 2.0},
  'AWR': dict(agent='awr'),
  'AWR, β 0.5': {'agent': 'awr', 'actor.beta': 0.5},
  'AWR, β 2': {'agent': 'awr', 'actor.beta': 2.0},
  'RECAP': dict(agent='recap'),
  'RECAP, guidance 2': {'agent': 'recap', 'recap.guidance': 2.0},
  'RECAP, 20 % positive': {'agent': 'recap', 'recap.positive': 0.2},
  'DAgger': dict(agent='dagger'),
  'DAgger, lr 2e-4': {'agent': 'dagger', 'actor.lr': 2e-4},
  'DAgger, lr 1e-3': {'agent': 'dagger', 'actor.lr': 1e-3},
  'filtered BC': dict(agent='filtered_policy_bc'),
  'filtered BC, lr 2e-4': {'agent': 'filtered_policy_bc', 'actor.lr': 2e-4},
  'filtered BC, lr 1e-3': {'agent': 'filtered_policy_bc', 'actor.lr': 1e-3},
  'BC, as long': dict(agent='bc'),
  'BC, as long, lr 2e-4': {'agent': 'bc', 'actor.lr': 2e-4},
  'BC, as long, lr 1e-3': {'agent': 'bc', 'actor.lr': 1e-3},
}
ABLATIONS: dict[str, Overrides] = {
  name: {**METHODS['ALOE'], **change}
  for name, change in {
    'ALOE': {},
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
  'ALOE': {},
  'backup of e steps': {'critic.horizon': 2},
  'whole chunks executed': {'task.execute': 8},
}
_OWN_PLAN = {
  f'{name}, own plan past the end': {**change, 'critic.past_end': 'policy'}
  for name, change in _EXECUTED.items()
}
BACKUPS: dict[str, Overrides] = {
  f'{name}{told}': {**METHODS['ALOE'], **change, **beta}
  for told, beta in {'': {}, ', β 0.25': {'actor.beta': 0.25}}.items()
  for name, change in (_EXECUTED | _OWN_PLAN | {'1-step TD': {'critic.horizon': 1}}).items()
}
SUITES = {
  'methods': Suite(TASKS, 10, 5, METHODS, ('unseen', 'disturb'), report=True),
  'tuning': Suite(PICK_AND_PLACE, 100, 1, TUNING),
  'ablations': Suite(LAUNDRY, 10, 3, ABLATIONS, report=True),
  'backups': Suite(LAUNDRY, 20, 5, BACKUPS, report=True),
  'ogbench': Suite(OGBENCH, 10, 3, METHODS),
}
