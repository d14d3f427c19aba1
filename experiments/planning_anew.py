"""What planning anew inside a chunk does to a backup, on a world that is solved exactly.

python -m experiments.planning_anew [PICTURE.png]

Something is carried along and sways by gusts; far from the middle it falls, in the middle the work
goes on. A policy plans h = 10 e steps and plays e of them. All is computed from probabilities: the
data are all that can happen, each as often as it does, the critics are tables, and what is told is
bias. Ended chunks are filled up with what is executed where others went on.

Legend: N states, A = 3 actions, b = 3^e blocks of e actions, Z what plays: a state and the actions
that are left of a plan.
"""

import argparse
from collections.abc import Callable, Sequence
import dataclasses
import functools
import itertools
import pathlib
import sys

import matplotlib

matplotlib.use('Agg')
from matplotlib import figure
import numpy as np
import rich.table

from aloe_jax import files
from aloe_jax import progress
from experiments import arguments

ACTIONS = (-1, 0, 1)
EDGE = 2  # beyond which it falls
WORK, DONE = 8, 0.15  # pieces of work; chance to finish one in a step that ends in the middle
GUST = 0.3  # chance of one, to either side alike
FAIL_COST = 40.0
SPANS = 10  # h / e, as of 5 steps of 50
DISCOUNT = 0.95  # gamma^e: 0.99^5
NEAR = 0.01  # of the range of Q
POLYAK = 0.005  # of the target, as in the paper
SKILLS = {'new': 0.8, 'middle': 0.6, 'old': 0.4}

Backup = Callable[[np.ndarray], np.ndarray]  # of a table Q [N, b], the next one


@dataclasses.dataclass(frozen=True)
class World:
  """States are (work done, place).

  Attributes:
    execute: e.
  """

  execute: int

  @functools.cached_property
  def states(self) -> list[tuple[int, int]]:
    """All of them."""
    return list(itertools.product(range(WORK), range(-EDGE, EDGE + 1)))

  @functools.cached_property
  def blocks(self) -> list[tuple[int, ...]]:
    """Numbers of the actions of each, in order."""
    return list(itertools.product(range(len(ACTIONS)), repeat=self.execute))

  @property
  def discount(self) -> float:
    """A step's."""
    return DISCOUNT ** (1 / self.execute)

  @functools.cached_property
  def steps(self) -> tuple[np.ndarray, np.ndarray]:
    """Probability to come from a state by an action to a state [N, A, N], and reward [N, A]."""
    number = {state: n for n, state in enumerate(self.states)}
    move = np.zeros((len(number), len(ACTIONS), len(number)))
    reward = np.zeros(move.shape[:2])
    for (work, place), start in number.items():
      for n, action in enumerate(ACTIONS):
        for gust, chance in ((0, 1 - GUST), (-1, GUST / 2), (1, GUST / 2)):
          there = place + action + gust
          if abs(there) > EDGE:
            reward[start, n] -= chance * FAIL_COST
            continue
          for done, share in ((1, DONE), (0, 1 - DONE)) if there == 0 else ((0, 1.0),):
            if work + done < WORK:  # else it has succeeded
              reward[start, n] -= chance * share
              move[start, n, number[work + done, there]] += chance * share
    return move, reward

  def policy(self, skill: float) -> np.ndarray:
    """Chances of the first e actions of a plan, [N, b]: each steers to the middle, or is any."""
    chances = np.ones((len(self.states), len(self.blocks)))
    for n, (_, place) in enumerate(self.states):
      for k, block in enumerate(self.blocks):
        there = place
        for action in block:
          chances[n, k] *= (1 - skill) / 3 + skill * (action == _back(there))
          there = _moved(there, action)
    return chances

  def plan(self, state: int, block: int) -> list[int]:
    """The h actions of the plan that begins with a block: on to the middle, with no wind."""
    actions, place = list(self.blocks[block]), self.states[state][1]
    for action in actions:
      place = _moved(place, action)
    while len(actions) < SPANS * self.execute:
      actions.append(_back(place))
      place = _moved(place, actions[-1])
    return actions


def _back(place: int) -> int:
  return 1 - int(np.sign(place))


def _moved(place: int, action: int) -> int:
  return int(np.clip(place + ACTIONS[action], -EDGE, EDGE))


