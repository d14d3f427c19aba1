"""Many runs of commands, side by side on the cores of one machine; none is repeated."""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from aloe_jax import files
from aloe_jax import progress
from aloe_jax.run import lock

_ADVICE = 'remove it, and its commands go on where they ended.'
_COMMIT_LENGTH = 12
_LOCK = 'job.lock'  # of a job's directory, held while its commands run
_LAST_WORDS = 500  # characters of a log that are told of a job that failed
PACKAGES = ('jax', 'jaxlib', 'numpy', 'mujoco', 'ogbench', 'metaworld', 'gym-aloha')


@dataclasses.dataclass(frozen=True)
class Job:
  """Commands that are run one after the other.

  Attributes:
    name: of the job.
    directory: that keeps its log and, once all commands have ended well, `job.json`.
    commands: arguments of Python each; every one goes on where it was stopped.
    needs: names of the jobs that have to be finished before.
  """

  name: str
  directory: pathlib.Path
  commands: tuple[tuple[str, ...], ...]
  needs: tuple[str, ...] = ()

  @property
  def log(self) -> pathlib.Path:
    """What the commands print."""
    return self.directory / 'log.txt'

  @property
  def record(self) -> pathlib.Path:
    """Commands, commit, seconds and machine, of a finished job."""
    return self.directory / 'job.json'

  @property
  def spent(self) -> pathlib.Path:
    """Seconds and commits of a job that was stopped."""
    return self.directory / 'spent.json'

  @property
  def is_finished(self) -> bool:
    """Whether these very commands have ended well, alone or among others."""
    if not self.record.exists():
      return False
    ended = files.read_json(self.record, _ADVICE)
    if not isinstance(ended, dict) or not isinstance(ended.get('commands'), list):
      raise ValueError(f'{self.record}: found no list of commands, expected one; {_ADVICE}')
    return all(list(command) in ended['commands'] for command in self.commands)


def run(
  jobs: Sequence[Job],
  *,
  workers: int,
  compiled: pathlib.Path,
  ended: Callable[[Job], None] = lambda job: None,
) -> list[str]:
  """Runs what is not finished, each worker on its own share of the cores.

  Args:
    jobs: in the order wanted; what a job needs stands before it.
    workers: jobs at a time.
    compiled: directory of JAX's compilation cache, which the jobs share.
    ended: told of every job that was run and ended well, as soon as it has; one that it cannot
      take, by an OSError or a ValueError, has failed.

  Returns:
    Names of the jobs that failed or that need one which did.

  Raises:
    SystemExit: interrupted or terminated, as which it ends the commands that are running.
  """
  shares: queue.SimpleQueue[set[int] | None] = queue.SimpleQueue()
  for share in _shares(workers):
    shares.put(share)
  failed: list[str] = []
  running: dict[str, futures.Future] = {}
  by_name = {job.name: job for job in jobs}
  waiting = [job for job in jobs if not job.is_finished]
  finished = {job.name for job in jobs} - {job.name for job in waiting}
  processes = _Processes()
  with (
    futures.ThreadPoolExecutor(workers) as pool,
    progress.bar('Jobs', len(jobs), 'jobs') as advance,
    _interruptible(processes, lambda: f'{len(finished)} of {len(jobs)} jobs are finished'),
  ):
    advance(len(finished))
    while waiting or running:
      for job in list(waiting):
        if any(need in failed for need in job.needs):
          waiting.remove(job)
          failed.append(job.name)
          needs = ', '.join(job.needs)
          progress.CONSOLE.print(f'{job.name}: left out, as {needs} did not come to its end here.')
        elif len(running) < workers and finished.issuperset(job.needs):
          waiting.remove(job)
          running[job.name] = pool.submit(_run, job, shares, compiled, processes)
      futures.wait(running.values(), return_when=futures.FIRST_COMPLETED)
      for name in [name for name, future in running.items() if future.done()]:
        try:
          seconds = running.pop(name).result()
          ended(by_name[name])
          finished.add(name)
          progress.CONSOLE.print(f'{name}: finished in {seconds:.0f} s', highlight=False)
        except (subprocess.CalledProcessError, OSError, ValueError) as error:
          failed.append(name)
          told = f'{name}: {error}'
          if isinstance(error, subprocess.CalledProcessError):
            told += _last_words(by_name[name].log)
          progress.CONSOLE.print(told, highlight=False, soft_wrap=True, markup=False)
        advance(len(finished) + len(failed))
  return failed


class _Processes:
  """Commands that run now, and that can all be ended."""

  def __init__(self) -> None:
    self._lock = threading.Lock()
    self._live: set[subprocess.Popen] = set()
    self._ending = False

  def call(self, command: Sequence[str], **options: Any) -> int:
    """Runs a command to its end; its exit status."""
    with self._lock:
      if self._ending:
        return -signal.SIGTERM
      process = subprocess.Popen(command, **options)
      self._live.add(process)
    status = process.wait()
    with self._lock:
      self._live.discard(process)
    return status

  def end(self) -> None:
    """Terminates what runs, and starts nothing any more."""
    with self._lock:
      self._ending = True
      for process in self._live:
        process.terminate()


@contextlib.contextmanager
def _interruptible(processes: _Processes, state: Callable[[], str]) -> Iterator[None]:
  """Ctrl-C and SIGTERM end the commands first, and then the program with a message."""
  terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    yield
  except KeyboardInterrupt:
    processes.end()
    sys.exit(f'Stopped: {state()}; the same command goes on from there.')
  finally:
    signal.signal(signal.SIGTERM, terminated)


