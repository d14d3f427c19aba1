"""All hosts of a run agree on what they are about to do: or all end, and say why.

A host that differs would not fail: it would wait for the others in a program that they never reach,
or learn something else than they do.
"""

import functools
import hashlib
import importlib.metadata
import pathlib
import platform
from typing import Any

import jax
import ml_collections

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax.parallel import hosts
from aloe_jax.run import lock

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
_PATHS = ('actor.checkpoint', 'actor.tokenizer', 'data.cache', 'data.norm_stats')
_SAME = 'Start the same command, of the same version, on every host.'
_SHARED = 'Put it on a disk that all hosts share, or a copy of it on each of them.'


def check_start(config: ml_collections.ConfigDict, workdir: str, asked: str = '') -> None:
  """Compares versions, config, paths and devices of all hosts.

  Args:
    config: of the command, as this host reads it.
    workdir: of the run, here or in a bucket.
    asked: the iteration that the command appends, see `appended.asked`.

  Raises:
    ValueError: on every host, the first that differs.
  """
  if hosts.count() == 1:
    return
  versions: dict[str, Any] = {'the version of aloe_jax (digest of its source)': source()}
  for package in _PACKAGES:
    versions[f'the version of {package}'] = importlib.metadata.version(package)
  versions['the version of Python'] = platform.python_version()
  fields = {f'config.{name}': _plain(value) for name, value in config_lib.flat(config).items()}
  places = {'--workdir': str(files.absolute(workdir)), '--redo or --more': asked}
  hosts.agree('versions and config are compared', versions | fields | places, _SAME)
  paths = [*config.data.episodes, *(config_lib.lookup(config, field) for field in _PATHS)]
  found = {
    f'whether there is {path}': pathlib.Path(path).exists()
    for path in paths
    if path and not files.is_url(path)
  }
  hosts.agree('paths are compared', found, _SHARED)
  hosts.agree(
    'devices are compared',
    {
      'the kind of device': jax.local_devices()[0].device_kind,
      'the number of devices': jax.local_device_count(),
    },
    'Give every process the same ones.',
  )


def check_workdir(workdir: str) -> None:
  """Raises, on every host, where not all of them see the locked working directory of the first."""
  place = files.place(f'{workdir}/{lock.NAME}')
  hosts.agree(
    'the working directory is compared',
    {f'whether there is {place}': place.exists()},
    'Give a --workdir on a disk that all hosts share, or in a bucket.',
  )


def check_data(content: dict[str, str]) -> None:
  """Raises, on every host, where datasets {path: digest} do not hold the same episodes."""
  found = {f'what {path} holds (its digest)': digest for path, digest in content.items()}
  hosts.agree('the data are compared', found, _SHARED)


@functools.cache
def source() -> str:
  """A digest of all of the package's own files."""
  package = pathlib.Path(config_lib.__file__).parent
  digest = hashlib.sha256()
  for path in sorted(package.rglob('*.py')):
    digest.update(f'{path.relative_to(package)}\0'.encode() + path.read_bytes())
  return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
  """A field's value as JSON has it."""
  return value if isinstance(value, bool | int | float | str | type(None)) else repr(value)
