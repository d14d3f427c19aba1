"""The whole loop of a robot, by its commands: demonstrate, imitate, serve, collect, learn, collect.

  python tests/loop.py --workdir=/tmp/loop

plays the robot in the embedded simulator, over the real socket, with a scripted human who takes
over. It ends with status 1 unless the report shows that the policy of the second round did better
by itself than that of the first. About a quarter of an hour on two cores; a second call goes on
after what is there.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
_SCENES = 1000  # of both rounds: the policies are compared in the same scenes


class Loop:
  """The commands, run in one directory."""

  def __init__(self, directory: pathlib.Path, experiment: str, speed: float, *more: str):
    self._directory = directory
    self._experiment, self._more = f'{ROOT}/experiments/{experiment}', more
    self._speed = speed

  def collect(self, name: str, episodes: int, *options: str) -> None:
    """Records episodes, and imports them, unless they are there."""
    data = self._directory / 'data' / name
    if not data.exists():
      recorded = self._directory / 'recordings' / name
      missing = episodes - len([*recorded.glob('[0-9]*')])
      if missing > 0:
        self._run(
          'collect', f'--config={self._experiment}', f'--to=recordings/{name}',
          f'--episodes={missing}', *options,
        )  # fmt: skip
      self._run(
        'data', 'import', f'recordings/{name}', '--from=recorder', f'--to=data/{name}/1.0.0',
        '--name=collected',
      )  # fmt: skip

  def train(self, *rounds: str, iterations: int) -> None:
    """Trains on rounds of episodes."""
    if (self._directory / 'run' / 'checkpoints' / str(2 * iterations)).exists():
      return
    self._run('train', *self._config(*rounds), f'--config.iterations={iterations}')

  def served(self) -> subprocess.Popen:
    """The server of the run, once it answers."""
    server = subprocess.Popen(
      self._command('serve', '--workdir=run', '--robot=simulator', '--port=0', '--max_batch=1',
                    '--reload_seconds=2'),
      cwd=self._directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    self.url = _heard(server, r'Ready: (\S+) answers')
    return server

  def report(self, *rounds: str) -> dict:
    """The numbers of the report."""
    self._run('report', '--workdir=run', *[f'--episodes=data/{name}/1.0.0' for name in rounds])
    return json.loads((self._directory / 'run' / 'report.json').read_text())

  def rounds_flags(self) -> tuple[str, ...]:
    return f'--server={self.url}', f'--speed={self._speed}', f'--seed={_SCENES}'

  def _config(self, *rounds: str) -> list[str]:
    named = ', '.join(f"'data/{name}/1.0.0'" for name in rounds)
    flags = [f'--config.data.episodes=({named},)', '--workdir=run']
    if not (self._directory / 'run').exists():
      flags += [f'--config={self._experiment}', '--config.sim.task=', *self._more]
    return flags

  def _command(self, name: str, *options: str) -> list[str]:
    return [sys.executable, '-m', f'aloe_jax.{name}', *options]

  def _run(self, name: str, *options: str) -> None:
    print(f'{time.strftime("%H:%M:%S")} {name} {" ".join(options)}', flush=True)
    subprocess.run(self._command(name, *options), cwd=self._directory, check=True)


def _heard(process: subprocess.Popen, pattern: str) -> str:
  """What a process says that matches, once it does."""
  for line in process.stdout:
    print(line, end='', flush=True)
    if match := re.search(pattern, line):
      return match[1]
  sys.exit('error: the server ended.')


def main() -> None:
  """Plays the loop."""
  parser = argparse.ArgumentParser(description='Plays the loop of a robot by its commands.')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--experiment', default='laundry.py:sim')
  parser.add_argument('--demonstrations', type=int, default=150)
  parser.add_argument('--episodes', type=int, default=100, help='of each round')
  parser.add_argument('--speed', type=float, default=2.0, help='of the robot; 1 is real time')
  given, more = parser.parse_known_args()
  given.workdir.mkdir(parents=True, exist_ok=True)
  loop = Loop(given.workdir.absolute(), given.experiment, given.speed, *more)

  loop.collect('demonstrations', given.demonstrations, '--human=demonstrating')
  loop.train('demonstrations', iterations=0)
  with loop.served() as server:
    try:
      loop.collect('round_1', given.episodes, *loop.rounds_flags())
      loop.train('demonstrations', 'round_1', iterations=1)
      _heard(server, r'run/checkpoints/(2) answers')
      loop.collect('round_2', given.episodes, *loop.rounds_flags())
    finally:
      server.terminate()
  found = loop.report('round_2')
  steps = sorted(int(m[1]) for key in found if (m := re.match(r'deployed_(\d+)_episodes', key)))
  rates = [found[f'deployed_{step}_success_rate'] for step in steps]
  told = [f'{100 * rate:.0f} % at {step}' for step, rate in zip(steps, rates, strict=True)]
  print(f'By itself: {", ".join(told)}')
  sys.exit(rates != sorted(rates) or rates[0] == rates[-1])


if __name__ == '__main__':
  main()