def _shares(workers: int) -> list[set[int] | None]:
  """Cores for each worker; None where the system does not let one choose."""
  if not hasattr(os, 'sched_getaffinity'):
    return [None] * workers
  cores = sorted(os.sched_getaffinity(0))
  if workers > len(cores):
    return [None] * workers
  return [set(cores[worker::workers]) for worker in range(workers)]


def _run(
  job: Job, shares: queue.SimpleQueue, compiled: pathlib.Path, processes: _Processes
) -> float:
  """Runs a job's commands; a process has the cores of the thread that starts it.

  Returns:
    Seconds, those before it was stopped among them.

  Raises:
    FileExistsError: another process runs them.
    ValueError: what another process has left is damaged.
    subprocess.CalledProcessError: one of them failed.
  """
  share = shares.get()
  try:
    if share is not None:
      os.sched_setaffinity(0, share)
    with lock.held(job.directory, _LOCK) as descriptor:
      if not job.is_finished:  # by another process meanwhile
        _call(job, compiled, processes, () if descriptor is None else (descriptor,))
  finally:
    shares.put(share)
  seconds = files.read_json(job.record, _ADVICE).get('seconds')
  if not isinstance(seconds, int | float):
    raise ValueError(f'{job.record}: found {seconds!r} seconds, expected a number; {_ADVICE}')
  return float(seconds)


def _call(job: Job, compiled: pathlib.Path, processes: _Processes, locks: tuple[int, ...]) -> None:
  """Runs a job's commands here and now, and records them; they hold its locks too."""
  before = _spent(job)
  start, where = time.monotonic(), machine()
  try:
    environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': str(compiled.absolute())}
    for command in job.commands:
      with job.log.open('a') as log:
        print('$ python', shlex.join(command), file=log, flush=True)
        status = processes.call(
          [sys.executable, *command],
          stdout=log,
          stderr=subprocess.STDOUT,
          env=environment,
          pass_fds=locks,
        )
      if status:
        raise subprocess.CalledProcessError(status, f'python {shlex.join(command)} (see {job.log})')
  finally:
    spent = {
      'seconds': round(before['seconds'] + time.monotonic() - start, 1),
      'commits': list(dict.fromkeys([*before['commits'], commit()])),
    }
    files.write_text(job.spent, json.dumps(spent))
  record = {
    'commands': job.commands,
    'commit': ' and '.join(spent['commits']),
    'seconds': spent['seconds'],
    'machine': where,
  }
  files.write_text(job.record, json.dumps(record, indent=2))
  job.spent.unlink()


def _last_words(log: pathlib.Path) -> str:
  """The message at the end of a log, indented; '' where the last command has said nothing."""
  text = log.read_text(errors='replace') if log.is_file() else ''
  lines = [line for line in text.splitlines() if line.strip()]
  starts = [number for number, line in enumerate(lines) if not line.startswith(' ')]
  message = lines[starts[-1] :] if starts else []
  if not message or message[0].startswith('$ python '):
    return ''
  words = '\n  '.join(message)
  return '\n  ' + (words if len(words) <= _LAST_WORDS else f'{words[:_LAST_WORDS]} ...')


def _spent(job: Job) -> dict[str, Any]:
  """What a job has taken already that was stopped: 'seconds', and the 'commits' it ran by."""
  if not job.spent.exists():
    return {'seconds': 0.0, 'commits': []}
  advice = 'remove it; the time before the stop is not counted then.'
  found = files.read_json(job.spent, advice)
  lacks = [
    name for name in ('seconds', 'commits') if not isinstance(found, dict) or name not in found
  ]
  if lacks:
    raise ValueError(f'{job.spent}: found no {", ".join(lacks)}, expected both; {advice}')
  return found


def commit() -> str:
  """The commit of the code that runs, '' outside a repository.

  It ends in '-dirty' where files of it were changed, results aside: runs leave those behind.
  """
  if not (found := _git('describe', '--always', f'--abbrev={_COMMIT_LENGTH}', '--exclude=*')):
    return ''
  changed = _git('status', '--porcelain', '-uno', '--', ':(top)', ':(top,exclude)docs/results')
  return f'{found}-dirty' if changed else found


def _git(*command: str) -> str:
  """What git prints in this repository, '' outside of one."""
  here = pathlib.Path(__file__).parent
  return subprocess.run(['git', *command], capture_output=True, text=True, cwd=here).stdout.strip()


def machine() -> dict[str, Any]:
  """What the results of this process may depend on.

  Returns:
    'processor', 'cores' that it may use, 'accelerators', and 'packages': {name: version} of those
    that are here.
  """
  packages = {}
  for name in PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      packages[name] = importlib.metadata.version(name)
  affinity = getattr(os, 'sched_getaffinity', None)
  return {
    'processor': _processor(),
    'cores': len(affinity(0)) if affinity else os.cpu_count(),
    'accelerators': _accelerators(),
    'packages': packages,
  }


def _processor() -> str:
  about = pathlib.Path('/proc/cpuinfo')
  text = about.read_text(errors='replace') if about.exists() else ''
  named = re.search(r'^model name\s*:\s*(.+?)\s*$', text, re.MULTILINE)
  return named.group(1) if named else platform.processor() or platform.machine()


def _accelerators() -> list[str]:
  """Names of NVIDIA's cards; asking JAX would take hold of them."""
  if not shutil.which('nvidia-smi'):
    return []
  asked = ['nvidia-smi', '--query-gpu=name', '--format=csv,noheader']
  return subprocess.run(asked, capture_output=True, text=True).stdout.split('\n')[:-1]
