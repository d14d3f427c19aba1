"""A format of one's own is a class, an `Importer` and an entry; the command does the rest."""

import command_line
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.data.importers import IMPORTERS
from aloe_jax.data.importers import importer
from aloe_jax.data.importers import settings as settings_lib


class Table:
  """One text file an episode, a row of state and action a step."""

  def __init__(self, directory, settings):
    self.left_out = ['depth']
    self._paths = sorted(directory.glob('*.txt'))
    self._settings = settings

  def __len__(self):
    return len(self._paths)

  def __iter__(self):
    for path in self._paths:
      rows = np.loadtxt(path)
      yield settings_lib.make_episode(
        str(path),
        state=rows[:, :3],
        action=rows[:, 3:],
        images={},
        source=self._settings.source,
        end_reason=self._settings.end_reason,
        prompt=self._settings.prompt,
        metadata={},
      )


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
  """Imports two episodes of text."""
  own = importer.Importer('rows of text', Table, instead={'camera': 'raw depth'})
  monkeypatch.setitem(IMPORTERS, 'table', own)
  for number, length in enumerate((3, 2)):
    np.savetxt(tmp_path / f'{number}.txt', np.arange(5 * length).reshape(length, 5) + number)

  def command(*options):
    given = ('--from', 'table', tmp_path, '--to', tmp_path / 'out', '--name', 'table')
    return command_line.data(monkeypatch, capsys, 'import', *given, '--prompt=push', *options)

  return command


def test_a_format_that_is_added_is_imported_and_told_of(run, tmp_path):
  status, printed, _ = run('--end-reason=success')
  assert status == 0
  assert '2 episodes, 5 steps' in printed
  assert 'images left out: depth' in printed
  first, second = rlds.read(tmp_path / 'out')
  np.testing.assert_array_equal(first.action, [[3, 4], [8, 9], [13, 14]])
  np.testing.assert_array_equal(second.state[:, :3], [[1, 2, 3], [6, 7, 8]])
  assert first.end_reason[-1] == types.EndReason.SUCCESS
  assert first.prompt == 'push'


def test_an_option_that_a_format_has_no_use_for_is_refused(run, tmp_path):
  status, _, _ = run('--camera', 'head=top')
  assert '--camera: found the format table, which has raw depth instead.' in status
  assert not (tmp_path / 'out').exists()
