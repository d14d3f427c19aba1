"""What a card foretells: whether the policy that an iteration has learnt will do better.

It is told before that policy acts, by the critic that taught it and by episodes of the policy
before, which neither has seen. Three things make it up: what the critic thinks of the new policy's
chunks (`foretold_gain`); what they are worth if the new policy goes on as it begins, by fitted Q
evaluation (`fqe_gain`); and whether advantages of this critic come true (`advantage_slope`). Where
they do not, nothing is foretold.
"""

from collections.abc import Mapping
import pathlib

import numpy as np

from aloe_jax import estimates
from aloe_jax import policy as policy_lib
from aloe_jax import types
from aloe_jax.agents import agent as agent_lib
from aloe_jax.reporting import card
from aloe_jax.reporting import examination
from aloe_jax.reporting import further as further_lib
from aloe_jax.reporting import judgement
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import phases

LEVELS = ('quick', 'full')
BETTER, WORSE, NO_DIFFERENCE, UNKNOWN = 'better', 'worse', 'no difference', 'cannot tell'
# Of `comparison.payoff`: eight runs in simulators of others, 1.5 points behind in the mean.
_NO_PAYOFF = (
  ' Of a first card this means that RL may bring no more than imitation of what succeeded: in '
  "simulators, such runs of ALOE ended no higher in the mean than config.agent='filtered_bc'."
)
_EXECUTED = {'advantage', 'advantage_std'}
_WORDS = {
  BETTER: 'is expected to do better than the one before.',
  WORSE: 'is expected to do worse than the one before. How often this comes true is not known: let '
  'rollouts judge.',
  NO_DIFFERENCE: 'is not seen to differ from the one before.',
  UNKNOWN: 'may do better or worse than the one before: this critic cannot tell. Let rollouts '
  'judge.',
}


def measure(
  experiment: experiment_lib.Experiment,
  material: examination.Material,
  policy: policy_lib.Policy,
  workdir: pathlib.Path,
  scratch: pathlib.Path,
  *,
  return_gap: estimates.Estimate,
  full: bool,
) -> dict[str, estimates.Estimate]:
  """What the new policy gains over the old one, in steps, on states of the old one's fragments.

  Args:
    experiment: of the run, whose critic is of actions.
    material: that the critic is examined on.
    policy: the new one.
    workdir: of the run.
    scratch: directory for what policies sample.
    return_gap: realised return of successes less that of all others, where fragments start.
    full: whether fitted Q evaluation is asked too, which takes as long as two phases of the critic.

  Returns:
    `foretold_gain`; `foretold_gain_start`, where fragments start; with `full` also `fqe_gain`,
    there, and `fqe_points`, the points of success that would make it.
  """
  found, buffer, rows = material.found, material.buffer, material.rows
  own = buffer.source[rows] == types.Source.POLICY
  start = own & (buffer.fragments.first[rows] == rows)
  assert material.actions is not None
  of_new = examination.sample(experiment, found, policy, buffer, rows, material.contents, scratch)
  asked = np.searchsorted(judgement.states(buffer, rows), rows)

  def value(critic: object, actions: np.ndarray, among: np.ndarray) -> np.ndarray:
    """[R] V of some rows [R] bool, zero at the others."""
    values = np.zeros(len(rows))
    if among.any():
      values[among] = judgement.values(
        material.learner,
        critic,
        buffer,
        rows[among],
        actions[asked[among]],
        batch_size=examination.BATCH,
      )
    return values

  def told(gain: np.ndarray, among: np.ndarray) -> estimates.Estimate:
    return estimates.estimate(estimates.mean(gain, among), material.episode(rows))

  gain = value(found.critic, of_new, own) - value(found.critic, material.actions, own)
  numbers = {'foretold_gain': told(gain, own), 'foretold_gain_start': told(gain, start)}
  if full:
    further = further_lib.Further(experiment, found, workdir, scratch / 'training')
    values = [
      value(further.train(material.learner, one, f'Evaluate the {name} policy'), actions, start)
      for name, one, actions in (
        ('old', found.policy, material.actions),
        ('new', policy, of_new),
      )
    ]
    numbers['fqe_gain'] = told(values[1] - values[0], start)
    numbers['fqe_points'] = points(numbers['fqe_gain'], return_gap)
  return numbers


def points(gain: estimates.Estimate, return_gap: estimates.Estimate) -> estimates.Estimate:
  """Points of success that make a gain, if none of it is speed; NaN if none pays for sure."""
  a_point = return_gap.value / 100 if return_gap.low > 0 else np.nan
  return estimates.Estimate(gain.value / a_point, gain.low / a_point, gain.high / a_point)


