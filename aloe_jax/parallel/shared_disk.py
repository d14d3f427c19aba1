"""Whether several hosts see the same files in a directory, found out by trying."""

import pathlib
import uuid

from aloe_jax.parallel import hosts


def is_shared(directory: pathlib.Path) -> bool:
  """Whether what the first host writes into a directory is there for all; all of them ask.

  Args:
    directory: is made where it is not there.

  Raises:
    OSError: it cannot be written.
  """
  if hosts.count() == 1:
    return True
  token = hosts.exchange('who shares a disk is found out', uuid.uuid4().hex)[0]
  probe = directory / f'.{token}.probe'
  directory.mkdir(parents=True, exist_ok=True)
  if hosts.is_first():
    probe.touch()
  hosts.wait('a probe is written')
  found = bool(hosts.lowest(probe.exists(), 'the probe is looked for'))
  if hosts.is_first():
    probe.unlink()
  return found
