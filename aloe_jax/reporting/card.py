"""The critic's report card: what each number is, whether it is good, and what to do about it."""

from collections.abc import Callable, Mapping
import dataclasses

import numpy as np

from aloe_jax import estimates

Numbers = Mapping[str, estimates.Estimate]
Verdict = Callable[[Numbers], str]

GOOD, FAIR, BAD, TOLD, UNDEFINED = 'good', 'fair', 'bad', 'told', 'undefined'


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of the card.

  Attributes:
    name: of its number in `report.json`.
    title: a few words.
    value: the number with its interval, in words.
    meaning: what it is.
    verdict: 'good', 'fair', 'bad', 'told' (neither) or 'undefined'.
    advice: what the verdict means, and what to do.
  """

  name: str
  title: str
  value: str
  meaning: str
  verdict: str
  advice: str


@dataclasses.dataclass(frozen=True)
class _Rule:
  """How a number becomes a line; `advice` is that of good, fair and bad, as far as they occur."""

  name: str
  title: str
  unit: str
  meaning: str
  verdict: Verdict
  advice: tuple[str, ...]


def lines(numbers: Numbers) -> list[Line]:
  """A line for each number that the card knows of and that was measured."""
  return [_line(rule, numbers) for rule in RULES if rule.name in numbers]


def show(x: estimates.Estimate, unit: str) -> str:
  """A number with its interval: '0.71 (0.66 to 0.75)', '64 % (58 to 70)', '-3.1 steps (...)'."""
  if not np.isfinite(x.value):
    return 'not defined'
  factor, digits = (100, 0) if unit == '%' else (1, 1 if unit in ('steps', 'points') else 2)

  def text(value: float) -> str:
    return f'{factor * value:.{digits}f}'

  interval = f' ({text(x.low)} to {text(x.high)})' if np.isfinite([x.low, x.high]).all() else ''
  return f'{text(x.value)}{" " if unit else ""}{unit}{interval}'


def _line(rule: _Rule, numbers: Numbers) -> Line:
  x = numbers[rule.name]
  verdict, advice = UNDEFINED, 'These episodes do not hold what it takes; collect more of them.'
  if np.isfinite(x.value):
    verdict = rule.verdict(numbers)
    advice = rule.advice[{GOOD: 0, FAIR: 1, BAD: 2, TOLD: 0}[verdict]]
  return Line(rule.name, rule.title, show(x, rule.unit), rule.meaning, verdict, advice)


def _above(name: str, good: float, fair: float, chance: float = 0.0) -> Verdict:
  """By how large a number is; bad where its interval does not exclude chance."""

  def verdict(numbers: Numbers) -> str:
    x = numbers[name]
    if not x.low > chance or x.value < fair:
      return BAD
    return GOOD if x.value >= good else FAIR

  return verdict


def _small(name: str, good: float, fair: float, *, sign: bool = False) -> Verdict:
  """By how small an error is in standard deviations of the return; `sign`: only above zero."""

  def verdict(numbers: Numbers) -> str:
    error = numbers[name].value if sign else abs(numbers[name].value)
    share = error / max(numbers['returns_std'].value, 1e-9)
    return GOOD if share <= good else FAIR if share <= fair else BAD

  return verdict


def _between(name: str, low: float, high: float, *, fair: tuple[float, float]) -> Verdict:
  def verdict(numbers: Numbers) -> str:
    value = numbers[name].value
    return GOOD if low <= value <= high else FAIR if fair[0] <= value <= fair[1] else BAD

  return verdict


def _early(numbers: Numbers) -> str:
  x = numbers['auroc_early']
  return BAD if x.high < 0.5 else GOOD if x.low > 0.5 and x.value >= 0.7 else FAIR


def _advantage(numbers: Numbers) -> str:
  gap = numbers['advantage_gap']
  return GOOD if gap.high < 0 else BAD if gap.low > 0 else FAIR


def _comes_true(numbers: Numbers) -> str:
  x = numbers['advantage_slope']
  if x.high < _TELLS:
    return BAD
  return GOOD if x.low > 0 and 0.5 <= x.value <= 1.5 else FAIR


def _gains(name: str) -> Verdict:
  """By its sign, where its interval leaves no doubt."""

  def verdict(numbers: Numbers) -> str:
    gain = numbers[name]
    return GOOD if gain.low > 0 else BAD if gain.high < 0 else FAIR

  return verdict


def _level(numbers: Numbers) -> str:
  share = abs(numbers['advantage'].value) / max(numbers['advantage_std'].value, 1e-9)
  return GOOD if share <= 0.1 else FAIR if share <= 0.2 else BAD


def _falls(numbers: Numbers) -> str:
  gap, share = numbers['falls_gap'], numbers['falls_failure'].value
  return BAD if gap.high < 0 else GOOD if gap.low > 0 and share >= 0.6 else FAIR


def _unsure(numbers: Numbers) -> str:
  gap = numbers['spread_gap']
  return GOOD if gap.low > 0 else FAIR


def _apart(numbers: Numbers) -> str:
  gap = numbers['return_gap']
  return GOOD if gap.low > 0 else FAIR if gap.value > 0 else BAD


def _shown(numbers: Numbers) -> str:
  x = numbers['ended_auroc']
  if x.low <= 0.55 and x.value <= 0.6 and x.high <= 0.65:
    return GOOD
  return BAD if x.low > 0.55 and x.value > 0.65 else FAIR


def _told(numbers: Numbers) -> str:
  del numbers
  return TOLD


_TELLS = 0.3  # a slope that is surely below: half of what is usual (learning/trust.py)
_MORE = 'Collect more episodes, or train the critic longer (critic.updates).'

RULES = (
  _Rule(
    'foretold_gain', 'The new policy beside the old one', 'steps',
    'Mean value V of what the new policy samples, less V of what the old one samples, by this '
    'critic, in the states that these episodes met: what a single new chunk is worth before the '
    'old policy goes on.',
    _gains('foretold_gain'),
    ('The actor has learnt what the critic thinks better.',
     'The actor has not moved to what the critic thinks better. '
     'Lower actor.beta, or train the actor longer (actor.updates).',
     'The actor has moved to what the critic thinks worse. See whether the data holds what the '
     'critic prefers, and raise actor.beta or lower actor.lr.'),
  ),
  _Rule(
    'fqe_gain', 'The new policy, if it acts throughout', 'steps',
    'Value of the new policy where fragments start, less that of the old one, each by this critic '
    'after critic.updates more of fitted Q evaluation on the same data: Eq. (7) with the next '
    'chunks of that very policy.',
    _gains('fqe_gain'),
    ('By this critic it does better.', 'No difference can be told.',
     'By this critic it does worse.'),
  ),
  _Rule(
    'advantage_slope', 'Its advantage comes true', '',
    "Slope of what came of the policy's chunks within two chunks' time on their advantage, V being "
    'held: 1, where advantages come true as they are, 0, where they tell nothing.',
    _comes_true,
    ('What comes is about what it promises.',
     'Below 1 it promises too much; or these episodes are too few to say. The measured rule '
     'believes that much of it. ' + _MORE,
     'Its advantages tell nothing of what comes: weights by them are noise, and so is what it '
     'foretells. ' + _MORE),
  ),
  _Rule(
    'spearman_own', 'Ranks what the policy did', '',
    "Spearman's rank correlation between the critic's score of each chunk that the policy executed "
    'and the discounted return that followed; 1 is the right order, 0 is chance.',
    _above('spearman_own', 0.6, 0.3),
    ('Its order can be trusted.', 'Its order is roughly right: expect slow gains. ' + _MORE,
     'Do not weigh data by this critic. ' + _MORE),
  ),
  _Rule(
    'spearman', 'Ranks everything', '',
    "The same over all episodes, the human's recoveries included.",
    _above('spearman', 0.6, 0.3),
    ('Recoveries and failures are told apart.', 'Recoveries and failures are roughly told apart.',
     'It cannot tell a recovery from a failure. ' + _MORE),
  ),
  _Rule(
    'spearman_early', 'Ranks early', '',
    "The same over the first quarter of a fragment's mean length, where how far along the task is "
    'says little yet.',
    _above('spearman_early', 0.3, 0.1),
    ('It sees more than how far along the episode is.',
     'It sees little more than how far along the episode is.',
     'It does not see more than how far along the episode is; early actions are weighed by noise. '
     + _MORE),
  ),
  _Rule(
    'auroc_early', 'Knows early who will succeed', '',
    'Chance that of a success and a failure the critic scores the success higher, by the same '
    'first quarter; 0.5 is a coin.',
    _early,
    ('It can be asked before the task is half done.',
     'Not much better than a coin, or too few fail to say: what decides may come later.',
     'Worse than a coin: it scores those higher that will fail. ' + _MORE),
  ),
  _Rule(
    'advantage_gap', 'Blames the actions before a failure', 'steps',
    'Mean advantage A = Q - V of the chunks that lead into a failure, less that of all chunks of '
    'successes. Unlike ranks it compares actions and not states.',
    _advantage,
    ('The actor is taught to avoid what led to failures.',
     'The interval includes zero: what decides may lie earlier, where the state shows it already, '
     'or be chance.',
     'Actions before failures are marked up: the actor is taught them. ' + _MORE),
  ),
  _Rule(
    'advantage_kept', 'Keeps what its advantage promises', 'steps',
    "Realised return of the policy's chunks with the highest fifth of advantages, less that with "
    'the lowest, each among chunks whose states have a like V. It should be what these advantages '
    'say, which is in report.json; zero, if they say nothing.',
    _gains('advantage_kept'),
    ('The chunks that it prefers come out better than their states alone tell.',
     'The interval includes zero: what weights tell is little, or these episodes are too few. '
     + _MORE,
     'The chunks that it prefers come out worse than their states tell. ' + _MORE),
  ),
  _Rule(
    'falls_gap', 'Sees failures come', '%',
    'Share of failures in which the mean score of the last chunks before the failing step lies '
    'below that of all earlier ones, less the same share of successes.',
    _falls,
    ('It usually falls before the failing step.',
     'It falls before some failures, or none: what can be known may be known long before.',
     'It falls before successes more often than before failures. ' + _MORE),
  ),
  _Rule(
    'bias_policy', 'Right on average', 'steps',
    "Mean score less mean realised return of the policy's chunks. A pessimistic score lies below "
    'zero by intent.',
    _small('bias_policy', 0.25, 0.6),
    ('Close, measured in standard deviations of the return.',
     'Off, but ranks and advantages do not depend on it.',
     'Far off: its numbers are not returns. Train it longer, or lower critic.polyak.'),
  ),
  _Rule(
    'bias_v', 'V is right on average', 'steps',
    "Mean value V of the states of the policy's chunks, which is over what it samples there, less "
    'mean realised return. A pessimistic V lies below zero by intent.',
    _small('bias_v', 0.25, 0.6),
    ('Close, measured in standard deviations of the return.',
     'Off; where it is off otherwise than what was executed, advantages are too.',
     'Far off: plans are not worth what comes of them. See whether ended chunks show their end, '
     'or train it longer.'),
  ),
  _Rule(
    'bias_human', 'Of what the human did', 'steps',
    "Mean score less mean realised return of the human's chunks. The critic predicts how the "
    "policy would go on, so that it should lie below zero by as much as the human does better.",
    _told,
    ('Above zero the critic thinks the policy would have done better than the human did.',),
  ),
  _Rule(
    'overestimation', 'Overrates what the policy samples', 'steps',
    "Mean Q of actions that the policy samples, less the realised return of its own fragments. TD "
    'targets are made of this Q, so that its errors feed themselves.',
    _small('overestimation', 0.25, 0.6, sign=True),
    ('No overestimation to speak of.',
     'Some; watch it over the iterations.',
     'It overrates unseen actions: use critic.target=min or a larger critic.size.'),
  ),
  _Rule(
    'advantage', 'Rates what was executed as a sample', 'steps',
    "Mean advantage A = Q - V of the policy's own chunks, which are samples of the policy that V "
    'averages over: zero, if the backup is right.',
    _level,
    ('Small beside the standard deviation of the advantage.',
     'Some. Above zero, samples are underrated, or what is executed answers what no plan can know; '
     'below zero, samples are overrated.',
     'Far off. Above zero, see whether ended chunks show their end; if not, plans are made anew '
     'while a chunk is played: try critic.horizon=execute, and with it critic.backup=corrected '
     'where task.execute is a small part of task.chunk. Below zero, samples are overrated.'),
  ),
  _Rule(
    'ended_auroc', 'Ended chunks show their end', '',
    'Chance that a small network tells a chunk that was cut short and filled up, as the critic '
    'reads those that ended, from the same chunk as it was executed; 0.5 is a coin.',
    _shown,
    ('What befalls ended chunks reaches the value of all that could have ended.',
     'A little shows, or these episodes are too few to say; compare with the bias of V.',
     'The critic can tell what ended from what went on, so that the value of whole chunks misses '
     'what ends them: set critic.past_end to executed, or give more episodes.'),
  ),
  _Rule(
    'td_error', 'Agrees with itself', 'steps',
    "Mean absolute error of Eq. (7) on the policy's chunks, noise of the world included.",
    _small('td_error', 0.4, 0.8),
    ('Small beside the standard deviation of the return.',
     'The world may be noisy, or the critic may need more updates.',
     'It has not converged: raise critic.updates, or lower critic.lr.'),
  ),
  _Rule(
    'spread_gap', 'Doubts itself near failures', 'steps',
    'Standard deviation over the ensemble on chunks that lead into a failure, less that on chunks '
    'of successes.',
    _unsure,
    ('Pessimism bites where it should.',
     'The ensemble is as sure before failures as elsewhere, so that pessimism changes little.'),
  ),
  _Rule(
    'effective_sample_size', 'Weights select', '',
    'Effective sample size of the weights that these episodes get, as a share of their chunks: 1 '
    'is imitation of everything, near 0 a few chunks decide.',
    _between('effective_sample_size', 0.3, 0.85, fair=(0.15, 0.93)),
    ('The weights select without throwing most of the data away.',
     'It tends to an end: lower actor.beta where it is near 1, raise it where it is near 0.',
     'Where it is near 1 nothing is selected: lower actor.beta. Where it is near 0 few chunks '
     'decide: raise it.'),
  ),
  _Rule(
    'clipped', 'Weights at the clip', '%',
    'Share of chunks whose weight is cut at either end by the clip of Eq. (11).',
    lambda n: GOOD if n['clipped'].value <= 0.1 else FAIR if n['clipped'].value <= 0.3 else BAD,
    ('Few.', 'Some: the weights are nearly a choice of two.',
     'Many: the weights are a choice of two; raise actor.beta or actor.clip.'),
  ),
  _Rule(
    'share_policy', "Share of the policy's chunks", '%',
    'Of the sum of all weights. The figure of weights below shows which of them each source gets.',
    _told, ("Compare with the policy's share of the steps in the table of data.",),
  ),
  _Rule(
    'positive_policy', "The policy's positive chunks", '%',
    'Share of them whose prompt says that the advantage is positive.',
    _told, ('recap.positive sets it.',),
  ),
  _Rule(
    'return_gap', 'Success pays', 'steps',
    'Realised return of successes less that of all others, from the first step on.',
    _apart,
    ('From the start, success is worth more than failure.',
     'The interval includes zero: a quick failure scores nearly as well as a slow success. Raise '
     'fail.lengths or discount.',
     'From the start, failing fast scores better than succeeding slowly: raise fail.lengths or '
     'discount.'),
  ),
  _Rule(
    'end_weight', 'The discount reaches the end', '',
    'What a reward at the end of a success of mean length counts at its start, gamma to the '
    'length.',
    lambda n: (
      GOOD if n['end_weight'].value >= 0.2 else FAIR if n['end_weight'].value >= 0.05 else BAD
    ),
    ('The start of an episode sees its end.',
     'The start of an episode hardly sees its end; a higher discount would.',
     'The start of an episode does not see its end: raise discount.'),
  ),
)  # fmt: skip
