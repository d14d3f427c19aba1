"""The blocks of commands and of Python in the README and in docs/, run as a reader would.

  python tests/documented.py --workdir=runs/documented

runs all of them at the smallest size, in one directory and in the order of `PAGES`, so that later
ones find what earlier ones left; it takes about ten minutes. `documented_test.py` checks the
options of all and runs a few. What cannot be run is in `NOT_RUN`, with the reason.
"""

import argparse
from collections.abc import Iterator, Sequence
import dataclasses
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import lerobot_files
import numpy as np
from PIL import Image
import robot
import robot_clock

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (  # in this order: what reads a run comes after what makes it
  'README.md',
  'docs/run.md',
  'docs/data.md',
  'docs/public_datasets.md',
  'docs/pi05.md',
  'docs/robot.md',
  'docs/library.md',
  'docs/ended_chunks.md',
  'docs/measured_weights.md',
  'docs/planning_anew.md',
  'docs/report.md',
  'docs/simulators.md',
  'docs/speed.md',
  'docs/many_devices.md',
  'docs/buckets.md',
  'docs/serving.md',
  'docs/dry_run.md',
  'docs/adding_an_algorithm.md',
  'docs/adding_an_importer.md',
  'docs/adding_a_robot.md',
  'docs/metrics.md',
  'docs/glossary.md',
  'CONTRIBUTING.md',
)
NOT_RUN = {  # what a command begins with: why it is not run
  'python3 -m venv': 'makes an environment: .ci/run makes one like it',
  '. .venv/bin/activate': 'enters an environment',
  '. .venv_mujoco3/bin/activate': 'enters another',
  'pip install': 'installs packages: .ci/run does',
  'gcloud storage cp': 'downloads 12 GB',
  'curl': 'downloads a file',
  'python -m aloe_jax.train --config=experiments/laundry.py --workdir=runs/laundry --dry_run': (
    'compiles for half an hour: dry_run_test is about it'
  ),
  'python -m aloe_jax.train --config=experiments/metaworld.py': (
    'needs a package that asks for an older MuJoCo: metaworld_test is about it'
  ),
  'python -m aloe_jax.train --config=experiments/gym_aloha.py': (
    'needs a package that asks for an older MuJoCo: gym_aloha_test is about it'
  ),
  'python -m experiments.': 'takes hours: comparison_test and jobs_test are about it',
  'python -m aloe_jax.serve': 'serves until it is stopped: the tests of serving are about it',
  'python -m aloe_jax.collect': 'asks a server that runs meanwhile: loop.py is about it',
  'export ALOE_API_KEY': 'is read by the command after it',
  'cat pi05_laundry/openpi_config.py': 'is done where openpi is installed',
  'uv run scripts/serve_policy.py': "is openpi's",
  'python -m pytest': 'runs the tests: .ci/run does',
  'ruff check': 'checks the code: .ci/run does',
  'ruff format': 'checks the code: .ci/run does',
  'mypy': 'checks the code: .ci/run does',
  'mkdocs build': 'builds the site: .ci/run does',
  'tensorboard': 'serves until it is stopped: metrics_test reads what it shows',
  'wandb': 'sends to an account',
  'python tests/documented.py': 'is this',
}

