"""openpi's own client, in its own environment, gets a served run's actions bit for bit.

  python -m venv /tmp/openpi && /tmp/openpi/bin/pip install openpi-client==0.1.2
  python tests/openpi_client_check.py --python=/tmp/openpi/bin/python --workdir=runs/debug

Serves the run's newest checkpoint by `python -m aloe_jax.serve`, with a key. The client asks for
chunks of several seeds, plays some through its `ActionChunkBroker` and is told of an error; what it
got is compared with `aloe_jax.load(...).act` in this process.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import numpy as np

import aloe_jax

KEY = 'a-key-of-the-check'
SEEDS = (0, 1, 7)
PLAYED = 5  # actions of a chunk through the broker
CLIENT = r"""
import sys
import numpy as np
from openpi_client import action_chunk_broker, websocket_client_policy

port, key, cameras, seeds, played, seen, got = sys.argv[1:]
policy = websocket_client_policy.WebsocketClientPolicy('127.0.0.1', int(port), api_key=key)
told = policy.get_server_metadata()['aloe']
seen = np.load(seen)
images = {name: seen[name] for name in cameras.split(',')}
request = {'images': images, 'state': seen['state'], 'prompt': told['prompt']}
found = {}
for seed in map(int, seeds.split(',')):
  found[f'chunk {seed}'] = policy.infer(request | {'aloe': {'seed': seed}})['actions']
try:
  policy.infer(request | {'state': seen['state'][:-1]})
except RuntimeError as error:
  print(error)
broker = action_chunk_broker.ActionChunkBroker(policy, int(played))
for step in range(2 * int(played)):
  reply = broker.infer(request | {'aloe': {'seed': step // int(played)}})
  found[f'step {step}'] = reply['actions']
assert told['step'] == reply['aloe']['step'], 'another checkpoint answered'
np.savez(got, **found)
"""


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--python', required=True, help='of the environment with openpi-client')
  parser.add_argument('--workdir', required=True, help='of a run')
  given = parser.parse_args()
  policy = aloe_jax.load(given.workdir)
  told, rng = policy.metadata, np.random.default_rng(0)
  images = {name: rng.integers(0, 256, (480, 640, 3), np.uint8) for name in told.cameras}
  state = np.zeros(told.state_size, np.float32)
  with tempfile.TemporaryDirectory() as scratch:
    seen, got = (pathlib.Path(scratch) / name for name in ('seen.npz', 'got.npz'))
    np.savez(seen, state=state, **images)
    names, seeds = ','.join(told.cameras), ','.join(map(str, SEEDS))
    said = ask(given, [KEY, names, seeds, str(PLAYED), str(seen), str(got)])
    found = dict(np.load(got))
  for seed in SEEDS:
    same(found[f'chunk {seed}'], policy.act(images, state, seed=seed), f'chunk of seed {seed}')
  for step in range(2 * PLAYED):
    expected = policy.act(images, state, seed=step // PLAYED)[step % PLAYED]
    same(found[f'step {step}'], expected, f'step {step} of the broker')
  assert 'Error in inference server' in said and 'state: found' in said, said
  print(
    f'{len(SEEDS)} chunks and {2 * PLAYED} steps are equal, bit for bit; the error read: {said}'
  )


def ask(given, arguments):
  """What the client prints, run against a server that is ended afterwards."""
  command = [sys.executable, '-m', 'aloe_jax.serve', f'--workdir={given.workdir}', '--port=0']
  server = subprocess.Popen(
    [*command, '--max_batch=1', '--reload_seconds=0'],
    env=os.environ | {'ALOE_API_KEY': KEY},
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    ready = next(line for line in server.stdout if line.startswith('Ready: '))
    port = ready.partition('127.0.0.1:')[2].split()[0]
    asked = [given.python, '-c', CLIENT, port, *arguments]
    alone = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, env=alone).stdout
  finally:
    server.send_signal(signal.SIGTERM)
    server.stdout.read()
    assert server.wait(30) == 0, 'the server did not end well'


def same(found, expected, what):
  assert found.dtype == expected.dtype and np.array_equal(found, expected), (
    f'{what} differs by up to {np.abs(found - expected).max()}'
  )


if __name__ == '__main__':
  main()
