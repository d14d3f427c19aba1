"""Sections of the report's page that need no critic's word to be put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure
import numpy as np

from aloe_jax import plots
from aloe_jax import types
from aloe_jax.data import steps as steps_lib
from aloe_jax.reporting import deployed as deployed_lib
from aloe_jax.reporting import examination
from aloe_jax.reporting import figures
from aloe_jax.reporting import page
from aloe_jax.reporting import traces as traces_lib
from aloe_jax.run import appended as appended_lib

_Figures = list[tuple[str, figure.Figure, str]]  # name, drawing, caption


def success(
  agent: str,
  evaluations: Sequence[Mapping[str, Any]],
  appended: Sequence[appended_lib.Appended],
  deployed: Sequence[deployed_lib.Deployed],
  *,
  is_played: bool,
) -> str:
  """How the policies did, in a simulator and on the robot.

  Args:
    agent: name of the algorithm.
    evaluations: entries of `evaluations.json`.
    appended: what a user added to the run.
    deployed: what became of episodes of the robot, by checkpoint.
    is_played: whether the run has a simulator.
  """
  shown = ''
  if deployed:
    shown = page.table(deployed_lib.HEADER, list(deployed_lib.rows(deployed)))
    shown += page.paragraph(deployed_lib.advice(deployed))
  if not evaluations:
    why = 'There is no simulator to evaluate in, and no episode says which checkpoint acted.'
    if is_played:
      why = (
        'No policy has been evaluated to the end yet. The command that trains goes on with it; '
        'aloe_jax.evaluate does it apart.'
      )
    return shown or page.paragraph(why, 'soft')
  counts = {e['iteration']: (e['successes'], e['episodes']) for e in evaluations}
  drawing = plots.draw_learning_curves({agent: counts}, warm_start=counts.get(0))
  drawing.set_size_inches(4.8, 3.2)
  rows = [
    [
      appended_lib.policy_name(e['iteration'], appended),
      f'{100 * e["success_rate"]:.1f} %',
      f'{100 * e["low"]:.1f} to {100 * e["high"]:.1f} %',
      f'{e["throughput"]:.0f}',
    ]
    for e in evaluations
  ]
  header = ['policy', 'success', '95 % interval', 'episodes/h']
  return shown + page.figures([('success', drawing, '')]) + page.table(header, rows)


def along(traces: Mapping[str, traces_lib.Trace]) -> str:
  """Episodes of median length, by how they ended."""
  drawn: _Figures = []
  for name, trace in traces.items():
    title = f'A {name} of median length'
    caption = 'The vertical line and the framed image mark where the policy ended.'
    drawn.append((name, figures.trajectory(trace, title), caption))
  return page.figures(drawn)


def behind(examined: examination.Examined, width: int) -> str:
  """What the numbers of the card are made of.

  Args:
    examined: the critic beside episodes.
    width: steps over which a fragment is averaged towards its end.
  """
  drawn: _Figures = [
    (
      'calibration',
      figures.calibration(examined.judged),
      'Predicted and realised return, in bins of equally many chunks.',
    ),
    (
      'ends',
      figures.towards_the_end(examined.judged, width),
      "The policy's fragments counted back from their ends: mean, and 10th to 90th percentile.",
    ),
  ]
  if examined.weights.tag is None:
    rows = examined.weights.rows
    source = examined.judged.source[np.isin(examined.judged.row, rows)]
    caption = 'Weights that these chunks get, divided by their mean.'
    drawn.append(('weights', figures.weights(examined.weights.weight[rows], source), caption))
  return page.figures(drawn)


def training(records: Sequence[Mapping[str, Any]]) -> str:
  """The losses of critic and actor."""
  drawn: _Figures = []
  for phase in ('critic', 'actor'):
    if any(record.get('phase') == phase for record in records):
      drawn.append((phase, figures.losses(records, phase), ''))
  return page.figures(drawn)


def data(read: Mapping[str, steps_lib.Steps]) -> str:
  """Steps by source and ends of fragments of datasets, by name."""
  ends = [end for end in types.EndReason if end != types.EndReason.NONE]
  rows = []
  for name, steps in read.items():
    numbers = [steps.is_first.sum()]
    numbers += [(steps.source == source).sum() for source in types.Source]
    numbers += [(steps.end_reason == end).sum() for end in ends]
    rows.append([name, *(str(int(number)) for number in numbers)])
  sources = [f'{source.name.lower()} steps' for source in types.Source]
  header = ['episodes of', 'episodes', *sources, *(end.name.lower() for end in ends)]
  return page.table(header, rows)