class Played:
  """What a policy does that plans anew every e steps, and how often, from a random place on.

  Attributes:
    state: [Z] of each.
    fresh: [Z] bool, where it plans.
    weight: [Z], steps of an episode that are spent there.
    first: [Z, A], chance of the next action.
    after: [Z, A, Z], chance of an action and of what follows it.
    chance: [Z, b] of the next e actions, ended chunks being filled up.
    reward: [Z, b] of them, and
    onward: [Z, b, Z] what follows them, discounted, both as they are known in hindsight.
  """

  def __init__(self, world: World, policy: np.ndarray):
    move, reward = world.steps
    rests = [rest for n in range(world.execute) for rest in itertools.product(range(3), repeat=n)]
    names = [(s, rest) for s in range(len(world.states)) for rest in rests]
    number = {name: n for n, name in enumerate(names)}
    self.state = np.array([s for s, _ in names])
    self.fresh = np.array([not rest for _, rest in names])
    self.first = np.zeros((len(names), 3))
    self.after = np.zeros((len(names), 3, len(names)))
    self._step = reward[self.state]
    for (s, rest), z in number.items():
      plans = [(rest, 1.0)] if rest else zip(world.blocks, policy[s], strict=True)
      for (action, *left), chance in plans:
        self.first[z, action] += chance
        for there in np.flatnonzero(move[s, action]):
          self.after[z, action, number[there, tuple(left)]] += chance * move[s, action, there]
    begin = np.zeros(len(names))
    begin[[number[s, ()] for s, (work, _) in enumerate(world.states) if not work]] = 0.2
    leave = self.after.sum(axis=1)
    self.weight = np.linalg.solve(np.eye(len(names)) - leave.T, begin)
    shape = len(names), len(world.blocks)
    self.chance, self.reward = np.zeros(shape), np.zeros(shape)
    self.onward = np.zeros((*shape, len(names)))
    for z in range(len(names)):
      for k, block in enumerate(world.blocks):
        here = np.eye(len(names))[z][None]
        found = hindsight([self], here, block, world.discount)
        self.chance[z, k], self.reward[z, k], self.onward[z, k] = found[0], found[1], found[2][0]


def hindsight(
  played: Sequence[Played], here: np.ndarray, actions: Sequence[int], discount: float
) -> tuple[float, float, np.ndarray]:
  """What is known of a chunk by its actions: their chance, their reward and what follows.

  Args:
    played: policies that may have played it.
    here: [policies, Z] chances of where it began; of sum one.
    actions: the chunk.
    discount: a step's.

  Returns:
    Chance of the actions while nothing ends, expected reward, and the discounted chances of what
    follows [policies, Z].
  """
  chance, reward, alive = 1.0, 0.0, 1.0
  for k, action in enumerate(actions):
    acts = np.stack([one.first[:, action] for one in played])
    share = float((here * acts).sum())
    chance *= share
    if share == 0:
      return 0.0, reward, np.zeros_like(here)
    came = here * acts / share  # who does that is more probable where it is the answer
    reward += (
      discount**k
      * alive
      * sum(float(x @ one._step[:, action]) for x, one in zip(came, played, strict=True))
    )
    after = [x @ one.after[:, action] for x, one in zip(here / share, played, strict=True)]
    here = np.stack(after)
    lives = float(here.sum())
    alive *= lives
    here = here / lives if lives else here
  return chance, reward, discount ** len(actions) * alive * here


