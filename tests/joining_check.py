"""Run by joining_test.py, once per process: joins the others, and meets them under a name."""

import argparse
import contextlib
import os
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.parallel import hosts
from aloe_jax.parallel import joining
from aloe_jax.parallel import watch
from aloe_jax.run import agreement
from aloe_jax.run import compilation
from aloe_jax.run import lock
from experiments import laundry

hosts.TELL_SECONDS = 1.0
watch.SILENT_SECONDS = 8.0


def on_one_host(options, name):
  """A path at which process 0 has a file, and process 1 sees none."""
  path = pathlib.Path(options.place) / name
  if options.process == 0:
    path.touch()
  else:
    exists = pathlib.Path.exists
    pathlib.Path.exists = lambda other: other != path and exists(other)
  return path


def compile_together(cache):
  """Compiles a program of both, of which anything that is done counts as long."""
  jax.config.update('jax_compilation_cache_dir', cache)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  compilation.SAID_SECONDS = 0.0
  mesh = jax.make_mesh((jax.device_count(),), ('all',))
  spread = NamedSharding(mesh, PartitionSpec('all'))

  def program():
    return jnp.sin(jnp.arange(8.0)) @ jnp.ones((8, 8))

  with compilation.told():
    jax.jit(program, out_shardings=spread)()


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--does', default='')
  parser.add_argument('--place', default='')
  joining.add_options(parser)
  options = parser.parse_args()
  with command_line.usage_errors():
    joining.join(options)
  own = options.process == 1
  if options.does == 'is late' and own:
    time.sleep(30)
  with config_lib.user_errors():
    if options.does == 'has another size':
      hosts.agree('sizes are compared', {'one': 1, 'the size': 2 + own}, 'Make it the same.')
    if options.does == 'has other data':
      agreement.check_data({'data/a': 'f0', 'data/b': 'f2' if own else 'f1'})
    if options.does == 'has another path':
      config = laundry.get_config('sim_debug')
      config.actor.tokenizer = str(on_one_host(options, 'tokenizer'))
      agreement.check_start(config, pathlib.Path('runs/a'))
    if options.does == 'shares no disk':
      agreement.check_workdir(on_one_host(options, lock.NAME).parent)
  if options.does == 'compiles':
    compile_together(options.place)
  if options.does == 'fails' and own:
    raise ValueError('the disk of this host is broken.')
  if options.does == 'is killed' and own:
    os.kill(os.getpid(), 9)
  if options.does == 'is killed first' and not own:
    time.sleep(1)
    os.kill(os.getpid(), 9)
  if options.does == 'is stopped' and own:
    raise KeyboardInterrupt
  hosts.wait('the checkpoint is read')
  with hosts.first_then_others('the data are indexed'):
    times = [time.monotonic()]
  (first, _), (second, _) = hosts.exchange('times are told', [times[0], hosts.number()])
  assert first <= second
  assert hosts.lowest(7 - hosts.number()) == 6
  assert jax.process_count() == 2
  print('met', flush=True)


if __name__ == '__main__':
  with contextlib.suppress(KeyboardInterrupt):
    watch.together(main)
  sys.exit()
