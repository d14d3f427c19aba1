"""Learning curves are drawn where the counts say, and impossible ones are refused."""

import numpy as np
from PIL import Image
import pytest

from aloe_jax import plots

CURVES = {
  'ALOE': {1: (31, 64), 2: (45, 64), 3: (60, 64)},
  'AWR': {1: (28, 64), 2: (33, 64), 3: (37, 64)},
}


def test_a_figure_is_written_and_nothing_else(tmp_path):
  path = tmp_path / 'figures' / 'curves.png'
  plots.learning_curves(path, CURVES, warm_start=(24, 64), title='fold_laundry')
  assert [p.name for p in path.parent.iterdir()] == ['curves.png']
  with Image.open(path) as image:
    assert image.format == 'PNG'
    pixels = np.asarray(image.convert('RGB'))
  assert pixels.shape == (600, 960, 3)


def test_a_higher_success_rate_is_drawn_higher(tmp_path):
  rows = []
  for successes in (10, 60):
    path = tmp_path / f'{successes}.png'
    plots.learning_curves(path, {'ALOE': {1: (successes, 64), 2: (successes, 64)}})
    with Image.open(path) as image:
      pixels = np.asarray(image.convert('RGB')).astype(int)
    blue = np.abs(pixels - (0x00, 0x72, 0xB2)).sum(-1) < 30
    rows.append(np.argmax(blue[:450].sum(1)))  # above the legend: the row of the line itself
  axis = 600 * 0.74  # pixels of 104 %, about
  assert rows[0] - rows[1] == pytest.approx(axis * (50 / 64) / 1.04, rel=0.1)


def test_a_figure_is_replaced_whole(tmp_path):
  path = tmp_path / 'curves.png'
  path.write_text('an older file')
  plots.learning_curves(path, CURVES)
  assert path.read_bytes().startswith(b'\x89PNG')


def test_a_curve_may_miss_iterations_and_start_anywhere(tmp_path):
  plots.learning_curves(tmp_path / 'curves.svg', {'ALOE': {5: (0, 3), 2: (3, 3)}})
  assert '<svg' in (tmp_path / 'curves.svg').read_text()


def test_policies_that_always_or_never_succeed_are_drawn_whatever_the_number_of_trials():
  always, never = ({n: (n * share, n) for n in range(1, 140)} for share in (1, 0))
  plots.draw_learning_curves({'ALOE': always, 'AWR': never})


@pytest.mark.parametrize(
  'curves, message',
  [
    ({}, 'found a curve without points'),
    ({'ALOE': {}}, 'found a curve without points'),
    ({'ALOE': {1: (0, 0)}}, 'found a point of 0 trials'),
    ({'ALOE': {1: (5, 4)}}, 'found 5 successes in 4 trials'),
    ({str(i): {1: (1, 2)} for i in range(9)}, 'found 9 curves, expected at most 8'),
  ],
)
def test_what_cannot_be_drawn_is_refused(curves, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    plots.learning_curves(tmp_path / 'curves.png', curves)
  assert not list(tmp_path.iterdir())