@dataclasses.dataclass(frozen=True)
class Study:
  """A policy whose values are asked for, and who has played.

  Attributes:
    world: in which.
    policy: [N, b].
    played: the data are of these, in equal numbers of episodes.
    plans_only: only chunks that begin where a plan was made; else those of every step.
  """

  world: World
  policy: np.ndarray
  played: tuple[Played, ...]
  plans_only: bool = False

  @functools.cached_property
  def exact(self) -> tuple[np.ndarray, np.ndarray]:
    """Q [N, b] and V [N] of playing e actions blindly and going on as the policy does."""
    own = Played(self.world, self.policy)
    fresh = own.fresh
    move, reward = own.onward[fresh][:, :, fresh], own.reward[fresh]
    mean = np.einsum('sb,sbt->st', self.policy, move)
    value = np.linalg.solve(np.eye(len(mean)) - mean, (self.policy * reward).sum(axis=1))
    return reward + move @ value, value

  def _weights(self, one: Played) -> np.ndarray:
    return one.weight * (one.fresh if self.plans_only else 1)

  def whole_chunks(self) -> Backup:
    """The critic reads all h actions: Eq. (7). The table is of plans, which are all V asks for."""
    shape = self.policy.shape
    reward, onward = np.zeros(shape), np.zeros((*shape, shape[0]))
    for s, k in np.ndindex(shape):
      here = np.stack([self._weights(one) * (one.state == s) for one in self.played])
      _, reward[s, k], after = hindsight(
        self.played, here / here.sum(), self.world.plan(s, k), self.world.discount
      )
      for x, one in zip(after, self.played, strict=True):
        np.add.at(onward[s, k], one.state, x)
    return lambda q: reward + onward @ (self.policy * q).sum(axis=1)

  def short_chunks(self, spans: int, corrected: bool = False) -> Backup:
    """The critic reads e actions, and the target spans as many as `spans` times that."""

    def backup(q: np.ndarray) -> np.ndarray:
      value = (self.policy * q).sum(axis=1)
      total, count = np.zeros_like(q), np.zeros_like(q)
      for one in self.played:
        target = one.reward + one.onward @ value[one.state]
        for _ in range(spans - 1):
          later = target - q[one.state] if corrected else target
          inner = (one.chance * later).sum(axis=1) + corrected * value[one.state]
          target = one.reward + one.onward @ inner
        share = self._weights(one)[:, None] * one.chance
        np.add.at(total, one.state, share * target)
        np.add.at(count, one.state, share)
      return total / count

    return backup

  def mixture(self) -> Backup:
    """The critic reads e actions; targets span e, 2 e .. h, each as often."""
    backups = [self.short_chunks(n) for n in range(1, SPANS + 1)]
    return lambda q: np.mean([backup(q) for backup in backups], axis=0)

  def backups(self) -> dict[str, Backup]:
    """All that are compared."""
    return {
      'whole chunks: h read, h spanned': self.whole_chunks(),
      'e read, e spanned': self.short_chunks(1),
      'e read, h spanned': self.short_chunks(SPANS),
      'e read, e to h spanned': self.mixture(),
      'e read, h spanned, corrected': self.short_chunks(SPANS, corrected=True),
    }


@dataclasses.dataclass(frozen=True)
class Found:
  """What a backup comes to.

  Attributes:
    value: its mean error of V over the states, in steps.
    worst: its largest error of Q, over the range of Q.
    misordered: share of the pairs of blocks at a state, of which one is better by more than 1 % of
      that range, that it puts in the wrong order.
    gain: largest real part of the eigenvalues of a backup: below 1, what moves slowly towards it
      comes to rest.
    updates: from zeros to within 1 % of where it comes to rest, of a table that is fitted at once
      to a target that moves as the critic's does.
    errors: the largest error of Q after each update, over the range of Q.
  """

  value: float
  worst: float
  misordered: float
  gain: float
  updates: int
  errors: np.ndarray


def follow(study: Study, backup: Backup, *, most: int = 20_000) -> Found:
  """Learns by a backup, from zeros."""
  exact, exact_value = study.exact
  scale = np.ptp(exact)
  start = backup(np.zeros_like(exact))
  basis = np.eye(exact.size).reshape(-1, *exact.shape)
  linear = np.stack([(backup(x) - start).ravel() for x in basis], axis=1)
  rest = np.linalg.solve(np.eye(exact.size) - linear, start.ravel()).reshape(exact.shape)
  true, told = (q[:, :, None] - q[:, None] for q in (exact, rest))
  clear = np.triu(np.abs(true) > NEAR * scale)
  target, updates, errors = np.zeros(exact.size), 0, []
  for update in range(1, most + 1):
    q = start.ravel() + linear @ target
    target += POLYAK * (q - target)
    errors.append(np.abs(q - exact.ravel()).max() / scale)
    distance = np.abs(q - rest.ravel()).max() / scale
    if distance > NEAR:
      updates = update + 1
    elif distance < NEAR / 20:
      break
  return Found(
    value=float(((study.policy * rest).sum(axis=1) - exact_value).mean()),
    worst=float(np.abs(rest - exact).max() / scale),
    misordered=float((true * told <= 0)[clear].mean()),
    gain=float(np.linalg.eigvals(linear).real.max()),
    updates=updates,
    errors=np.array(errors),
  )