_BLOCK = re.compile(r'^( *)```(\w*)\n(.*?)^\1```', re.DOTALL | re.MULTILINE)
_ROBOT = (  # of the recordings made below, instead of a bimanual robot's
  '--config.sim.task=',
  '--config.task.delta=(7, -1)',
)
_LATER = ('round_2', 'held_out')  # recordings that pages only train on or judge by
_SMALL = {  # what a command begins with: options that make it small
  'python -m aloe_jax.data stats': ('--chunk=8',),
  'python -m aloe_jax.report': ('--count=4',),
  'python -m benchmarks.paired': ('--rounds=2',),
  'python -m benchmarks.train_step': ('--updates=2', '--rounds=1'),
  'python -m benchmarks.data': ('--episodes=4', '--steps=60', '--rounds=1', '--seconds=0.1'),
}


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block of a page.

  Attributes:
    page: path from the root of the repository.
    line: of the page where it begins.
    language: 'sh', 'python' and so on.
    text: without indentation.
  """

  page: str
  line: int
  language: str
  text: str

  @property
  def where(self) -> str:
    return f'{self.page}:{self.line}'


def blocks(page: str, language: str) -> list[Block]:
  """The blocks of a page that are in this language; none if there is no such page."""
  path = ROOT / page
  source = path.read_text(encoding='utf-8') if path.exists() else ''
  found = []
  for match in _BLOCK.finditer(source):
    if match[2] == language:
      indent = len(match[1])
      text = '\n'.join(line[indent:] for line in match[3].splitlines())
      found.append(Block(page, source[: match.start()].count('\n') + 1, language, text))
  return found


def commands(block: Block) -> list[str]:
  """The commands of a block, one line each, without comments."""
  lines = block.text.replace('\\\n', ' ').splitlines()
  found = []
  for line in lines:
    line = re.sub(r'(^|\s)#.*', '', line)
    found += [' '.join(part.split()) for part in line.split('&&')]
  return [command for command in found if command]


def documented() -> list[tuple[str, str]]:
  """(where, command) of all commands that are to be run, each once."""
  found: dict[str, str] = {}
  for page in PAGES:
    for block in blocks(page, 'sh'):
      for command in commands(block):
        if reason(command) is None:
          found.setdefault(command, block.where)
  return [(where, command) for command, where in found.items()]


def reason(command: str) -> str | None:
  """Why a command is not run, or None if it is."""
  return next((why for begins, why in NOT_RUN.items() if command.startswith(begins)), None)


def split(command: str) -> tuple[dict[str, str], list[str]]:
  """Variables of the environment that a command begins with, and its words."""
  words = shlex.split(command)
  count = next(i for i, word in enumerate(words) if not re.match(r'[A-Z_]+=', word))
  return dict(word.split('=', 1) for word in words[:count]), words[count:]


def small(words: Sequence[str]) -> list[str]:
  """The same command on the smallest networks, and on the recordings of `bring_recordings`."""
  found = []
  for word in words:
    if re.fullmatch(r'--config=experiments/\w+\.py', word):
      found += [f'{word}:debug', *(() if '--flops_only' in words else _ROBOT)]
      continue
    word = re.sub(r'(--config=.*):sim$', r'\1:sim_debug', word)
    word = re.sub(r'(--config=.*ogbench\.py:\w+)$', r'\1_debug', word)
    word = word.replace('paligemma_tokenizer.model', 'words')
    found.append(word.replace('checkpoints/6', 'checkpoints/2'))  # of one iteration
  line = ' '.join(found).replace('--delta 6 -1 6 -1', '--delta 7 -1')
  found = found if line == ' '.join(found) else line.split(' ')
  for begins, options in _SMALL.items():
    if line.startswith(begins):
      names = {option.partition('=')[0] for option in options}
      found = [word for word in found if word.partition('=')[0] not in names]
      found += options
  return found


def run(command: str, directory: pathlib.Path, **more: str) -> subprocess.CompletedProcess:
  """Runs a command small, in a directory that `bring` has prepared."""
  variables, words = split(command)
  words = [sys.executable if word == 'python' else word for word in small(words)]
  return subprocess.run(
    words, cwd=directory, env=environment(**variables, **more), capture_output=True, text=True
  )


def environment(**more: str) -> dict[str, str]:
  """Of the processes that are started."""
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "aloe_jax" / "client"}',
    **more,
  }


def bring(directory: pathlib.Path) -> None:
  """What readers have where they start commands: the experiments, and files they are told."""
  directory.mkdir(parents=True, exist_ok=True)
  (directory / 'experiments').symlink_to(ROOT / 'experiments')
  for page in PAGES:
    for block in blocks(page, 'python'):
      if (named := file(block)) is not None:
        (directory / named).write_text(block.text, encoding='utf-8')


def file(block: Block) -> str | None:
  """The file that a block of Python is, as its first line says; None if it is to be run."""
  match = re.match(r'# (\w+\.py)\n', block.text)
  return match and match[1]


def bring_recordings(directory: pathlib.Path) -> None:
  """What a robot team has recorded: demonstrations, rounds, and one held out."""
  (directory / 'recordings').mkdir()
  lerobot_files.write_v2(directory / 'recordings/demonstrations', 'image')
  for name in ('round_1', *_LATER):
    for episode in range(4):
      rng = np.random.default_rng((len(name), episode))
      _write_plain(directory / 'recordings' / name / f'{episode:04d}', rng)
  _record(directory / 'recordings/robot')


def _record(directory: pathlib.Path) -> None:
  """Two episodes of a robot's recorder: a person takes over in both."""
  recorder, clock, _ = robot_clock.recorder(directory)
  for end in ('success', 'failure'):
    robot_clock.play(recorder, clock, 8)
    recorder.takeover(lambda observation: observation['state'])
    robot_clock.play(recorder, clock, 4, start=8)
    recorder.end(end)
  recorder.close()


