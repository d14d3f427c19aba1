"""Which chunks an actor phase learns from and how much each counts, or what its prompt says."""

from collections.abc import Callable
import dataclasses

import ml_collections
import numpy as np

from aloe_jax import progress
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay
from aloe_jax.data import tags as tags_lib
from aloe_jax.learning import chunk_weights
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning import measured_weights
from aloe_jax.learning import outcomes
from aloe_jax.learning import trust as trust_lib
from aloe_jax.run import imitated

_NARROW = 0.01  # effective sample size below which a phase hardly learns
PolicyActions = Callable[[np.ndarray], np.ndarray]  # rows [B] to actions [B, M, h, A]


@dataclasses.dataclass(frozen=True)
class Imitated:
  """What an actor phase learns from.

  Attributes:
    rows: [R] of the buffer, each as often as it is to be drawn.
    weight: [N] of each row's chunk; None where every update weighs its own.
    tags: what prompts say of each chunk; None for nothing.
    numbers: what there is to say about it, {metric: value}.
  """

  rows: np.ndarray
  weight: np.ndarray | None
  tags: tags_lib.Tags | None = None
  numbers: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Judges:
  """What says how good the chunks of a phase are.

  Attributes:
    learner: of the run.
    critic: parameters of the critic that judges.
    buffer: of the iteration, that the chunks are of.
    actions: of the policy that enters the phase; None where the agent needs none.
    batch_size: chunks per call.
  """

  learner: learner_lib.Learner
  critic: object
  buffer: replay.Replay
  actions: PolicyActions | None
  batch_size: int


def weigh(
  judges: Judges, rows: np.ndarray, config: ml_collections.ConfigDict, what: str, seed: int
) -> Imitated:
  """Weighs, draws or tags the chunks of a phase, by an agent that has an advantage.

  Args:
    judges: the critic, and the chunks that it is asked about.
    rows: [R] of `buffer.starts` that the agent imitates, ascending.
    config: of the run.
    what: it is called on the screen.
    seed: of the chunks that are drawn.
  """
  learner, buffer = judges.learner, judges.buffer
  if action_critic.is_measured(learner.agent, config):
    return _measured(judges, rows, config.task.execute, what, seed)
  with progress.bar(what, len(rows), 'chunks') as advance:
    weights = chunk_weights.sweep(
      learner,
      judges.critic,
      buffer,
      rows,
      judges.actions,
      batch_size=judges.batch_size,
      progress=advance,
    )
  numbers = chunk_weights.diagnostics(weights, buffer, learner.settings)
  if weights.tag is None:
    numbers['beta'] = learner.settings.beta
    tell_narrow(what, numbers['effective_sample_size'], len(rows))
  tags = None if weights.tag is None else tags_lib.Tags(weights.tag, config.recap.drop)
  return Imitated(rows, weights.weight, tags, numbers)


def _measured(judges: Judges, rows: np.ndarray, execute: int, what: str, seed: int) -> Imitated:
  """Draws chunks by weights that are as sharp as the critic was right where it did not learn."""
  assert judges.actions is not None  # the advantage is one over the policy's samples
  learner, buffer = judges.learner, judges.buffer
  tested = test_rows(buffer)
  asked = np.union1d(rows, tested)
  with progress.bar(what, len(asked), 'chunks') as advance:
    judged = measured_weights.judge(
      learner,
      judges.critic,
      buffer,
      asked,
      judges.actions,
      batch_size=judges.batch_size,
      progress=advance,
    )
  if not (np.isfinite(judged.advantage).all() and np.isfinite(judged.v).all()):
    raise SystemExit(
      f'error: {what}: found nan or infinity as what the critic says of some chunks, expected '
      'numbers. Remove the newest of the checkpoints, which has this critic, and the same command '
      'with a lower config.critic.lr learns it again; or look for extreme values in the data.'
    )
  trust = measure(judged.at(tested), buffer, execute)
  progress.CONSOLE.print(f'{what}: {told(trust)}', highlight=False, soft_wrap=True)
  rows, late = _without_idle(judged, buffer, rows, what)
  weights = measured_weights.weigh(judged.at(rows), learner.settings, trust.value, len(buffer))
  numbers = late | chunk_weights.diagnostics(weights, buffer, learner.settings)
  tell_narrow(what, numbers['effective_sample_size'], len(rows))
  numbers |= {'beta': learner.settings.beta}
  numbers |= {'trust': trust.value, 'trust_episodes': trust.episodes}
  if np.isfinite(trust.slope):
    numbers |= {'trust_slope': trust.slope, 'trust_error': trust.error}
  drawn = measured_weights.draw(rows, weights.weight[rows], seed)
  return Imitated(drawn, np.ones(len(buffer), np.float32), None, numbers)


