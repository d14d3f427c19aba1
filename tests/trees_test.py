"""Parameters against a model: everything that does not fit is named at once."""

import re

import jax
import numpy as np
import pytest

from aloe_jax.pretrained import trees

WANTED = {
  'head/kernel': np.zeros((3, 2)),
  'head/bias': np.zeros(2),
  'layers/lora_a': np.zeros((4, 1)),
  'scale': np.zeros(()),
}


def test_parameters_that_fit_pass_whatever_their_order_and_type():
  found = {
    path: jax.ShapeDtypeStruct(leaf.shape, 'bfloat16') for path, leaf in reversed(WANTED.items())
  }
  trees.check(found, WANTED, where='a.npz')


def test_every_leaf_that_is_missing_unexpected_or_of_another_shape_is_listed_once():
  found = {
    'head/kernel': np.zeros((2, 3)),
    'head/bias': np.zeros(2),
    'scale': np.zeros(1),
    'tail/kernel': np.zeros((5, 6)),
  }
  with pytest.raises(ValueError) as error:
    trees.check(found, WANTED, where='a.npz')
  assert str(error.value).splitlines() == [
    'a.npz: these parameters do not fit the model (4):',
    '  head/kernel: found [2, 3], expected [3, 2]',
    '  layers/lora_a: missing, expected [4, 1]',
    '  scale: found [1], expected []',
    '  tail/kernel: unexpected, found [5, 6]',
  ]


@pytest.mark.parametrize(
  'may_miss, complaint',
  [
    (['.*lora.*'], None),
    (['nothing', 'layers/lora_[ab]'], None),
    (['lora'], 'layers/lora_a: missing'),  # a part of the path is no match
    (['head/.*'], 'layers/lora_a: missing'),
  ],
)
def test_only_leaves_whose_whole_path_matches_may_be_absent(may_miss, complaint):
  found = {path: leaf for path, leaf in WANTED.items() if path != 'layers/lora_a'}
  if complaint is None:
    trees.check(found, WANTED, where='a.npz', may_miss=may_miss)
  else:
    with pytest.raises(ValueError, match=complaint):
      trees.check(found, WANTED, where='a.npz', may_miss=may_miss)


def test_a_leaf_that_may_be_absent_still_has_its_shape_when_present():
  found = WANTED | {'layers/lora_a': np.zeros((4, 2))}
  with pytest.raises(ValueError, match=re.escape('lora_a: found [4, 2], expected [4, 1]')):
    trees.check(found, WANTED, where='a.npz', may_miss=['.*'])


def test_an_unexpected_leaf_is_refused_even_where_a_pattern_matches_it():
  with pytest.raises(ValueError, match='extra: unexpected'):
    trees.check(WANTED | {'extra': np.zeros(1)}, WANTED, where='a.npz', may_miss=['.*'])
