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


@pytest.mark.parametrize(
  'text',
  [
    '{}',
    '',
    '[{"path": "demos"',
    '[{"path": "demos"}]',
    '[{"path": "demos", "content": "d1", "iteration": "0"}]',
    '\xff',
  ],
)
def test_a_damaged_list_is_refused_and_not_begun_anew(text, tmp_path):
  path = tmp_path / 'manifest.json'
  path.write_text(text, encoding='latin-1')
  with pytest.raises(
    ValueError, match=f'{path}: .*found .*; put back the file as the run wrote it'
  ):
    manifest.Manifest(path)


CONTENT = holding(one='d1', moved='d1', two='d2', copy='d1', demos='d0', three='d3', third='d3')


def follow(path, *given):
  """What a run that was given `one` and then `two`, and played itself, makes of paths now."""
  kept = manifest.Manifest(path)
  if kept.is_empty:
    kept.extend(0, {'one': 'd1', 'own': 'd0'})
    kept.extend(2, {'two': 'd2'})
  return kept.follow(given, CONTENT, lambda listed: listed == 'own')


def test_datasets_are_known_where_they_lie_now_and_new_ones_follow_them(tmp_path):
  path = tmp_path / 'manifest.json'
  assert manifest.Manifest(path).follow(['one'], CONTENT, bool) == ({}, [])
  assert follow(path, 'one', 'two') == ({}, [])
  assert follow(path, 'one', 'two', 'three') == ({}, ['three'])
  assert follow(path, 'moved', 'two', 'three') == ({'one': 'moved'}, ['three'])
  assert [entry['path'] for entry in json.loads(path.read_text())] == ['moved', 'own', 'two']


@pytest.mark.parametrize(
  'given, told',
  [
    (('one',), 'names one; expected the datasets that the run was trained on, in their order: one'),
    (('two', 'one'), 'two holds other episodes than one, in whose place'),
    (('one', 'three', 'two'), 'three holds other episodes than two, in whose place'),
    (('one', 'two', 'copy'), 'copy adds nothing: it holds the same episodes as one, which'),
    (('one', 'two', 'three', 'third'), 'third adds nothing: it holds the same episodes as three,'),
    (('one', 'two', 'demos'), 'demos adds nothing: it holds the same episodes as own, which'),
  ],
)
def test_datasets_that_are_missing_in_another_order_or_double_are_refused(given, told, tmp_path):
  path = tmp_path / 'manifest.json'
  follow(path, 'one', 'two')
  before = path.read_text()
  with pytest.raises(ValueError, match=told):
    follow(path, *given)
  assert path.read_text() == before


def test_a_run_does_not_begin_with_the_same_episodes_twice(tmp_path):
  kept = manifest.Manifest(tmp_path / 'manifest.json')
  with pytest.raises(ValueError, match='copy adds nothing: it holds the same episodes as one, and'):
    kept.follow(['one', 'two', 'copy'], CONTENT, bool)
  assert kept.follow(['one', 'two', 'one'], CONTENT, bool) == ({}, [])


def test_the_digest_of_an_iteration_does_not_know_what_joins_later(tmp_path):
  kept = manifest.Manifest(tmp_path / 'manifest.json')
  kept.extend(0, {'one': 'd1'})
  before = kept.digest(1)
  kept.extend(2, {'two': 'd2'})
  assert kept.digest(1) == before != kept.digest(2)
