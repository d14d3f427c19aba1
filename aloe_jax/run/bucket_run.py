"""A command whose --workdir is in a bucket: what is done before it begins, and at its end."""

from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import disk
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.buckets import storage
from aloe_jax.buckets import twin as twin_lib
from aloe_jax.parallel import hosts
from aloe_jax.run import claim
from aloe_jax.run import lock

_CACHE = 'aloe_jax'  # in the cache of whoever runs this
_FIELD = '--config.data.cache='


@contextlib.contextmanager
def opened(
  given: command_line.Given, *, writes: bool = False, episodes: bool = False
) -> Iterator[command_line.Given]:
  """Has a run be here for as long as a command needs it, wherever --workdir lies.

  A directory here is left as it is. One in a bucket is fetched, but for its checkpoints, to a
  directory in `data.cache`, and what changes there is brought back.

  Args:
    given: the command line.
    writes: whether it is `train`, which works there alone; others add what they have found out.
    episodes: whether those that the run has collected are read.

  Yields:
    The command line with a working directory here.

  Raises:
    FileExistsError: another process works there.
    OSError: the bucket cannot be used; says why, and what to do.
  """
  if not files.is_url(given.where):
    yield given
    return
  url = given.where
  with contextlib.ExitStack() as stack:
    with _alike_on_all_hosts():
      if hosts.is_first():
        storage.check_rights(url, writes=writes)
    here = _twin(given, url, writes=writes, episodes=writes or episodes)
    if writes:
      stack.enter_context(lock.held(here.path))
      with _alike_on_all_hosts():
        if hosts.is_first():
          stack.callback(claim.Claim(url).release)
    progress.CONSOLE.print(f'{url} is worked on here: {here.path}', soft_wrap=True, highlight=False)
    with hosts.first_then_others('the working directory is fetched'):
      here.pull()
    stack.enter_context(here.attached())
    stack.push(_pushed)
    yield dataclasses.replace(given, here=here.path)


def _pushed(kind: type[BaseException] | None, *unused: object) -> None:
  """Brings over what a command leaves, however it ends."""
  try:
    twin_lib.push()
  except OSError as error:
    if kind is None:
      raise
    progress.CONSOLE.print(f'{error}', soft_wrap=True, highlight=False)  # the first error counts


@contextlib.contextmanager
def _alike_on_all_hosts() -> Iterator[None]:
  """Raises on every host what the first of them has raised."""
  problem, cause = '', None
  try:
    yield
  except OSError as error:
    problem, cause = disk.told(error) or str(error), error
  if problem := hosts.exchange('the bucket is looked at', problem)[0]:
    raise cause or storage.Told(problem)


def _twin(given: command_line.Given, url: str, *, writes: bool, episodes: bool) -> twin_lib.Twin:
  """The directory here, in the cache that the command line or the config names, or in one's own."""
  cache = next((x[len(_FIELD) :] for x in given.overrides if x.startswith(_FIELD)), '')
  if not cache:
    kept, damage = files.place(f'{url}/config.json'), None
    with storage.told(url, 'read'):
      if kept.exists():
        try:
          cache = config_lib.read_tree(kept).get('data', {}).get('cache', '')
        except ValueError as error:  # nothing is wrong with the bucket
          damage = error
        cache = cache if os.path.isdir(cache) else ''  # it may be of another machine
      elif given.file:
        with command_line.usage_errors():
          cache = command_line.load(given.file).data.cache
    if damage is not None:
      raise damage
  home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  directory = pathlib.Path(files.expanded(cache or f'{home}/{_CACHE}'))
  path = twin_lib.place(url, directory, 'runs' if writes else 'read')
  return twin_lib.Twin(url, path, owned=writes, without=() if episodes else ('episodes',))