def studies(world: World) -> dict[str, Study]:
  """A policy, and the data of itself, of its forerunners too, of the first alone, of a stranger."""
  policies = {name: world.policy(skill) for name, skill in SKILLS.items()}
  # Goes straight on in nine of ten steps, and does anything in the tenth.
  straight = [np.prod([0.9 * (action == 1) + 0.1 / 3 for action in b]) for b in world.blocks]
  policies['stranger'] = np.tile(straight, (len(world.states), 1))
  played = {name: Played(world, policy) for name, policy in policies.items()}
  data = {
    'its own': ('new',),
    'three policies': ('new', 'middle', 'old'),
    'the oldest alone': ('old',),
    'a stranger': ('stranger',),
  }
  return {
    told: Study(world, policies['new'], tuple(played[name] for name in names))
    for told, names in data.items()
  }


def main(argv: Sequence[str]) -> None:
  """Prints what is found, and draws it if there is a name for the picture."""
  picture = _parser().parse_args(argv).picture
  if picture is not None:
    arguments.check_writable('PICTURE', picture.absolute().parent)
  drawn = {}
  for execute in (1, 2):
    for name, study in studies(World(execute)).items():
      kinds = {'': study}
      if execute > 1:
        kinds = {
          ', chunks from every step': study,
          ', chunks from where a plan was made': dataclasses.replace(study, plans_only=True),
        }
      for kind, one in kinds.items():
        found = {name: follow(one, backup) for name, backup in one.backups().items()}
        title = f'e = {execute}, data of {name}{kind}'
        drawn[title] = found
        _show(title, one, found)
  if picture is not None:
    draw({title: found for title, found in drawn.items() if 'e = 1' in title}, picture)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m experiments.planning_anew',
    description=__doc__,
    formatter_class=arguments.Formatter,
  )
  parser.add_argument('picture', nargs='?', type=_picture, help='ends in .png, .svg or .pdf')
  return parser


def _picture(text: str) -> pathlib.Path:
  path = pathlib.Path(files.expanded(text))
  if path.suffix not in ('.png', '.svg', '.pdf') or path.is_dir():
    raise argparse.ArgumentTypeError(f'found {text}, expected a file, as picture.png.')
  return path


def _show(title: str, study: Study, found: dict[str, Found]) -> None:
  exact, _ = study.exact
  table = rich.table.Table(title=f'{title} (Q from {exact.min():.1f} to {exact.max():.1f} steps)')
  for column in ('backup', 'bias of V', 'largest error of Q', 'misordered', 'gain', 'updates'):
    table.add_column(column)
  for name, one in found.items():
    numbers = f'{one.value:+.2f}', f'{one.worst:.1%}', f'{one.misordered:.1%}', f'{one.gain:+.2f}'
    table.add_row(name, *numbers, f'{one.updates}')
  progress.CONSOLE.print(table)


def draw(found: dict[str, dict[str, Found]], path: pathlib.Path) -> None:
  """The error of Q by updates, for each kind of data."""
  drawing = figure.Figure(figsize=(10, 3.2), dpi=120)
  axes = drawing.subplots(1, len(found), sharey=True)
  colours = ('#c0392b', '#7f8c8d', '#e59866', '#f4d03f', '#1f4e79')
  for panel, (title, backups) in zip(axes, found.items(), strict=True):
    for (name, one), colour in zip(backups.items(), colours, strict=False):
      updates = np.arange(1, len(one.errors) + 1)
      panel.plot(updates, 100 * one.errors, color=colour, label=name, linewidth=1.8)
    panel.axhline(100 * NEAR, color='black', linewidth=0.6, linestyle=':')
    panel.set_title(title.partition(', ')[2], fontsize=9)
    panel.set(xlabel='updates', xscale='log', yscale='log', xlim=(100, 20_000), ylim=(0.1, 200))
    panel.grid(alpha=0.3)
  axes[0].set_ylabel('largest error of Q, % of its range')
  drawing.legend(*axes[0].get_legend_handles_labels(), loc='lower center', ncols=5, fontsize=8)
  drawing.subplots_adjust(bottom=0.26)
  drawing.savefig(path, bbox_inches='tight')


if __name__ == '__main__':
  main(sys.argv[1:])
