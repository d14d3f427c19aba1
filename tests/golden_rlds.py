"""The golden dataset, recorded by TFDS as Open X-Embodiment has them, and ways to damage it."""

import json
import pathlib
import struct

import numpy as np

from aloe_jax.data import tfrecord

DIRECTORY = pathlib.Path(__file__).parent / 'golden/rlds_oxe_like'
DATASET = DIRECTORY / 'aloe_oxe_like/0.1.0'
EXPECTED = json.loads((DIRECTORY / 'expected.json').read_text())['train']
LENGTHS = [episode['length'] for episode in EXPECTED]
IDS = [episode['metadata']['episode_metadata/episode_id'] for episode in EXPECTED]
CAMERAS = ('head', 'left_wrist', 'right_wrist')


def rewrite(path, number, change):
  """Changes the payload of a record, with checksums that are right."""
  records = [bytes(record.payload) for record in tfrecord.walk(path)]
  records[number] = change(records[number])
  with path.open('wb') as file:
    for record in records:
      length = struct.pack('<Q', len(record))
      file.write(length + struct.pack('<I', tfrecord.masked_checksum(length)))
      file.write(record + struct.pack('<I', tfrecord.masked_checksum(record)))


def with_nan(payload):
  """The state at step 2 is not a number; numbers 0 and 1 are those of episode and step."""
  at = payload.index(struct.pack('<f', 2.0), payload.index(b'steps/observation/state'))
  while struct.unpack_from('<f', payload, at + 4)[0] != np.float32(-0.1 + 0.02):
    at = payload.index(struct.pack('<f', 2.0), at + 1)
  return payload[:at] + struct.pack('<f', np.nan) + payload[at + 4 :]
