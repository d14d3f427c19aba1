"""Recordings in other formats become episodes: one file a format, that makes an `Importer`.

Another format is another file with an `IMPORTER`, and one entry below: the name that `--from` of
`python -m aloe_jax.data import` gives it. `importer.py` says what an importer gives, `plain.py` is
the shortest example.
"""

from aloe_jax.data.importers import importer
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import plain
from aloe_jax.data.importers import recorder

IMPORTERS: dict[str, importer.Importer] = {
  'lerobot': lerobot.IMPORTER,
  'plain': plain.IMPORTER,
  'recorder': recorder.IMPORTER,
}
