"""Progress in a log file: a line now and then, and always one at the end."""

import io

import pytest
import rich.console

from aloe_jax import progress


@pytest.fixture
def clock(monkeypatch):
  """Seconds on a clock that only a test moves."""
  now = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


def test_lines_are_written_every_quarter_of_a_minute_and_at_the_end(clock, capsys):
  with progress.bar('Critic 1', 40, 'updates') as advance:
    for done in (10, 20, 30, 40):
      clock[0] += 8.0
      advance(done, loss=0.5 / done)
  assert capsys.readouterr().out.splitlines() == [
    'Critic 1: 20/40 updates, 1.2/s  loss 0.025',
    'Critic 1: 40/40 updates, 1.2/s  loss 0.0125',
  ]


def test_what_ends_early_says_how_far_it_came(clock, capsys):
  with progress.bar('Collect 1', 8, 'episodes') as advance:
    clock[0] += 2.0
    advance(5)
  assert capsys.readouterr().out == 'Collect 1: 5/8 episodes, 2.5/s\n'


def test_what_was_kept_says_so(clock, capsys):
  with progress.bar('Encode table', 8, 'frames'):
    pass
  with progress.bar('Index table', None, 'steps'):
    pass
  assert capsys.readouterr().out == 'Encode table: 8 frames, kept from before\n'


def test_an_error_inside_is_not_covered_up(clock, capsys):
  with pytest.raises(KeyError), progress.bar('Collect 1', 8, 'episodes'):
    raise KeyError
  assert capsys.readouterr().out == ''


def test_a_terminal_shows_a_bar_with_what_is_worth_seeing(monkeypatch):
  screen = io.StringIO()
  console = rich.console.Console(file=screen, force_terminal=True, width=120, color_system=None)
  monkeypatch.setattr(progress, 'CONSOLE', console)
  with progress.bar('Critic 1', 40, 'updates') as advance:
    advance(40, loss=0.25)
  shown = screen.getvalue()
  for words in ('Critic 1', '40/40', 'updates', 'left', 'loss 0.25'):
    assert words in shown
  with progress.bar('Encode table', 8, 'frames'):
    pass
  assert '8/8' in screen.getvalue()
  assert 'kept from before' in screen.getvalue()
