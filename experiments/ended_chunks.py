"""What a critic makes of ended chunks, by what they are filled up with, for a finished run.

  python -m experiments.ended_chunks --workdir=runs/laundry --iteration=1 --count=1024

On the episodes that `aloe_jax.report` judges, with its flags, this asks for every value of
`critic.past_end` whether a network tells ended chunks from others (`ended_auroc` of the report);
and it trains the run's critic on for `critic.updates` more, with the run's own data and policy, to
see what becomes of its bias. The critic as it is comes first. Executed chunks that nothing cut
short are whole: whatever ended ones are filled up with, their Q should be what came of them, and
their mean advantage zero. The numbers are written to `ended_chunks_1.json` in --workdir, 1 being
the iteration, with 95 % intervals over episodes; values are in environment steps.

Legend of shapes: R chunks.
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import estimates
from aloe_jax import files
from aloe_jax import progress
from aloe_jax import report
from aloe_jax.reporting import card
from aloe_jax.reporting import examination
from aloe_jax.reporting import further as further_lib
from aloe_jax.reporting import judgement
from aloe_jax.reporting import numbers as report_numbers
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import kept

CONTINUATIONS = config_lib.CHOICES['critic.past_end']
AS_IT_IS = 'as it is'
TITLES = {
  'ended_auroc': 'ended chunks show',
  'bias_v': 'bias of V',
  'bias_whole': 'bias of whole chunks',
  'advantage': 'advantage',
  'advantage_whole': 'advantage of whole chunks',
}


def measure(
  judged: judgement.Judgement, whole: np.ndarray, episode: np.ndarray
) -> dict[str, estimates.Estimate]:
  """Mean errors and advantages of the policy's own chunks.

  Args:
    judged: R chunks.
    whole: [R] bool, those that nothing cut short.
    episode: [R] int, that each lies in.
  """
  own = report_numbers.is_own(judged)
  statistics = {
    'bias_v': estimates.mean(judged.v - judged.returns, own),
    'bias_whole': estimates.mean(judged.score - judged.returns, own & whole),
    'advantage': estimates.mean(judged.advantage, own),
    'advantage_whole': estimates.mean(judged.advantage, own & whole),
  }
  return {name: estimates.estimate(x, episode) for name, x in statistics.items()}


def compare(
  experiment: experiment_lib.Experiment,
  material: examination.Material,
  workdir: pathlib.Path,
  scratch: pathlib.Path,
) -> dict[str, dict[str, estimates.Estimate]]:
  """{the critic as it is, then each continuation: {name: number}}.

  Args:
    experiment: of the run.
    material: of its report.
    workdir: of the run.
    scratch: directory for what the policy samples.
  """
  found, rows, buffer = material.found, material.rows, material.buffer
  learner, episode = material.learner, material.episode(rows)
  buffer.continue_ended(rows)
  chunk = buffer.transitions(rows)
  whole = chunk.valid[:, -1] & (chunk.discount > 0)
  numbers = {AS_IT_IS: measure(material.judge(learner, found.critic), whole, episode)}
  further = further_lib.Further(experiment, found, workdir, scratch / 'training')
  for continuation in CONTINUATIONS:
    settings = dataclasses.replace(learner.settings, past_end=continuation)
    told = {'ended_auroc': material.ended_auroc(settings)}
    other = dataclasses.replace(learner, settings=settings)
    critic = further.train(other, found.policy, f'Critic, {continuation}')
    judged = material.judge(other, critic, f'Judge, {continuation}')
    numbers[continuation] = told | measure(judged, whole, episode)
  return numbers


def main(argv: Sequence[str] | None = None) -> None:
  """Compares what ended chunks are filled up with, for the run of a command line."""
  given = command_line.parse(report.parser('experiments.ended_chunks', __doc__), argv)
  config = kept.config(given, 'report')
  with config_lib.user_errors():
    experiment = experiment_lib.Experiment(config)
    if experiment.agent.critic != 'action':
      raise ValueError(
        f'{given.workdir} is a run of {config.agent}; expected one whose critic judges actions, '
        'such as aloe: no other reads ended chunks.'
      )
  asked = report.of(given, config)
  material = asked.gather()
  with config_lib.user_errors():
    numbers = compare(experiment, material, given.workdir, asked.scratch)
  asked.forget()
  flat = {name: report_numbers.flat(told) for name, told in numbers.items()}
  iteration, past_end = material.found.meta['iteration'], config.critic.past_end
  flat['run'] = dict(iteration=iteration, episodes=given.options.count, past_end=past_end)
  name = f'ended_chunks_{iteration}.json'
  files.write_text(given.workdir / name, json.dumps(flat, indent=1))
  title = f'Iteration {iteration} of a run with critic.past_end={past_end}'
  table = rich.table.Table(title=title)
  for title in ('critic', *TITLES.values()):
    table.add_column(title)
  for name, told in numbers.items():
    shown = [
      card.show(told[key], '' if key == 'ended_auroc' else 'steps') if key in told else ''
      for key in TITLES
    ]
    table.add_row(name if name == AS_IT_IS else f'trained for longer, with {name}', *shown)
  progress.CONSOLE.print(table)


if __name__ == '__main__':
  command_line.run(main)
