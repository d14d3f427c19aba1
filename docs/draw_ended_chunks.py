"""Draws images/ended_chunks.png: what the critic reads of a chunk that met a terminal end.

python docs/draw_ended_chunks.py
"""

import pathlib

import matplotlib

matplotlib.use('Agg')
from matplotlib import figure

STEPS, EXECUTE = 8, 2
PLANS = ('#1f4e79', '#2e86c1', '#5dade2', '#a9cce3')  # made one after the other
OWN, EDGE = '#e59866', '#333333'
DONOR = ('#1e6b3a', '#4c9a63', '#8cc79d', '#c4e3cc')  # the plans of another chunk
ENDED = 3  # steps that were played


def main() -> None:
  """Writes the picture."""
  drawing = figure.Figure(figsize=(9, 3.6), dpi=120)
  axes = drawing.add_subplot()
  executed = [PLANS[k // EXECUTE] for k in range(STEPS)]
  donor = [DONOR[k // EXECUTE] for k in range(ENDED, STEPS)]
  rows = [
    ('went on, as it was executed: a new plan every 2 steps', executed, STEPS),
    ('ended after 3 steps; a mask shows it: the chunk is short', executed, ENDED),
    ('filled up with the rest of one plan: that shows it too', executed[:ENDED] + [OWN] * 5, STEPS),
    ('filled up with what a donor executed: nothing shows', executed[:ENDED] + donor, STEPS),
    ('what V asks about: all of one plan', [OWN] * STEPS, STEPS),
  ]
  for y, (text, colours, steps) in enumerate(rows):
    for k in range(steps):
      axes.barh(-y, 0.92, 0.62, left=k, color=colours[k], edgecolor=EDGE, linewidth=0.6)
    if 0 < y < len(rows) - 1:
      axes.plot([ENDED - 0.04] * 2, [-y - 0.42, -y + 0.42], color='#c0392b', linewidth=2.5)
    axes.text(STEPS + 0.25, -y, text, va='center', fontsize=10)
  for k in range(STEPS):
    axes.text(k + 0.46, 0.62, f'$a_{{t+{k}}}$' if k else '$a_t$', ha='center', fontsize=9)
  axes.set_xlim(0, STEPS + 8)
  axes.set_ylim(-len(rows) + 0.4, 1.0)
  axes.axis('off')
  drawing.savefig(
    pathlib.Path(__file__).parent / 'images' / 'ended_chunks.png', bbox_inches='tight'
  )


if __name__ == '__main__':
  main()
