"""The study of docs/planning_anew.md: its numbers, and that its picture is drawn."""

import dataclasses

import numpy as np
import pytest

from experiments import planning_anew

WHOLE, SHORT, LONG, _, CORRECTED = (
  'whole chunks: h read, h spanned',
  'e read, e spanned',
  'e read, h spanned',
  'e read, e to h spanned',
  'e read, h spanned, corrected',
)


@pytest.fixture(scope='module')
def found():
  study = planning_anew.studies(planning_anew.World(1))['three policies']
  return {
    name: planning_anew.follow(study, backup)
    for name, backup in study.backups().items()
    if name in (WHOLE, SHORT, LONG, CORRECTED)
  }


def test_corrected_targets_are_exact_in_the_time_of_whole_chunks(found):
  assert found[CORRECTED].worst < 1e-9
  assert found[CORRECTED].misordered == 0
  assert found[CORRECTED].updates < 1.2 * found[WHOLE].updates
  assert found[SHORT].worst < 1e-9
  assert found[SHORT].updates > 8 * found[CORRECTED].updates


def test_whole_chunks_know_what_happened_and_uncorrected_ones_who_acted(found):
  assert found[WHOLE].value == pytest.approx(3.28, abs=0.01)
  assert found[WHOLE].worst == pytest.approx(0.145, abs=1e-3)
  assert found[LONG].value == pytest.approx(-2.23, abs=0.01)


def test_values_come_to_rest_even_where_nobody_acts_as_the_policy_would():
  study = planning_anew.studies(planning_anew.World(1))['a stranger']
  found = planning_anew.follow(study, study.short_chunks(planning_anew.SPANS, corrected=True))
  assert found.worst < 1e-9
  assert found.gain < 0.3


def test_inside_a_plan_what_is_left_of_it_and_the_next_one_tell_of_the_wind(monkeypatch):
  monkeypatch.setattr(planning_anew, 'WORK', 2)
  study = planning_anew.studies(planning_anew.World(2))['three policies']
  backup = study.short_chunks(planning_anew.SPANS, corrected=True)
  assert 0.03 < planning_anew.follow(study, backup).worst < 0.15
  study = dataclasses.replace(study, plans_only=True)
  backup = study.short_chunks(planning_anew.SPANS, corrected=True)
  assert planning_anew.follow(study, backup).worst < 1e-9


def test_a_picture_is_drawn_of_every_kind_of_data(found, tmp_path):
  path = tmp_path / 'planning_anew.png'
  planning_anew.draw({'e = 1, data of its own': found, 'e = 1, data of others': found}, path)
  assert path.stat().st_size > 10_000
  assert np.isfinite(found[WHOLE].errors).all()


@pytest.mark.parametrize('given', ['picture', 'picture.txt', '.'])
def test_a_picture_that_cannot_be_is_refused_before_anything_is_computed(given, capsys):
  with pytest.raises(SystemExit):
    planning_anew.main([given])
  assert f'found {given}, expected a file, as picture.png.' in capsys.readouterr().err
