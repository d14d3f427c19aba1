"""What takes long to compile is said, and why it was not found."""

import re
import time

import jax
from jax._src import compiler
import jax.numpy as jnp
import pytest

from aloe_jax.parallel import hosts
from aloe_jax.run import compilation


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """A compile cache that keeps everything; all that is compiled counts as long."""
  settings = {
    'jax_compilation_cache_dir': str(tmp_path),
    'jax_persistent_cache_min_compile_time_secs': 0.0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
  }
  before = {name: jax.config.values[name] for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  monkeypatch.setattr(compilation, 'SAID_SECONDS', 0.0)
  jax.clear_caches()
  reset()
  yield tmp_path
  for name, value in before.items():
    jax.config.update(name, value)
  reset()


def reset():
  from jax.experimental.compilation_cache import compilation_cache

  compilation_cache.reset_cache()


def compile_anew(capsys, width=3):
  """The lines of a command that compiles one program, as a new process would."""
  jax.clear_caches()
  argument = jnp.zeros(width)

  def doubled(x):
    return jnp.sin(x) @ jnp.cos(x)

  capsys.readouterr()
  with compilation.told():
    jax.jit(doubled)(argument)
  return [
    line for line in capsys.readouterr().out.splitlines() if 'doubled' in line or 'ms in' in line
  ]


def test_a_program_is_said_to_be_compiled_once_and_to_be_found_then(cache, capsys):
  _, done, summary = compile_anew(capsys)
  assert re.match(r'Compiled doubled in \d+ s: not found in ', done)
  assert done.endswith('as none of its name was there.')
  assert summary == f'Compiled programs in {cache}: 0 found, compiled anew: doubled.'
  assert compile_anew(capsys)[-1] == f'Compiled programs in {cache}: 1 found, compiled anew: none.'


def test_other_shapes_and_devices_are_told_as_reasons(cache, capsys, monkeypatch):
  compile_anew(capsys)
  told = compile_anew(capsys, width=4)[1]
  assert told.endswith('as those of its name are of other shapes or settings, or were removed.')
  now = compilation.environment()
  for field, value, words in (
    ('jax', '9.9', f"the nearest is of jax {now['jax']!r} and not '9.9'"),
    ('devices', 8, f'the nearest is of devices {now["devices"]} and not 8'),
    ('source of aloe_jax', 'x', 'the nearest is of another source of aloe_jax'),
  ):
    assert compilation.why(cache, 'doubled', now | {field: value}) == words


def test_what_calls_python_back_is_said_not_to_be_kept(cache, capsys):
  def called(x):
    return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct((), jnp.float32), x)

  argument = jnp.float32(1)
  with compilation.told():
    jax.jit(called)(argument).block_until_ready()
  assert 'it is not kept, as JAX keeps none that call Python back.' in capsys.readouterr().out


def test_what_is_broken_off_is_not_said_to_be_compiled(cache, capsys, monkeypatch):
  def interrupted(*args, **kwargs):
    raise KeyboardInterrupt

  argument = jnp.zeros(3)
  with monkeypatch.context() as patch:
    patch.setattr(compiler, 'backend_compile_and_load', interrupted)
    with pytest.raises(KeyboardInterrupt), compilation.told():
      jax.jit(lambda x: jnp.sin(x) + 7)(argument)
  printed = capsys.readouterr().out
  assert re.search(r'Compiling \w+ was broken off after 0 s\.', printed)
  assert 'Compiled' not in printed
  try:
    raise ValueError('handled while something is compiled')
  except ValueError:
    assert 'Compiled doubled in' in '\n'.join(compile_anew(capsys))


def test_what_takes_long_is_said_while_it_does(monkeypatch, capsys):
  monkeypatch.setattr(compilation, 'SAID_SECONDS', 0.05)
  with compilation.told():
    jax.monitoring.record_scalar(compilation._COMPILES, 0.0, fun_name='jit(train_step)')
    time.sleep(0.3)
    begun = capsys.readouterr().out
    jax.monitoring.record_event_duration_secs(compilation._COMPILES, 0.3, fun_name='train_step')
  assert begun.startswith(f'Compiling train_step for {jax.device_count()} x ')
  assert begun.endswith('; a large program takes minutes.\n')
  assert re.match(r'Compiled train_step in \d+ s', capsys.readouterr().out)


def test_what_is_quick_and_what_other_hosts_compile_is_not_said(monkeypatch, capsys):
  with compilation.told():
    jax.monitoring.record_scalar(compilation._COMPILES, 0.0, fun_name='f')
    jax.monitoring.record_event_duration_secs(compilation._COMPILES, 0.1, fun_name='f')
  monkeypatch.setattr(hosts, 'is_first', lambda: False)
  with compilation.told():
    jax.monitoring.record_event_duration_secs(compilation._COMPILES, 100.0, fun_name='f')
  assert capsys.readouterr().out == ''
