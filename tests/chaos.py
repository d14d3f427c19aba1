"""Kills a run at random moments, goes on with it, and compares it with the unbroken one.

  python tests/chaos.py --kills=30 --seed=0
  python tests/chaos.py --kills=10 --seed=1 --variant=debug
  python tests/chaos.py --kills=10 --seed=2 --processes=2

SIGKILL and SIGTERM by turns of a seeded coin, while it starts, compiles, collects, learns, saves
and evaluates; saves are made at every call, so that many are met. A run that ends before all kills
are spent is followed by another. Of several processes one is killed, and all have to end.
Parameters, averages, moments, metrics (but for the time and what saves cost), evaluations and
episodes must be those of the unbroken run, bit for bit.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl import logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax.run import state_items
from aloe_jax.run import unfinished

ROOT = pathlib.Path(__file__).parents[1]
SHORT = {  # of both variants; four calls a phase
  'actor.warm_start_updates': 20,
  'actor.updates': 20,
  'critic.first_updates': 20,
  'train.actor_updates_per_call': 5,
  'train.critic_updates_per_call': 5,
  'train.save_minutes': 1e-6,
}
VARIANTS = {
  'sim_debug': SHORT
  | {
    'evaluation.episodes': 2,
    'sim.attempts': 16,
    'sim.rollouts': 4,
    'task.demonstrations': 2,
  },
  'debug': SHORT
  | {
    'actor.warm_start_updates': 4,
    'actor.updates': 4,
    'train.actor_updates_per_call': 1,
    'evaluation.episodes': 2,
  },
}
STOPPED = {  # status of a run that a signal ended, before and after it began to listen
  signal.SIGTERM: (128 + signal.SIGTERM, -signal.SIGTERM),
  signal.SIGKILL: (-signal.SIGKILL,),
}


@dataclasses.dataclass
class Chaos:
  """Runs of one variant.

  Attributes:
    variant: one of `VARIANTS`.
    directory: holds the runs, and what they compile.
    coin: decides when, how and which of them are killed.
    processes: that share each run, of two devices each; 1 for a run on its own.
  """

  variant: str
  directory: pathlib.Path
  coin: random.Random
  processes: int

  def start(self, workdir):
    """The processes of a run."""
    if self.processes == 1:
      return [self._start(workdir)]
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      port = free.getsockname()[1]
    joining = [f'--coordinator=127.0.0.1:{port}', f'--processes={self.processes}']
    return [self._start(workdir, *joining, f'--process={i}') for i in range(self.processes)]

  def _start(self, workdir, *joining):
    flags = [f'--config.{field}={value}' for field, value in VARIANTS[self.variant].items()]
    command = ['-m', 'aloe_jax.train', f'--config=experiments/laundry.py:{self.variant}']
    log = (self.directory / f'{workdir.name}.log').open('ab')
    compiled = os.environ.get('JAX_COMPILATION_CACHE_DIR', str(self.directory / 'compiled'))
    with log:
      return subprocess.Popen(
        [sys.executable, *command, f'--workdir={workdir}', *flags, *joining],
        cwd=ROOT,
        env=os.environ
        | {
          'JAX_PLATFORMS': 'cpu',
          'JAX_NUM_CPU_DEVICES': '2' if joining else '1',
          'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
          'JAX_COMPILATION_CACHE_DIR': compiled,
          'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
        },
        stdout=log,
        stderr=subprocess.STDOUT,
      )

  def unbroken(self, name='unbroken'):
    """Runs to the end; the seconds that it takes, and its directory."""
    begin = time.monotonic()
    processes = self.start(self.directory / name)
    assert all(process.wait() == 0 for process in processes), self.log(name)
    return time.monotonic() - begin, self.directory / name

  def broken(self, name, kills, seconds):
    """Kills a run up to so many times and has it end; how often it was killed."""
    workdir, killed = self.directory / name, 0
    while True:
      processes = self.start(workdir)
      if killed == kills:
        assert all(process.wait() == 0 for process in processes), self.log(name)
        return killed
      number = self.coin.choice([signal.SIGKILL, signal.SIGTERM])
      process = self.coin.choice(processes)
      self.wait(process, workdir, seconds)
      if process.poll() is None:
        process.send_signal(number)
      status = process.wait(timeout=120)
      others = [other.wait(timeout=120) for other in processes]
      if status == 0:
        assert not any(others), self.log(name)
        return killed
      assert status in STOPPED[number], f'{number!r}: status {status}\n{self.log(name)}'
      killed += 1

  def wait(self, process, workdir, seconds):
    """Until a random moment of the run, every other time one in or after a save inside a phase."""
    inside, place = self.coin.random() < 0.5, workdir / unfinished.DIRECTORY
    end = time.monotonic() + self.coin.uniform(0.2, 0.9) * seconds
    seen = set(place.iterdir()) if place.exists() else set()
    while process.poll() is None and time.monotonic() < end + (seconds if inside else 0):
      if inside and place.exists() and set(place.iterdir()) - seen:
        time.sleep(self.coin.choice([0, 0.02, 0.1, 0.5]))
        return
      time.sleep(0.005)

  def assert_quiet(self, name):
    """Fails where a run has ended otherwise than with a line."""
    # Where the first of several processes is killed, JAX itself ends the others, and not quietly.
    for word in ('Segmentation',) if self.processes > 1 else ('Traceback', 'Segmentation', 'Fatal'):
      assert word not in self.log(name), self.log(name)

  def log(self, name):
    return (self.directory / f'{name}.log').read_text(errors='replace')


def contents(workdir):
  """{name: digest or text} of all that a run leaves and that must be the same."""
  found = {}
  for checkpoint in sorted((workdir / 'checkpoints').iterdir()):
    for item in state_items.names(checkpoint):
      with ocp.PyTreeCheckpointer() as checkpointer:
        there = checkpointer.metadata((checkpoint / item).absolute()).item_metadata.tree
        kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), there)
        tree = checkpointer.restore((checkpoint / item).absolute(), restore_args=kinds)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = f'{checkpoint.name}/{item}{jax.tree_util.keystr(path)}'
        found[name] = hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
  for path in sorted((workdir / 'episodes').rglob('*.tfrecord*')):
    found[str(path.relative_to(workdir))] = hashlib.sha256(path.read_bytes()).hexdigest()
  for number, line in enumerate(_lines(workdir)):
    found[f'metrics, line {number + 1}'] = line
  for name in ('evaluations.json', 'manifest.json'):
    found[name] = (workdir / name).read_text()
  return found


def _lines(workdir):
  lines = map(json.loads, (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines())
  return [
    json.dumps({name: x for name, x in line.items() if name != 'time'})
    for line in lines
    if line['phase'] != 'save'
  ]


def assert_equal(found, expected):
  """Fails where two runs differ, naming all that does, and where litter of a kill is left."""
  one, other = contents(found), contents(expected)
  wrong = [name for name in {**one, **other} if one.get(name) != other.get(name)]
  assert not wrong, f'{found} differs from {expected} in: {", ".join(wrong[:20])}'
  left = [path for path in found.rglob('.*') if 'writing' in path.name or 'removed' in path.name]
  assert not left, left


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--kills', type=int, default=30)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--variant', choices=VARIANTS, default='sim_debug')
  parser.add_argument('--processes', type=int, default=1, help='that share each run')
  options = parser.parse_args()
  logging.set_verbosity(logging.ERROR)  # of Orbax, at every item
  with tempfile.TemporaryDirectory() as directory:
    chaos = Chaos(
      options.variant, pathlib.Path(directory), random.Random(options.seed), options.processes
    )
    _, first = chaos.unbroken('first')
    seconds, expected = chaos.unbroken()  # now that all is compiled
    assert_equal(first, expected)
    print(f'unbroken: {seconds:.1f} s', flush=True)
    spent, runs = 0, 0
    while spent < options.kills:
      runs += 1
      killed = chaos.broken(f'broken_{runs}', min(options.kills - spent, 10), seconds)
      assert_equal(chaos.directory / f'broken_{runs}', expected)
      chaos.assert_quiet(f'broken_{runs}')
      inside = chaos.log(f'broken_{runs}').count('goes on after')
      spent += killed
      print(f'run {runs}: killed {killed} times, {inside} times inside a phase, equal', flush=True)
  print(f'{spent} kills, {runs} runs, all equal to the unbroken one')


if __name__ == '__main__':
  main()
