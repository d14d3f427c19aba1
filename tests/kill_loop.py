"""Kills the robot's program, the training and the server in their middle, and starts them again.

  python tests/kill_loop.py --workdir=/tmp/kill_loop

plays the loop of a robot in the embedded simulator, over the real socket, at the smallest size.
SIGKILL comes to each of its programs, and the same command follows. It ends with status 1 and a
sentence if an episode that was finished is not as it was, or is not in what is trained on; or if
what was killed does not go on. About three minutes on two cores, in a new directory.
"""

import argparse
from collections.abc import Callable
import contextlib
import functools
import hashlib
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np

from aloe_client import episode_files
from aloe_jax.data import index

ROOT = pathlib.Path(__file__).parents[1]
EXPERIMENT = f'--config={ROOT}/experiments/laundry.py:sim_debug'
QUICK = (
  '--config.sim.task=',  # the robot is outside
  '--config.data.normalization=zscore',
  '--config.data.check_statistics=warn',
  '--config.actor.warm_start_updates=200',
  '--config.actor.updates=200',
  '--config.critic.first_updates=200',
  '--config.train.actor_updates_per_call=5',
  '--config.train.critic_updates_per_call=5',
  '--config.train.save_minutes=0.005',
)
DEMONSTRATIONS, EPISODES = 6, 5  # of the command that follows a kill
SECONDS = 180  # that anything may take


class Program:
  """A command of the project, and all that it has said.

  Args:
    directory: that it runs in, and that has its log.
    command: such as collect.
    options: of it.
  """

  def __init__(self, directory: pathlib.Path, command: str, *options: str):
    self._log = directory / f'{len(list(directory.glob("*.log"))):02d}_{command}.log'
    with self._log.open('w') as log:
      self._process = subprocess.Popen(
        [sys.executable, '-m', f'aloe_jax.{command}', *options],
        cwd=directory, stdout=log, stderr=subprocess.STDOUT,
      )  # fmt: skip
    say(f'{command} {" ".join(options)}')

  @property
  def said(self) -> str:
    return ' '.join(self._log.read_text().split())

  def until(self, condition: Callable[[], object], what: str) -> None:
    """Waits for something that happens while it runs."""
    end = time.monotonic() + SECONDS
    while not condition():
      if self._process.poll() is not None or time.monotonic() > end:
        fail(f'{self._log} does not come to this: {what}')
      time.sleep(0.01)

  def hear(self, pattern: str) -> str:
    """What it says that matches, once it does."""
    self.until(lambda: re.search(pattern, self.said), pattern)
    return re.search(pattern, self.said)[1]

  def kill(self) -> None:
    self._process.send_signal(signal.SIGKILL)
    if self._process.wait() != -signal.SIGKILL:
      fail(f'{self._log}: it had ended before it was killed')
    say('  killed')

  def finish(self) -> str:
    """What it said, once it has ended well."""
    if self._process.wait(SECONDS):
      fail(f'{self._log}: it ended with status {self._process.returncode}')
    return self.said

  def __enter__(self) -> 'Program':
    return self

  def __exit__(self, *error: object) -> None:
    self._process.kill()
    self._process.wait()


class Recordings:
  """A directory of episodes, none of which may change once it is finished."""

  def __init__(self, path: pathlib.Path):
    self.path, self._seen = path, {}

  @property
  def count(self) -> int:
    return len(episode_files.finished(self.path)) if self.path.is_dir() else 0

  @property
  def is_open(self) -> bool:
    """Whether an episode goes on, with steps of it on the disk."""
    steps = self.path.glob(f'{episode_files.OPEN}*/{episode_files.STEPS}')
    return any(path.stat().st_size > 4000 for path in steps)

  def check(self) -> None:
    """Holds what is there against what was there when this was called last."""
    now = {path.name: _digest(path) for path in episode_files.finished(self.path)}
    for name, digest in self._seen.items():
      if now.get(name) != digest:
        fail(f'{self.path / name} was finished, and is not what it was')
    self._seen = now
    say(f'  {len(now)} episodes are whole in {self.path.name}')

  def check_import(self, data: pathlib.Path) -> None:
    """Every episode's executed actions are in a dataset, in their order."""
    found = index.load(data, {})
    recorded = [episode_files.read(path) for path in episode_files.finished(self.path)]
    expected = np.concatenate([episode.column('executed') for episode in recorded])
    lengths = [len(episode.steps) for episode in recorded]
    if np.diff(found.boundaries).tolist() != lengths:
      fail(f'{data}: found {np.diff(found.boundaries)} steps, expected {lengths}')
    np.testing.assert_array_equal(np.asarray(found.action), expected)
    say(f'  {len(recorded)} episodes, {len(expected)} steps are in data/{self.path.name}')