def _without_idle(
  judged: measured_weights.Judged, buffer: replay.Replay, rows: np.ndarray, what: str
) -> tuple[np.ndarray, dict[str, float]]:
  """Rows [R] without those of people who got nowhere, and how many of their fragments there are."""
  late = imitated.count_late(buffer, rows)
  if not late:
    return rows, {}
  kept = imitated.without_idle(buffer, rows, judged.at(rows).v)
  nothing_else = not len(kept)
  kept = rows if nothing_else else kept
  stay = imitated.count_late(buffer, kept)
  why = 'as there is nothing else' if nothing_else else 'where V rose'
  progress.CONSOLE.print(
    f'{what}: in {late} fragments a person ran out of time; {stay} are imitated, {why}.',
    highlight=False,
    soft_wrap=True,
  )
  return kept, {'late_fragments': late, 'late_imitated': stay}


def test_rows(buffer: replay.Replay) -> np.ndarray:
  """Rows [R] of chunks of the policy in the episodes that the critic did not learn from."""
  starts = buffer.starts
  return starts[buffer.held_out[starts] & (buffer.source[starts] == types.Source.POLICY)]


def measure(
  judged: measured_weights.Judged, buffer: replay.Replay, execute: int
) -> trust_lib.Trust:
  """How far advantages are believed, by R chunks that the critic did not learn from.

  Args:
    judged: the chunks, of the policy.
    buffer: that they are of.
    execute: e, steps after which the policy plans anew.
  """
  row, fragments = judged.row, buffer.fragments
  outcome = outcomes.realised(
    row,
    fragments.last[row] - row,
    fragments.terminal[row],
    judged.returns,
    judged.v,
    after=outcomes.steps(buffer.chunking.horizon, execute),
    discount=buffer.chunking.discount,
  )
  return trust_lib.measure(judged.advantage, judged.v, outcome, buffer.episode[row])


def tell_narrow(what: str, share: float, chunks: int) -> None:
  """Says where a few chunks have all the weight; `share` is the effective sample size."""
  if not share >= _NARROW:  # or is no number
    progress.CONSOLE.print(
      f'{what}: nearly nothing is imitated: the weights leave an effective {share * chunks:.3g} of '
      f'{chunks} chunks (effective_sample_size {share:.2g}, where 1 is all of them); raise '
      'config.actor.beta, or lower config.actor.clip.',
      highlight=False,
      soft_wrap=True,
    )


def told(trust: trust_lib.Trust) -> str:
  """What a person reads of it."""
  believed = (
    f'{100 * trust.value:.0f} % of each is believed'
    if trust.value
    else 'nothing of them is believed, and all chunks that are imitated weigh the same'
  )
  if np.isnan(trust.slope) and trust.episodes >= trust_lib.FEWEST:
    return (
      f'in {trust.episodes} episodes held out from the critic its advantages, or what came of '
      f'them, vary too little to test them; {believed}, as elsewhere.'
    )
  if np.isnan(trust.slope):
    return (
      f'{trust.episodes} episodes held out from the critic are too few to test its advantages; '
      f'{believed}, as elsewhere.'
    )
  return (
    f'in {trust.episodes} episodes held out from the critic its advantages came true by '
    f'{trust.slope:.2f} (standard error {trust.error:.2f}); {believed}.'
  )
