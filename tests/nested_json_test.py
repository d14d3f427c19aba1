"""JSON of lists in lists in lists: Python gives up on it, and a person is told of the file."""

import pytest

from aloe_jax import files
from aloe_jax.pretrained import safetensors_file

DEEP = '[' * 200_000


def test_a_file_that_is_nested_too_deep_is_named(tmp_path):
  path = tmp_path / 'config.json'
  path.write_text(DEEP)
  with pytest.raises(ValueError, match=f'{path}: found no whole JSON: it is nested too deep; copy'):
    files.read_json(path, 'copy it again.')
  with pytest.raises(ValueError, match=f'{path}, line 1: found .* expected a whole JSON object'):
    files.read_json_lines(path, 'copy it again.')


def test_a_number_of_more_digits_than_python_reads_is_named(tmp_path):
  path = tmp_path / 'config.json'
  path.write_text('1' * 5000)
  with pytest.raises(ValueError, match=f'{path}: found no whole JSON: Exceeds the limit'):
    files.read_json(path, 'copy it again.')


def test_a_header_of_safetensors_that_is_nested_too_deep_is_named(tmp_path):
  path = tmp_path / 'model.safetensors'
  path.write_bytes(len(DEEP).to_bytes(8, 'little') + DEEP.encode())
  with pytest.raises(ValueError, match=f'{path} was cut short .* it is nested too deep'):
    safetensors_file.header(path)
