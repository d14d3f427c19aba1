"""A flag is yes or no, or what a comparison says of it; all else is named by step and refused."""

import math

import numpy as np
import pytest

from aloe_jax.data import flags


def refuse(step, message):
  return ValueError(f'step {step}: {message}')


def read(values, text='flag', **more):
  return flags.read(values, flags.parse(text), option='--flag', refuse=refuse, **more).tolist()


@pytest.mark.parametrize(
  'values',
  [
    np.array([False, True, True]),
    np.array([0, 1, 1]),
    np.array([0, 1, 1], np.uint8),
    np.array([-0.0, 1.0, 1.0], np.float32),
    [False, 1, 1.0],
    ['0', '1', 'true'],
    ['no', 'Yes', ' TRUE '],
    [b'false', b'1', '1.0'],
  ],
)
def test_what_says_yes_or_no_is_read_in_every_type(values):
  assert read(values) == [False, True, True]


@pytest.mark.parametrize(
  'value, message',
  [
    (math.nan, 'found nan, expected true or false; repair it'),
    (math.inf, "found inf, expected true, false, 0 or 1; say what it means, such as --flag='flag>"),
    (None, 'found no value, expected true or false'),
    (-1, "found -1, expected true, false, 0 or 1; say what it means, such as --flag='flag==1'"),
    (0.02, "found 0.02, expected .* --flag='flag>=0.5', or leave the field out: --flag=none"),
    (2, "found 2, expected true, false, 0 or 1; .* --flag='flag==1'"),
    ('maybe', "found 'maybe', expected .*, or one of .*true, yes; .* --flag='flag==maybe'"),
    ('', "found ''"),
  ],
)
def test_what_says_neither_is_refused_at_its_step(value, message):
  with pytest.raises(ValueError, match=f'^step 2: {message}'):
    read([0, 1, value, 0, value])
  if isinstance(value, float):
    with pytest.raises(ValueError, match=f'^step 2: {message}'):
      read(np.array([0, 1, value, 0, value], np.float32))


@pytest.mark.parametrize(
  'text, expected',
  [
    ('x>=0.9', [0, 0, 1, 1]),
    ('x>0.9', [0, 0, 0, 1]),
    ('x <= 0.9', [1, 1, 1, 0]),
    ('x<0.9', [1, 1, 0, 0]),
    ('x==2', [0, 0, 0, 1]),
    ('x!=2', [1, 1, 1, 0]),
    ('x==-1', [1, 0, 0, 0]),
  ],
)
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_comparison_says_what_numbers_mean_in_the_precision_they_are_stored_in(
  text, expected, dtype
):
  values = np.array([-1, 0.2, 0.9, 2], dtype)
  assert read(values, text) == [bool(value) for value in expected]


def test_a_word_can_be_compared_too():
  assert read(['done', 'Given up', 'Done'], 'outcome==done') == [True, False, True]
  assert read(['done', 'lost'], 'outcome!=done') == [False, True]
  assert read(['0.7', '0.2'], 'score>=0.5') == [True, False]


@pytest.mark.parametrize('text', ['x>=0.5', 'x!=1', 'x==nothing', 'x<3'])
@pytest.mark.parametrize('value', [math.nan, None, ''])
def test_a_value_that_is_missing_is_refused_under_every_comparison(text, value):
  words = ['0'] if value == '' or 'nothing' in text else [0.0]
  with pytest.raises(ValueError, match='^step 1: found'):
    read([*words, value], text)


def test_a_word_is_not_more_than_a_number():
  with pytest.raises(ValueError, match="step 0: found 'high', which >=0.5 cannot be asked of"):
    read(['high'], 'score>=0.5')


@pytest.mark.parametrize(
  'text', ['x>', 'x=1', '>=1', 'x==', 'x>=high', 'x===1', 'x=>1', 'x>=nan', 'x<>1']
)
def test_what_is_no_comparison_is_refused_with_an_example(text):
  with pytest.raises(ValueError, match='found no comparison, expected the name of a field, one of'):
    flags.parse(text)


def test_names_with_slashes_dots_and_dashes_are_names():
  for name in ('steps/is_success', 'next.success', 'a-b', 'clip function/x'):
    assert flags.parse(name) == flags.Flag(name)
    assert flags.parse(f'{name}!=0') == flags.Flag(name, '!=0')
    assert str(flags.parse(f'{name}>=1e-3')) == f'{name}>=1e-3'


def test_a_flag_is_lost_where_it_was_set_and_is_not_at_the_end():
  assert flags.lost(np.array([False, True, False]))
  assert not flags.lost(np.array([False, True, True]))
  assert not flags.lost(np.array([False, False]))
