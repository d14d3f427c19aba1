"""One run on many hosts: the same command on each, whose processes find each other before all else.

On Cloud TPU, GKE and Slurm they are found; elsewhere three options say who they are. On a single
machine nothing happens here.
"""

import argparse
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
import re
import socket
import sys
import threading
import warnings

from absl import logging
import jax
from jax._src import clusters  # whether there is one is told nowhere else

from aloe_jax import progress
from aloe_jax.parallel import hosts
from aloe_jax.parallel import watch

JOIN_SECONDS = 300
_MARGIN_SECONDS = 30  # by which JAX's own limit is later: it ends the process with a stack trace
_HOW = '--coordinator=HOST:PORT --processes=N --process=I'


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a process stands among those of its run.

  Attributes:
    processes: how many there are.
    process: which one this is.
    coordinator: 'host:port' where process 0 answers; None where JAX finds it.
    found: what told it: 'the command line', or the kind of cluster.
  """

  processes: int
  process: int
  coordinator: str | None
  found: str


def add_options(parser: argparse.ArgumentParser) -> None:
  """Adds what says how a command's processes find each other."""
  group = parser.add_argument_group('many hosts (found by themselves on Cloud TPU, GKE and Slurm)')
  group.add_argument('--coordinator', metavar='HOST:PORT', help='where process 0 is to answer')
  group.add_argument('--processes', type=int, metavar='N', help='how many there are')
  group.add_argument('--process', type=int, metavar='I', help='which this is, 0 to N-1')
  group.add_argument(
    '--join_seconds', type=_seconds, default=JOIN_SECONDS, metavar='S',
    help='to wait at the start for all to come (default %(default)s)',
  )  # fmt: skip
  group.add_argument(
    '--wait_seconds', type=_seconds, default=int(hosts.LIMIT_SECONDS), metavar='S',
    help='to wait later for the last to finish its share (default %(default)s)',
  )  # fmt: skip


def _seconds(text: str) -> int:
  if not text.isdecimal() or int(text) == 0:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected a whole number of seconds.')
  return int(text)


def join(options: argparse.Namespace) -> None:
  """Joins the processes of a command, before any device is touched.

  Args:
    options: of the command, see `add_options`.

  Raises:
    ValueError: the options are not all there, or say something else than the cluster.
  """
  place = find(options.coordinator, options.processes, options.process)
  if place is None:
    return
  hosts.set_limit(options.wait_seconds)
  if place.process > 0:
    progress.CONSOLE.quiet = True  # one process speaks
    logging.set_verbosity(logging.ERROR)
  explicit = {}
  if place.coordinator is not None:
    explicit = dict(
      coordinator_address=place.coordinator,
      num_processes=place.processes,
      process_id=place.process,
      cluster_detection_method='deactivate',
    )
  with _limit(place, options.join_seconds):
    jax.distributed.initialize(
      **explicit, initialization_timeout=options.join_seconds + _MARGIN_SECONDS
    )
  watch.begin()
  progress.CONSOLE.print(f'Joined {place.processes} processes, by {place.found}.', highlight=False)


def find(coordinator: str | None, processes: int | None, process: int | None) -> Place | None:
  """Where this process stands; None where it is alone. Raises what `join` does."""
  if processes == 1 and process in (None, 0):
    return None
  detected = _detected()
  if coordinator is None and processes is None and process is None:
    return detected if detected is not None and detected.processes > 1 else None
  if coordinator is None or processes is None or process is None:
    given = {'--coordinator': coordinator, '--processes': processes, '--process': process}
    lacks = [name for name, value in given.items() if value is None]
    raise ValueError(f'{" and ".join(lacks)} missing; expected all of {_HOW}, or none of them.')
  if not re.fullmatch(r'\S+:\d+', coordinator):
    raise ValueError(f'--coordinator: found {coordinator!r}, expected HOST:PORT of process 0.')
  if not 0 <= process < processes:
    raise ValueError(
      f'--process is {process} and --processes {processes}; expected 0 to {processes - 1}.'
    )
  if detected is not None and (detected.processes, detected.process) != (processes, process):
    raise ValueError(
      f'--process={process} of --processes={processes} is not what {detected.found} says: process '
      f'{detected.process} of {detected.processes}. Leave {_HOW} out, or start it outside of it.'
    )
  return Place(processes, process, coordinator, 'the command line')


def _detected() -> Place | None:
  """What JAX finds of a cluster, without joining it."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # in any container of Kubernetes, of a package it would like
    kinds = [kind for kind in clusters.ClusterEnv._cluster_types if not kind.opt_in_only_method]
    kind = next((kind for kind in kinds if kind.is_env_present()), None)
  if kind is None:
    tasks = int(os.environ.get('SLURM_NTASKS') or 1)
    if tasks > 1 and 'SLURM_STEP_NODELIST' not in os.environ:
      raise ValueError(
        f'Slurm gave this job {tasks} tasks (SLURM_NTASKS), but this process was not started by '
        'srun, so that it would train alone; start it with srun, or give --processes=1.'
      )
    return None
  place = Place(kind.get_process_count(), kind.get_process_id(), None, kind.name or kind.__name__)
  alone_on_node = re.fullmatch(r'1(\(x\d+\))?', os.environ.get('SLURM_STEP_TASKS_PER_NODE', ''))
  if kind.name == 'slurm' and alone_on_node and place.processes > 1:
    # JAX would give it one device of the node; joined by the address it has all of them.
    address = kind.get_coordinator_address(
      timeout_secs=None, override_coordinator_port=os.environ.get('JAX_COORDINATOR_PORT')
    )
    return dataclasses.replace(place, coordinator=address)
  return place


@contextlib.contextmanager
def _limit(place: Place, seconds: int) -> Iterator[None]:
  """Ends the process with one message where not all of them have come after some time."""
  done = threading.Event()

  def end() -> None:
    if not done.wait(seconds):
      sys.stderr.write(f'error: {_late(place, seconds)}\n')
      sys.stderr.flush()
      os._exit(1)  # JAX waits in a call that nothing else ends

  threading.Thread(target=end, daemon=True).start()
  try:
    yield
  finally:
    done.set()


def _late(place: Place, seconds: int) -> str:
  who = f'process {place.process}: expected {place.processes} processes within {seconds} s'
  advice = 'start the same command on every host; raise --join_seconds if some of them start later.'
  if place.process == 0:
    joined = _joined(place.coordinator)
    there = 'not all have' if joined is None else f'{joined} of {place.processes} have'
    return f'{who}, but {there} joined; {advice}'
  if place.coordinator is not None and not _answers(place.coordinator):
    return f'{who}, but process 0 does not answer at {place.coordinator}; {advice}'
  return f'{who}, but not all have joined; {advice}'


def _joined(coordinator: str | None) -> int | None:
  """How many processes are connected to this one; None where the system does not tell."""
  if coordinator is None:
    return None
  port = f':{int(coordinator.rpartition(":")[2]):04X}'
  try:
    tables = [pathlib.Path(f'/proc/net/{name}').read_text() for name in ('tcp', 'tcp6')]
  except OSError:
    return None
  rows = [line.split() for table in tables for line in table.splitlines()[1:]]
  return sum(row[1].endswith(port) and row[3] == '01' for row in rows)


def _answers(coordinator: str) -> bool:
  host, _, port = coordinator.rpartition(':')
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=5).close()
  except OSError:
    return False
  return True
