"""Whether a run can be appended the iteration that a user asks for, and which one that is."""

import dataclasses
import pathlib

from aloe_jax.data import manifest
from aloe_jax.run import appended
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import phases
from aloe_jax.run import plan as plan_lib
from aloe_jax.run import results
from aloe_jax.run import unfinished


def pending(workdir: pathlib.Path, *, is_played: bool) -> appended.Appended | None:
  """The appended iteration that a run has yet to finish.

  Args:
    workdir: of the run.
    is_played: whether it has a simulator, in which each iteration is evaluated.

  Raises:
    ValueError: a file of the run is damaged.
  """
  done = checkpoints_lib.Checkpoints(workdir / 'checkpoints').latest()
  return appended.unfinished(appended.read(workdir), done, _evaluated(workdir, is_played))


def check(asked: str, workdir: pathlib.Path, *, is_played: bool) -> bool:
  """Looks at what a command asks for beside what the run has begun.

  Args:
    asked: see `appended.asked`.
    workdir: of the run.
    is_played: as for `pending`.

  Returns:
    Whether it asks for another iteration, and not for the rest of one.

  Raises:
    ValueError: one of another kind is not finished.
  """
  one = pending(workdir, is_played=is_played)
  if one is None:
    return bool(asked)
  if asked not in ('', one.asked):
    raise ValueError(
      f'--{asked} asks for another iteration, but iteration {one.iteration} of {workdir}, '
      f'--{one.asked}, is not finished; give the command without --{asked.partition("=")[0]} '
      f'first. {_SOONER}'
    )
  return False


def check_listed(plan: plan_lib.Plan, workdir: pathlib.Path) -> None:
  """Looks whether the list of appended iterations is the one that the checkpoints came from.

  Raises:
    ValueError: it lacks an iteration that has learnt.
  """
  written = checkpoints_lib.Checkpoints(workdir / 'checkpoints')
  done = written.latest()
  if not done:
    return
  meta = checkpoints_lib.read_meta(written.newest())
  listed = {entry['path'] for entry in manifest.read(workdir / 'manifest.json')}
  lacking = [
    iteration
    for iteration in range(1, (done + 1) // 2 + 1)
    if listed and plan.collects(iteration) and f'episodes/iteration_{iteration}' not in listed
  ]
  if 'note' in meta and plan.at(meta['iteration']) is None:
    lacking.append(meta['iteration'])
  if lacking:
    raise ValueError(
      f'{workdir / appended.FILE} does not list iteration {lacking[0]}, which has learnt and was '
      f'given no episodes; {appended.ADVICE}'
    )


def append(asked: str, plan: plan_lib.Plan, workdir: pathlib.Path, agent: str) -> plan_lib.Plan:
  """The plan with the iteration that is asked for, unless it is there and only to be finished.

  Args:
    asked: see `appended.asked`.
    plan: of the run.
    workdir: of the run.
    agent: name of its algorithm, or '' where that has a critic.

  Raises:
    ValueError: it cannot be done; says why, and what can.
  """
  is_played = bool(plan.config.sim.task)
  if not check(asked, workdir, is_played=is_played):
    return plan
  written = checkpoints_lib.Checkpoints(workdir / 'checkpoints')
  learns = appended.LEARNS[asked.partition('=')[0]][asked.partition('=')[2]]
  if agent and 'critic' in learns:
    raise ValueError(f'--{asked}: {agent!r} learns no critic; expected actor.')
  newest = _newest(asked, plan, workdir, written.latest(), has_critic=not agent)
  before = plan.at(newest)
  bank = newest + 1
  if asked.startswith('redo=') or (before is not None and 'actor' not in before.learns):
    bank = plan.bank(newest)  # it is the policy that this iteration's was drawn from
  of, begins = newest, phases.actor_number(newest)
  if asked == 'redo=actor':
    begins = phases.critic_number(newest) if not agent else 2 * newest - 2
  elif asked == 'redo=critic':
    of, begins = before_critic(plan, newest)
  one = appended.Appended(newest + 1, asked, of, begins, bank)
  if begins not in written.numbers():
    why = 'config.train.keep has had it removed' if plan.config.train.keep else 'it was removed'
    if not begins:
      why = 'the run has no warm start of its own, or its checkpoint was removed'
    raise ValueError(
      f'--{asked} begins from checkpoint {begins}, which {written.directory} does not hold: {why}. '
      'Expected it there; --more goes on from the newest, and with config.actor.checkpoint another '
      '--workdir begins anywhere.'
    )
  made = dataclasses.replace(plan, appended=(*plan.appended, one))
  for phase in learns:
    if not made.updates(one.iteration, phase):
      raise ValueError(
        f'--{asked}: config.{made.field(one.iteration, phase)} is 0, so that no {phase} would '
        'learn; give how many updates it shall have.'
      )
  return made


_SOONER = (
  'A phase ends sooner where its updates, such as config.actor.updates, are no more than it has '
  'done.'
)


def _newest(
  asked: str, plan: plan_lib.Plan, workdir: pathlib.Path, done: int | None, *, has_critic: bool
) -> int:
  """The newest iteration, which is finished, and none after it begun."""
  if not done:
    what = 'nothing but its warm start' if done == 0 else 'no checkpoint'
    raise ValueError(
      f'--{asked}: the run of {workdir} has {what}; expected an iteration that is finished. Give '
      f'the command without --{asked.partition("=")[0]} first.'
    )
  newest = done // 2
  begun = done % 2 or unfinished.is_begun(workdir, done)
  if is_played := bool(plan.config.sim.task):
    begun = begun or (workdir / 'episodes' / f'iteration_{newest + 1}').exists()
  begun = begun or (not is_played and plan.last > newest)
  evaluated = _evaluated(workdir, is_played)
  if begun or (evaluated is not None and newest not in evaluated):
    number = newest + 1 if begun else newest
    raise ValueError(
      f'--{asked}: iteration {number} of {workdir} has begun and is not finished; give the command '
      f'without --{asked.partition("=")[0]} first. {_SOONER}'
    )
  return newest


def before_critic(plan: plan_lib.Plan, iteration: int) -> tuple[int, int]:
  """The iteration that a critic first learnt in, and the checkpoint before it did."""
  one = plan.at(iteration)
  if one is None or not one.redoes:
    return iteration, 2 * iteration - 2
  return (one.of, one.begins) if 'critic' in one.learns else before_critic(plan, one.of)


def _evaluated(workdir: pathlib.Path, is_played: bool) -> list[int] | None:
  if not is_played:
    return None
  return [entry['iteration'] for entry in results.read(workdir / 'evaluations.json')]