def verdict(numbers: Mapping[str, estimates.Estimate]) -> str:
  """What is expected of the new policy: BETTER, WORSE, NO_DIFFERENCE or UNKNOWN.

  Args:
    numbers: those of `measure`, and of the card. Where that calls the bias of V bad, or advantages
      do not come true, it is UNKNOWN: such a critic is wrong about the policy that it knows. So is
      WORSE by `foretold_gain` where the critic underrates what was executed.
  """
  gain = numbers.get('fqe_gain', numbers['foretold_gain'])
  if not numbers['advantage_slope'].low > 0 or not _is_known(gain) or _is_biased(numbers):
    return UNKNOWN
  if gain.high < 0:
    return UNKNOWN if _underrates(numbers) else WORSE
  return BETTER if gain.low > 0 else NO_DIFFERENCE


def nothing(
  agent: agent_lib.Agent, iteration: int, *, has_critic: bool, is_newest: bool, full: bool = False
) -> str:
  """Why nothing is foretold of the policy of an iteration.

  Args:
    agent: of the run.
    iteration: whose critic is judged; 0 where there is a warm start only.
    has_critic: whether a critic has learnt in it.
    is_newest: whether that critic is the newest checkpoint.
    full: whether fitted Q evaluation was asked for.
  """
  name = agent.name.upper()
  if agent.critic != 'action':
    why = f'{name} has no critic of actions to foretell by'
  elif not has_critic:
    why = f'{name} has not learnt a critic yet'
  else:
    gone = 'has not been trained yet' if is_newest else 'is not kept any more'
    why = f'its actor, checkpoint {phases.actor_number(iteration)}, {gone}'
  asked = '--foretell=full: n' if full else 'N'
  return f'{asked}othing is foretold of the policy of iteration {iteration}: {why}.'


def _is_known(x: estimates.Estimate) -> bool:
  return bool(np.isfinite([x.value, x.low, x.high]).all())


def _is_biased(numbers: Mapping[str, estimates.Estimate]) -> bool:
  about = {name: numbers[name] for name in ('bias_v', 'returns_std') if name in numbers}
  return any(line.verdict == card.BAD for line in card.lines(about))


def _underrates(numbers: Mapping[str, estimates.Estimate]) -> bool:
  """Whether all that is known of a loss is that executed chunks, which are imitated, look worse.

  Those of the old policy are samples of it, of which V is the mean. Where they look worse than
  others by far, so do those of a new policy that has learnt from them.
  """
  if 'fqe_gain' in numbers or not numbers.keys() >= _EXECUTED:
    return False
  (line,) = card.lines({name: numbers[name] for name in _EXECUTED})
  return line.verdict == card.BAD and numbers['advantage'].high < 0


def sentence(numbers: Mapping[str, estimates.Estimate], iteration: int, *, held_out: bool) -> str:
  """What the page says of it: what is expected, and what that is made of."""

  def shown(name: str) -> str:
    return card.show(numbers[name], 'steps')

  text = f'The policy of iteration {iteration} {_WORDS[verdict(numbers)]}'
  text += f' By this critic its chunks gain {shown("foretold_gain")} each over those of before'
  if 'fqe_gain' in numbers:
    text += f'; acting throughout, it gains {shown("fqe_gain")} from the start of a fragment'
    if np.isfinite(numbers['fqe_points'].value):
      success = card.show(numbers['fqe_points'], 'points')
      text += f', which is {success} of success, if none of it is speed'
  slope = numbers['advantage_slope']
  if slope.low > 0:
    text += f'. Of what its advantages promise, {card.show(slope, "%")} comes true.'
  else:
    text += f'. But its advantages are not seen to come true: slope {card.show(slope, "")}.'
  text += ' Intervals are of the states asked about, and leave out what the critic gets wrong.'
  if _is_biased(numbers):
    text += ' But its V is far off of what came of the policy before.'
    if iteration == 1 and numbers['bias_v'].value > 0:
      text += _NO_PAYOFF
  if _underrates(numbers):
    text += ' It rates what was executed far below what the policy samples'
    text += ', and what was executed is what the new one imitates.'
  if 'fqe_gain' not in numbers:
    text += ' --foretell=full asks fitted Q evaluation too.'
  if not held_out:
    text += ' The critic was trained on these episodes, so that this is better than the truth.'
  return text