def _bring_data(directory: pathlib.Path) -> None:
  """A π0.5, and what is imported on no page."""
  robot.write_checkpoint(directory / 'pi05_base')
  for name in _LATER:
    done = run(
      f'python -m aloe_jax.data import recordings/{name} --from=plain --to=data/{name}/1.0.0 '
      '--name=fold_laundry --source=policy',
      directory,
    )
    if done.returncode:
      sys.exit(done.stderr)


def _write_plain(folder: pathlib.Path, rng: np.random.Generator) -> None:
  """An episode of 12 steps; every other one fails."""
  for camera in ('head', 'left_wrist'):
    (folder / camera).mkdir(parents=True)
    for t in range(12):
      pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
      buffer = io.BytesIO()
      Image.fromarray(pixels).save(buffer, 'jpeg')
      (folder / camera / f'{t:06d}.jpg').write_bytes(buffer.getvalue())
  state = rng.normal(size=(12, 8))
  np.save(folder / 'state.npy', state)
  np.save(folder / 'action.npy', state + 0.1 * rng.normal(size=(12, 8)))
  told = {'prompt': 'fold the towel', 'success': int(folder.name) % 2 == 0}
  (folder / 'episode.json').write_text(json.dumps(told))


def _run_all(directory: pathlib.Path) -> Iterator[tuple[str, str, float, str]]:
  """Yields where, what, seconds and the error or '' of every block that is run."""
  bring(directory)
  bring_recordings(directory)
  _bring_data(directory)
  by_block = {where: [] for where, _ in documented()}
  for where, command in documented():
    by_block[where].append(command)
  for page in PAGES:
    for block in sorted(blocks(page, 'sh') + blocks(page, 'python'), key=lambda b: b.line):
      if block.language == 'python' and file(block) is None:
        yield _timed(block.where, 'python', [sys.executable, '-c', block.text], directory)
      for command in by_block.get(block.where, ()):
        yield _timed(block.where, command, command, directory)


def _timed(where: str, what: str, command, directory: pathlib.Path):
  start = time.monotonic()
  if isinstance(command, str):
    done = run(command, directory)
  else:
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True)
  error = done.stderr.strip() or done.stdout.strip() or f'status {done.returncode}'
  return where, what, time.monotonic() - start, error if done.returncode else ''


def main() -> None:
  """Runs all, and says what failed; status 1 if anything did."""
  parser = argparse.ArgumentParser(description='Runs the commands that the docs tell.')
  parser.add_argument('--workdir', type=pathlib.Path, required=True, help='a new directory')
  directory = parser.parse_args().workdir.absolute()
  if directory.exists():
    sys.exit(f'error: {directory} exists already; remove it or name another --workdir.')
  failed = 0
  for where, what, seconds, error in _run_all(directory):
    failed += bool(error)
    print(f'{"FAILED" if error else "ran":6} {seconds:5.0f} s  {where}  {what}', flush=True)
    if error:
      print(error, flush=True)
  print(f'{failed} failed.' if failed else 'All ran.')
  sys.exit(failed > 0)


if __name__ == '__main__':
  main()
