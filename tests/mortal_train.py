"""`train`, whose process 1 is killed as soon as a path exists that MORTAL names; for tests."""

import os
import pathlib
import sys
import threading
import time

from aloe_jax import command_line
from aloe_jax import train
from aloe_jax.parallel import watch

watch.SILENT_SECONDS = 10.0


def die():
  while not pathlib.Path(os.environ['MORTAL']).exists():
    time.sleep(0.02)
  os.kill(os.getpid(), 9)


if __name__ == '__main__':
  if os.environ.get('MORTAL') and '--process=1' in sys.argv:
    threading.Thread(target=die, daemon=True).start()
  command_line.run(train.main)
