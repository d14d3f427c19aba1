"""The episodes that a report shows are neither the best nor the worst, and are shown whole."""

import dataclasses

import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.reporting import figures
from aloe_jax.reporting import judgement
from aloe_jax.reporting import traces

NONE, SUCCESS, FAILURE = types.EndReason.NONE, types.EndReason.SUCCESS, types.EndReason.FAILURE
POLICY, HUMAN = types.Source.POLICY, types.Source.HUMAN


def make_episode(rng, length, end, recovered=0):
  """The policy for some steps, then the human for others; images as bright as their step."""
  ends = [NONE] * (length - 1) + [end]
  if recovered:
    ends += [NONE] * (recovered - 1) + [SUCCESS]
  source = np.repeat([POLICY, HUMAN], [length, recovered]).astype(np.int8)
  frames = np.repeat(np.arange(len(source), dtype=np.uint8), 12).reshape(-1, 2, 2, 3)
  episode = tiny.make_episode(rng, ends, source=source)
  return dataclasses.replace(episode, images={'head': frames})


def make(*episodes):
  """Every second step judged; the score is the row's number."""
  steps = tiny.make_steps(episodes)
  last = np.flatnonzero(steps.end_reason != NONE)
  rows = np.arange(len(steps))
  end = last[np.searchsorted(last, rows)]
  first = np.append(0, last[:-1] + 1)[np.searchsorted(last, rows)]
  kept = (rows - first) % 2 == 0
  score = rows.astype(float)
  columns = dict(
    row=rows,
    first=first,
    left=end - rows,
    source=steps.source,
    end=steps.end_reason[end],
    terminal=np.ones(len(rows), bool),
    returns=score,
    score=score,
    advantage=score,
    v=score - 1,
  )
  return judgement.Judgement(**{name: x[kept] for name, x in columns.items()}), steps


def test_the_episode_of_median_length_is_shown_with_what_the_human_did_after():
  rng = np.random.default_rng(0)
  judged, steps = make(
    make_episode(rng, 3, FAILURE),
    make_episode(rng, 5, SUCCESS),
    make_episode(rng, 9, FAILURE, recovered=4),
    make_episode(rng, 30, FAILURE),
  )
  trace = traces.follow(judged, steps, [FAILURE])
  np.testing.assert_array_equal(trace.step, [0, 2, 4, 6, 8, 9, 11])
  np.testing.assert_array_equal(trace.score, trace.step + 8)  # rows of the third episode
  np.testing.assert_array_equal(trace.human, trace.step > 8)
  assert (trace.end, trace.end_reason) == (8, FAILURE)
  # Six at regular times of 0..12, of which 7 gives way to the end beside it.
  np.testing.assert_array_equal(trace.frame_steps, [0, 2, 5, 8, 10, 12])
  np.testing.assert_array_equal(trace.frames[:, 0, 0, 0], trace.frame_steps)
  assert traces.follow(judged, steps, [types.EndReason.TAKEOVER]) is None


def test_a_figure_marks_the_end_on_the_curve_and_in_the_strip(tmp_path):
  judged, steps = make(make_episode(np.random.default_rng(0), 9, FAILURE, recovered=4))
  trace = traces.follow(judged, steps, [FAILURE])
  trace.save(tmp_path / 'report' / 'failure.npz')
  kept = traces.Trace.load(tmp_path / 'report' / 'failure.npz')
  for figure in (figures.trajectory(x, 'A failure') for x in (trace, kept)):
    axes, *strip = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines['V'].get_xydata(), np.stack([trace.step, trace.score], 1))
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [8]
    thick = [below.spines['top'].get_linewidth() > 1 for below in strip]
    assert thick == [False, False, False, True, False, False]


def test_an_episode_without_images_has_no_strip():
  rng = np.random.default_rng(0)
  judged, steps = make(dataclasses.replace(make_episode(rng, 9, SUCCESS), images=None))
  trace = traces.follow(judged, steps, [SUCCESS])
  assert trace.frames.shape[0] == trace.frame_steps.size == 0
  assert len(figures.trajectory(trace, 'A success').axes) == 1


def test_a_phase_of_a_single_call_is_drawn_as_a_point(recwarn):
  (axes,) = figures.losses([{'phase': 'critic', 'step': 100, 'loss': 0.5}], 'critic').axes
  (line,) = axes.lines
  assert line.get_xydata().tolist() == [[100.0, 0.5]] and line.get_marker() == 'o'
  assert not recwarn.list
