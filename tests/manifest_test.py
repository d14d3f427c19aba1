"""The list of a run's datasets: it grows, and what it lists may not change or vanish."""

import json

import pytest

from aloe_jax.data import manifest


def holding(**contents):
  def content(path):
    if path not in contents:
      raise FileNotFoundError(path)
    return contents[path]

  return content


def test_every_iteration_adds_its_datasets_to_the_end(tmp_path):
  path = tmp_path / 'run' / 'manifest.json'
  kept = manifest.Manifest(path)
  kept.check(holding())
  assert not path.exists()
  kept.extend(0, {'demos': 'd1', 'other': 'd2'})
  kept.extend(1, {'demos': 'd1', 'other': 'd2', 'round_1': 'd3'})
  expected = [
    {'path': 'demos', 'content': 'd1', 'iteration': 0},
    {'path': 'other', 'content': 'd2', 'iteration': 0},
    {'path': 'round_1', 'content': 'd3', 'iteration': 1},
  ]
  assert json.loads(path.read_text()) == expected
  before = path.stat().st_mtime_ns
  again = manifest.Manifest(path)
  again.check(holding(demos='d1', other='d2', round_1='d3'))
  again.extend(1, {'demos': 'd1', 'round_1': 'd3'})
  assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
  'found, message',
  [
    (dict(round_1='d3'), 'demos is no longer there; iteration 0 added it'),
    (dict(demos='d1', round_1='xx'), 'round_1 holds other episodes now; iteration 1 added it'),
  ],
)
def test_a_dataset_that_changed_or_vanished_is_named(found, message, tmp_path):
  path = tmp_path / 'manifest.json'
  kept = manifest.Manifest(path)
  kept.extend(0, {'demos': 'd1'})
  kept.extend(1, {'round_1': 'd3'})
  with pytest.raises(ValueError, match=message):
    manifest.Manifest(path).check(holding(**found))


@pytest.mark.parametrize('text', ['{}', '', '[{"path": "demos"', '[{"path": "demos"}]', '\xff'])
def test_a_damaged_list_is_refused_and_not_begun_anew(text, tmp_path):
  path = tmp_path / 'manifest.json'
  path.write_text(text, encoding='latin-1')
  with pytest.raises(
    ValueError, match=f'{path}: .*found .*; put back the file as the run wrote it'
  ):
    manifest.Manifest(path)
