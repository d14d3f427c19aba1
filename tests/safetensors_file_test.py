"""A header of safetensors that lies about where its tensors are is refused, naming them."""

import json
import re

import numpy as np
import pytest

from aloe_jax.pretrained import pytorch
from aloe_jax.pretrained import safetensors_file


def write(path, places, size=32):
  """A file of float32 vectors {name: data_offsets} and some bytes behind its header."""
  entries = {
    name: {'dtype': 'F32', 'shape': [(end - start) // 4], 'data_offsets': [start, end]}
    for name, (start, end) in places.items()
  }
  text = json.dumps(entries).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(size))
  return path


def test_tensors_in_any_order_and_empty_ones_are_read(tmp_path):
  places = {'late': (16, 32), 'none': (8, 8), 'early': (0, 16)}
  path = write(tmp_path / 'model.safetensors', places)
  found, _ = safetensors_file.header(path)
  assert list(found) == ['late', 'none', 'early']
  np.testing.assert_array_equal(safetensors_file.read(path, found['late']), np.zeros(4))


@pytest.mark.parametrize(
  'places, size, said',
  [
    ({'a': (0, 16), 'b': (12, 32)}, 32, 'a and b share bytes, .* b begins at 12, a ends at 16'),
    ({'a': (0, 32), 'b': (0, 32)}, 32, 'a and b share bytes, .* b begins at 0, a ends at 32'),
    ({'a': (0, 32), 'b': (8, 16)}, 32, 'a and b share bytes'),
    ({'a': (0, 16), 'b': (20, 32)}, 32, 'bytes 16 to 20 between a and b are of no tensor'),
    ({'a': (4, 32)}, 32, 'bytes 0 to 4 before a are of no tensor'),
    ({'a': (0, 16)}, 32, '16 bytes behind a are of no tensor'),
    ({}, 4, '4 bytes behind the header are of no tensor'),
    ({'a': (0, 16), 'b': (16, 36)}, 32, 'was cut short: it has .* b would lie beyond its end'),
    ({'a': (0, 16), 'b': (2**62, 2**62 + 4)}, 32, 'was cut short: .* b would lie beyond its end'),
    ({'a': (16, 0)}, 32, 'a: the header does not say its type, shape and place'),
  ],
)
def test_places_that_lie_are_refused_by_name(places, size, said, tmp_path):
  path = write(tmp_path / pytorch.FILE, places, size)
  with pytest.raises(ValueError, match=f'^{re.escape(str(path))}.*{said}'):
    safetensors_file.header(path)


def test_a_tensor_that_is_told_twice_is_refused(tmp_path):
  path = write(tmp_path / pytorch.FILE, {'a': (0, 32)})
  content = path.read_bytes()
  entry = content[9 : content.rindex(b'}') + 1][:-1]  # behind the length and the first brace
  text = b'{' + entry + b', ' + entry + b'}'
  path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(32))
  with pytest.raises(ValueError, match="'a' is told twice"):
    safetensors_file.header(path)
