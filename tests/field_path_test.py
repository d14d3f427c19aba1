"""Names of fields with a slice of their numbers."""

import pytest

from aloe_jax.data import field_path


@pytest.mark.parametrize(
  'text, expected, columns',
  [
    ('observation/state', ('observation/state', 0, None), [0, 1, 2, 3, 4, 5, 6, 7]),
    ('observation/state[0:7]', ('observation/state', 0, 7), [0, 1, 2, 3, 4, 5, 6]),
    ('state[:7]', ('state', 0, 7), [0, 1, 2, 3, 4, 5, 6]),
    ('state[7:]', ('state', 7, None), [7]),
    ('state[6]', ('state', 6, 7), [6]),
    ('state[0]', ('state', 0, 1), [0]),
    ('state[:]', ('state', 0, None), [0, 1, 2, 3, 4, 5, 6, 7]),
    ('observation.state [ 2 : 4 ]', ('observation.state', 2, 4), [2, 3]),
  ],
)
def test_a_name_and_its_slice_are_read_as_python_reads_them(text, expected, columns):
  found = field_path.parse(text)
  assert (found.name, found.start, found.stop) == expected
  assert list(range(8))[found.columns(8)] == columns
  assert field_path.parse(str(found)) == found


@pytest.mark.parametrize(
  'text',
  ['s[-1]', 's[-7:]', 's[0:-1]', 's[]', 's[a:b]', 's[0:8:2]', 's[0:7,30:37]', 's[0:7', 's]',
   's[0:7]x', '[0:7]', 's[1.5:3]', 's[0:7][1]'],
)  # fmt: skip
def test_brackets_that_hold_no_slice_are_refused_with_what_is_expected(text):
  with pytest.raises(ValueError, match='expected one slice of whole numbers') as error:
    field_path.parse(text)
  assert str(error.value).startswith(f'{text}: found')


@pytest.mark.parametrize('text', ['s[3:3]', 's[7:2]', 's[:0]'])
def test_an_empty_or_reversed_slice_is_refused(text):
  with pytest.raises(ValueError, match='without a number in it, expected start < stop'):
    field_path.parse(text)


@pytest.mark.parametrize('text', ['s[0:9]', 's[8:]', 's[8]', 's[20:30]'])
def test_a_slice_beyond_the_field_is_refused_with_its_width(text):
  with pytest.raises(ValueError, match=r's has 8 numbers a step, expected a slice within \[0:8\]'):
    field_path.parse(text).columns(8)


def test_a_slice_of_everything_is_the_field_itself():
  assert str(field_path.parse('s[0:8]').within(8)) == 's'
  assert str(field_path.parse('s[:]').within(8)) == 's'
  assert str(field_path.parse('s[3:]').within(8)) == 's[3:8]'
  assert str(field_path.parse('s[6]').within(8)) == 's[6:7]'


def test_commas_part_names_but_not_what_is_in_brackets():
  assert field_path.split('a[0:7], b,c[3]') == ['a[0:7]', 'b', 'c[3]']
  assert field_path.split('a[0:7,9:12],b') == ['a[0:7,9:12]', 'b']
  assert field_path.split('a') == ['a']
