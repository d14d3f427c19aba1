"""Which iterations a run has, and what each of them collects and learns."""

from collections.abc import Sequence
import dataclasses
import pathlib

import ml_collections

from aloe_jax.data import manifest
from aloe_jax.run import appended as appended_lib
from aloe_jax.run import phases


@dataclasses.dataclass(frozen=True)
class Plan:
  """The iterations of a run, from 1 on.

  In the simulator `config.iterations` of them collect episodes. On a robot each round of episodes
  that it is given is one. Iterations that a user appended stand among them, in the order they came.

  Attributes:
    config: of the run.
    appended: those that a user appended.
    rounds: iterations that datasets joined in; 0 with what the run began with.
  """

  config: ml_collections.ConfigDict
  appended: tuple[appended_lib.Appended, ...]
  rounds: tuple[int, ...]

  @property
  def last(self) -> int:
    """Number of the last iteration; 0 where nothing but imitation is learnt."""
    newest = max((one.iteration for one in self.appended), default=0)
    if not self.config.sim.task:
      return max(min(self.config.iterations, 1), newest, *self.rounds, 0)
    ordinary = newest - len(self.appended)
    return newest + max(self.config.iterations - ordinary, 0)

  def at(self, iteration: int) -> appended_lib.Appended | None:
    """What a user appended there; None for an iteration like any other."""
    return next((one for one in self.appended if one.iteration == iteration), None)

  def collects(self, iteration: int) -> bool:
    """Whether the policy plays in the simulator at the beginning of an iteration."""
    return bool(self.config.sim.task) and self.at(iteration) is None

  def updates(self, iteration: int, learns: str) -> int:
    """N_Q of an iteration where 'critic' learns, N_pi where 'actor' does; 0 where it is skipped."""
    one = self.at(iteration)
    if one is not None and learns not in one.learns:
      return 0
    section, _, field = self.field(iteration, learns).partition('.')
    return self.config[section][field]

  def field(self, iteration: int, learns: str) -> str:
    """The field of the config that says `updates`."""
    one = self.at(iteration)
    number = one.of if one is not None and one.redoes else iteration
    return 'critic.first_updates' if (learns, number) == ('critic', 1) else f'{learns}.updates'

  def bank(self, iteration: int) -> int:
    """The iteration whose random numbers the bank of an iteration is drawn by."""
    one = self.at(iteration)
    return iteration if one is None else one.bank

  def origin(self, done: int | None, *, warms_up: bool, has_critic: bool) -> int | None:
    """Number of the checkpoint whose parameters the next phase begins with.

    Args:
      done: number of the newest one, None for none; it is that, unless something is redone.
      warms_up: whether imitation comes first.
      has_critic: whether a critic learns.
    """
    following = phases.following(done, warms_up=warms_up, has_critic=has_critic)
    iteration = (following + 1) // 2
    one = self.at(iteration)
    first = phases.critic_number(iteration) if has_critic else phases.actor_number(iteration)
    return one.begins if one is not None and one.redoes and following == first else done

  def critic_learns(self, done: int | None) -> bool:
    """Whether critic updates come before the critic is asked again, if it ever is."""
    iteration = (done or 0) // 2 + 1
    learnt = phases.is_done(done, phases.critic_number(iteration))
    return iteration > self.last or not (learnt or self.updates(iteration, 'critic') == 0)

  def note(self, iteration: int, learns: str) -> str:
    """What is particular about a checkpoint of an appended iteration, in short; '' for nothing."""
    one = self.at(iteration)
    if one is None:
      return ''
    if learns not in one.learns:
      return f'as in {one.begins}' if learns == 'critic' else 'as it was'
    if not one.redoes:
      return 'more'
    return f'again, from {one.begins}' if learns == one.learns[0] else 'again'

  def told(self, iteration: int, *, has_critic: bool) -> str:
    """A sentence on an appended iteration: what it learns, and what it uses again; else ''."""
    one = self.at(iteration)
    if one is None:
      return ''
    numbers = [f'config.{self.field(iteration, x)} = {self.updates(iteration, x)}' for x in
               one.learns]  # fmt: skip
    learns, said = ' and '.join(one.learns), ', '.join(numbers)
    if one.asked == 'redo=actor':
      what = f'the actor of iteration {one.of} learns again, from checkpoint {one.begins} on'
      policy = 'its critic and the policy that it judged' if has_critic else 'the policy before'
      reused = f'{policy}, episodes and features'
    elif one.redoes:
      what = f'critic and actor of iteration {one.of} learn again, from checkpoint {one.begins} on'
      reused = 'the policy and the critic before, episodes and features'
    else:
      what = f'{learns} learn{"" if len(one.learns) > 1 else "s"} on from checkpoint {one.begins}'
      reused = 'all weights, episodes and features'
    return f'Iteration {iteration}: {what}; {said}. Used again: {reused}.'


def read(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Plan:
  """The plan of the run of a working directory; of a new one too.

  Raises:
    ValueError: one of its files is damaged.
  """
  return Plan(config, appended_lib.read(workdir), rounds(manifest.read(workdir / 'manifest.json')))


def rounds(entries: Sequence[dict]) -> tuple[int, ...]:
  """The iterations of a manifest's entries, each once."""
  return tuple(sorted({entry['iteration'] for entry in entries}))
