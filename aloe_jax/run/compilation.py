"""What is compiled while a command runs: said where it takes long, and why it was not found.

JAX tells when it begins and ends to compile a program and whether its cache had it. Why it had not
it does not tell: beside the cache is noted for which versions and devices each program was
compiled.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import threading
from typing import Any

import jax

from aloe_jax import files
from aloe_jax import progress
from aloe_jax.parallel import hosts
from aloe_jax.run import agreement

SAID_SECONDS = 5.0  # of compiling, or of what was saved by finding a program
NOTES = 'programs'  # in the directory of the cache
_COMPILES = '/jax/core/compile/backend_compile_duration'
_FOUND = '/jax/compilation_cache/cache_hits'
_SAVED = '/jax/compilation_cache/compile_time_saved_sec'
_KEPT = '/jax/compilation_cache/cache_misses'  # which is told where it writes what it lacked


@dataclasses.dataclass
class _Program:
  """One that is being compiled, or looked for.

  Attributes:
    name: of the function.
    timer: says that it takes long.
    handled: the exception that was being handled when it began.
    is_found: whether the cache had it.
    is_kept: whether the cache has taken it.
    saved: seconds that it had taken to compile.
  """

  name: str
  timer: threading.Timer
  handled: BaseException | None
  is_found: bool = False
  is_kept: bool = False
  saved: float = 0.0


@contextlib.contextmanager
def told() -> Iterator[None]:
  """Has the first host say what takes long to compile meanwhile, and in the end how much it was.

  Of other hosts it says what they did not find, as all wait for each.
  """
  teller = _Teller()
  jax.monitoring.register_scalar_listener(teller.begins)
  jax.monitoring.register_event_listener(teller.happens)
  jax.monitoring.register_event_duration_secs_listener(teller.ends)
  try:
    yield
    teller.sum_up()
  finally:
    jax.monitoring.unregister_scalar_listener(teller.begins)
    jax.monitoring.unregister_event_listener(teller.happens)
    jax.monitoring.unregister_event_duration_listener(teller.ends)


class _Teller:
  """Hears of each program, by the thread that compiles it."""

  def __init__(self) -> None:
    self._here = threading.local()
    self._found = 0
    self._is_warned = False
    self._anew: list[str] = []

  def begins(self, event: str, value: float, **about: Any) -> None:
    if event != _COMPILES:
      return
    name = _plain(str(about.get('fun_name', 'a program')))
    timer = threading.Timer(SAID_SECONDS, self._begun, [name])
    timer.daemon = True
    self._here.program = _Program(name, timer, sys.exc_info()[1])
    timer.start()

  def _begun(self, name: str) -> None:
    device = jax.local_devices()[0].device_kind
    minutes = '' if self._is_warned else '; a large program takes minutes'
    self._is_warned = True
    _print(f'Compiling {name} for {jax.device_count()} x {device}{minutes}.')

  def happens(self, event: str, **about: Any) -> None:
    program = getattr(self._here, 'program', None)
    if program is not None:
      program.is_found |= event == _FOUND
      program.is_kept |= event == _KEPT

  def ends(self, event: str, duration: float, **about: Any) -> None:
    program: _Program | None = getattr(self._here, 'program', None)
    if program is None:
      return
    if event == _SAVED:
      program.saved = duration
    if event != _COMPILES:
      return
    self._here.program = None
    program.timer.cancel()
    if sys.exc_info()[1] is not program.handled:  # Ctrl-C, or what it cannot compile
      if duration >= SAID_SECONDS:
        _print(f'Compiling {program.name} was broken off after {duration:.0f} s.')
      return
    directory = _directory()
    if program.is_found:
      self._found += 1
      if program.saved >= SAID_SECONDS:
        _print(f'Found {program.name} compiled in {directory}, which saves {program.saved:.0f} s.')
      return
    reason = ''
    if directory is not None:
      reason = why(directory, program.name, environment())
      if program.is_kept or duration >= SAID_SECONDS:
        self._anew.append(program.name)
      if program.is_kept:
        _note(directory, program.name, environment())
    if duration >= SAID_SECONDS:
      _print(f'Compiled {program.name} in {duration:.0f} s{_told(program, directory, reason)}.')

  def sum_up(self) -> None:
    """Says how many programs were found; those too small to be kept do not count."""
    directory, anew = _directory(), sorted(set(self._anew))
    sees = directory is not None and any(directory.glob('*-cache'))
    told = hosts.exchange('what was compiled is told', {'anew': anew, 'sees': sees})
    if directory is not None and (self._found or anew):
      names = ', '.join(anew) or 'none'
      _print(f'Compiled programs in {directory}: {self._found} found, compiled anew: {names}.')
    for number, other in enumerate(told):
      if missed := sorted(set(other['anew']) - set(anew)):
        reason = (
          'looks for them by another key, as JAX tells devices of its own from others'
          if other['sees']
          else f'has nothing of that in {directory}'
        )
        _print(
          f'Process {number} compiled {", ".join(missed)} anew: process 0 alone keeps programs, '
          f'and this one {reason}.'
        )


def environment() -> dict[str, Any]:
  """What a compiled program depends on, beside the program: {as a person calls it: value}."""
  device = jax.local_devices()[0]
  return {
    'jax': jax.__version__,
    'jaxlib': importlib.metadata.version('jaxlib'),
    'device': f'{device.platform} {device.device_kind}',
    'devices': jax.device_count(),
    'hosts': jax.process_count(),
    'XLA_FLAGS': os.environ.get('XLA_FLAGS', ''),
    'source of aloe_jax': agreement.source(),
  }


def why(directory: pathlib.Path, name: str, now: dict[str, Any]) -> str:
  """Why a program was not found, by what is noted of those of its name.

  Args:
    directory: of the cache.
    name: of the program.
    now: the `environment`.
  """
  noted = _noted(directory, name)
  if not noted:
    return 'none of its name was there'
  differences = [
    [field for field in now if then.get(field) != now[field]] for then in reversed(noted)
  ]
  nearest = min(range(len(noted)), key=lambda index: len(differences[index]))
  then = noted[-1 - nearest]
  if not differences[nearest]:
    return 'those of its name are of other shapes or settings, or were removed'
  return 'the nearest is of ' + ', '.join(
    f'another {field}'
    if field == 'source of aloe_jax'
    else f'{field} {then.get(field)!r} and not {now[field]!r}'
    for field in differences[nearest]
  )


def _told(program: _Program, directory: pathlib.Path | None, reason: str) -> str:
  if directory is None:
    return '; compiled programs are not kept'
  kept = '' if program.is_kept else '; it is not kept, as JAX keeps none that call Python back'
  return f': not found in {directory}, as {reason}{kept}'


def _directory() -> pathlib.Path | None:
  """Of the cache; None where there is none here."""
  directory = jax.config.jax_compilation_cache_dir
  return pathlib.Path(directory) if directory and not files.is_url(directory) else None


def _noted(directory: pathlib.Path, name: str) -> list[dict[str, Any]]:
  with contextlib.suppress(OSError, ValueError):
    found = json.loads((directory / NOTES / f'{name}.json').read_text())
    return [one for one in found if isinstance(one, dict)]
  return []


def _note(directory: pathlib.Path, name: str, now: dict[str, Any]) -> None:
  noted = [one for one in _noted(directory, name) if one != now]
  with contextlib.suppress(OSError):  # it is a hint
    files.write_text(directory / NOTES / f'{name}.json', json.dumps([*noted[-19:], now], indent=1))


def _plain(name: str) -> str:
  """The name of a function in `jit(name)` or `jit_name`, fit for a file."""
  match = re.fullmatch(r'p?jit\((.*)\)|pmap\((.*)\)|p?jit_(.*)|pmap_(.*)', name)
  inner = next(filter(None, match.groups()), name) if match else name
  return re.sub(r'[^\w.-]+', '_', inner)


def _print(line: str) -> None:
  if hosts.is_first():
    progress.CONSOLE.print(line, highlight=False, soft_wrap=True)