def collect_twice(directory: pathlib.Path, name: str, episodes: int, *options: str) -> Recordings:
  """Kills the robot's program in an episode, starts it anew, and imports what there is."""
  recordings = Recordings(directory / 'recordings' / name)
  command = ('collect', EXPERIMENT, f'--to=recordings/{name}', f'--episodes={episodes}', *options)
  with Program(directory, *command) as robot:
    robot.until(lambda: recordings.count > 1 and recordings.is_open, 'an episode after two')
    robot.kill()
  recordings.check()
  kept = recordings.count
  with Program(directory, *command) as robot:
    said = robot.finish()
  recordings.check()
  was_open = said.count('was open when the program ended')  # one may just have been ended
  if not was_open or recordings.count != kept + was_open + episodes:
    there = f'{kept}, {was_open} that were open and {episodes}'
    fail(f'{name}: found {recordings.count} episodes, expected {there}: {said}')
  return recordings


def bring_home(directory: pathlib.Path, recordings: Recordings) -> None:
  """Imports episodes, and looks whether each is there."""
  name = recordings.path.name
  options = (f'recordings/{name}', '--from=recorder', f'--to=data/{name}/1.0.0', '--name=collected')
  with Program(directory, 'data', 'import', *options) as program:
    program.finish()
  recordings.check_import(directory / 'data' / name / '1.0.0')


def train(directory: pathlib.Path, rounds: dict[str, int], iterations: int) -> str:
  """Kills a training in each of its phases, and starts it anew; all that it said."""
  named = ', '.join(f"'data/{name}/1.0.0'" for name in rounds)
  flags = [f'--config.data.episodes=({named},)', f'--config.iterations={iterations}']
  if not iterations:
    flags += [EXPERIMENT, *QUICK]
  command = ('train', *flags, '--workdir=run')
  told, saves = [], directory / 'run' / 'unfinished'
  for number in (1, 2) if iterations else (0,):
    saved = functools.partial(lambda of: [*saves.glob(of)], f'{number}-*')
    with Program(directory, *command) as training:
      training.until(saved, f'a save of phase {number}')
      training.kill()
      told.append(training.said)
  with Program(directory, *command) as training:
    told.append(training.finish())
  for said in told[1:]:
    if 'goes on after' not in said:
      fail(f'the training did not go on where it was: {said}')
  return ' '.join(told)


def served(directory: pathlib.Path, port: int) -> Program:
  options = ('--workdir=run', '--robot=simulator', f'--port={port}', '--max_batch=1')
  return Program(directory, 'serve', *options, '--reload_seconds=1')


def lose_server(directory: pathlib.Path, port: int, recordings: Recordings) -> None:
  """Kills the server under the robot, and starts it anew while the robot waits."""
  url = f'--server=ws://127.0.0.1:{port}'
  name, before = recordings.path.name, recordings.count
  with contextlib.ExitStack() as stack:
    server = stack.enter_context(served(directory, port))
    server.hear('(Ready): ')
    command = ('collect', EXPERIMENT, f'--to=recordings/{name}', f'--episodes={EPISODES}', url)
    robot = stack.enter_context(Program(directory, *command, '--human=none'))
    robot.until(lambda: recordings.count > before + 1 and recordings.is_open, 'an episode')
    server.kill()
    recordings.check()
    robot.hear('(the robot holds)')
    robot.hear('(The episode is a cut. The next one waits for the server)')
    stack.enter_context(served(directory, port))
    said = robot.finish()
  recordings.check()
  if 'The server answers again.' not in said or recordings.count < before + EPISODES + 1:
    fail(f'found {recordings.count} episodes after {before} and {EPISODES} and a cut: {said}')


def main() -> None:
  """Plays the loop, and kills."""
  parser = argparse.ArgumentParser(description='Kills each program of the loop in its middle.')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  directory = parser.parse_args().workdir.absolute()
  directory.mkdir(parents=True)
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]

  shown = collect_twice(directory, 'demonstrations', DEMONSTRATIONS, '--human=demonstrating')
  bring_home(directory, shown)
  train(directory, {'demonstrations': shown.count}, 0)
  with served(directory, port) as server:
    server.hear('(Ready): ')
    url = f'--server=ws://127.0.0.1:{port}'
    played = collect_twice(directory, 'round_1', EPISODES, url)
  lose_server(directory, port, played)
  bring_home(directory, played)
  rounds = {'demonstrations': shown.count, 'round_1': played.count}
  with served(directory, port) as server:
    server.hear('(Ready): ')
    said = train(directory, rounds, 1)
    server.hear('run/checkpoints/(2) answers')
  joined = f'{played.count} new episodes of round_1/1.0.0 join {shown.count}'
  if joined not in said:
    fail(f'the training does not say "{joined}": {said}')
  say(f'{joined}. Nothing was lost.')


def _digest(path: pathlib.Path) -> str:
  content = hashlib.sha256()
  for file in sorted(path.iterdir()):
    content.update(file.name.encode() + file.read_bytes())
  return content.hexdigest()


def say(line: str) -> None:
  print(f'{time.strftime("%H:%M:%S")} {line}', flush=True)


def fail(line: str) -> None:
  sys.exit(f'error: {line}')


if __name__ == '__main__':
  main()
