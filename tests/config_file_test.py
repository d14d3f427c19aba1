"""A file that holds an experiment: what is wrong in it is told, and it works from anywhere."""

import sys

import pytest

from aloe_jax import command_line


@pytest.mark.parametrize(
  'source, variant, message',
  [
    ('def get_config(:', '', r'which cannot be read: SyntaxError: .*mine.py, line 1\)'),
    ('import nowhere\nget_config = 1', '', r"No module named 'nowhere' \(.*mine.py, line 1\)"),
    (
      'def get_config():\n  return {}["sim"]',
      '',
      r"whose get_config ends with KeyError: 'sim' \(.*mine.py, line 2\)",
    ),
    ('def get_config():\n  int("x")', '', r"^invalid literal.*'x' \(get_config of .*mine.py\)$"),
    ('def get_config():\n  pass', '', 'whose get_config returns NoneType; expected the ml_coll'),
    ('get_config = 3', '', 'which holds 3 as get_config; expected a function'),
    ('def get_config():\n  pass', ':sim', r"the variant 'sim', but its get_config\(\) .*mine.py.$"),
    ('def get_config(x):\n  pass', '', r'no variant, but its get_config\(x\) .*mine.py:VARIANT.$'),
    ('# get_config\n\xff', '', 'mine.py, which cannot be read: SyntaxError'),
  ],
)
def test_what_is_wrong_in_a_config_file_is_told_with_its_place(source, variant, message, tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(source, encoding='latin-1')
  with pytest.raises(ValueError, match=message):
    command_line.load(f'{path}{variant}')


def test_an_experiment_imports_its_neighbours_wherever_the_command_runs(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'path', [*sys.path])
  (tmp_path / 'laboratory').mkdir()
  for name, source in (
    ('__init__', ''),
    ('joints', 'WIDTH = 17'),
    (
      'folding',
      """
from experiments import laundry
from laboratory import joints

def get_config():
  config = laundry.get_config()
  config.actor.action_size = joints.WIDTH
  return config
""",
    ),
  ):
    (tmp_path / 'laboratory' / f'{name}.py').write_text(source)
  assert command_line.load(str(tmp_path / 'laboratory' / 'folding.py')).actor.action_size == 17
