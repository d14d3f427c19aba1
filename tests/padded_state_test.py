"""Which numbers of kept statistics are those of zeros that a state was filled up with."""

import pathlib

import pytest

from aloe_jax.preprocessing import normalize
from aloe_jax.run import padded_state


def make_meta(size, **padding):
  state = {
    name: [0.5] * size + [padding.get(name, 0.0)] * (32 - size)
    for name in ('mean', 'std', 'q01', 'q99')
  }
  return {'config': {'task': {'proprio_size': 32}}, 'norm_stats': {'state': state}}


@pytest.mark.parametrize('std', [0.0, 1.0, 1e-9])
def test_a_deviation_of_zero_or_one_is_padding_in_checkpoints_and_statistics_alike(std):
  meta = make_meta(14, std=std)
  stats = normalize.from_json(meta, 'here')['state']
  assert normalize.own_size(stats) == 14
  assert normalize.ends_in_padding(stats, 14) and not normalize.ends_in_padding(stats, 13)
  with pytest.raises(ValueError, match='which filled the 14 numbers of the state up to 32'):
    padded_state.check(pathlib.Path('old'), meta)


@pytest.mark.parametrize('padding', [{'mean': 0.1}, {'std': 0.5}, {'q99': 0.1}])
def test_a_number_that_moves_or_rests_elsewhere_is_the_robots(padding):
  padded_state.check(pathlib.Path('own'), make_meta(14, **padding))
