"""Numbers that no robot's loop can run by are refused by name, before a server is asked."""

import math

import numpy as np
import pytest

from aloe_client import recorder as recorder_lib


@pytest.mark.parametrize(
  'name, value',
  [
    *(('hz', value) for value in (0, -50, math.nan, math.inf, '50', True)),
    *(('execute', value) for value in (0, -1, 2.5, 5.0, '5', True)),
    *((name, value) for name in ('stale', 'fade') for value in (-1, math.nan, math.inf, '1', None)),
  ],
)
def test_a_number_that_is_none_is_named(name, value, tmp_path):
  with pytest.raises(ValueError, match=f'^{name}: found .*, expected .*'):
    recorder_lib.Recorder('ws://127.0.0.1:9', 'fold', tmp_path / 'a', **{name: value})
  assert not (tmp_path / 'a').exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
  options = {'hz': np.float32(50), 'execute': np.int64(5), 'stale': np.float64(1), 'fade': 0}
  with recorder_lib.Recorder(None, 'fold', tmp_path, **options) as recorder:
    assert recorder.hz == 50
