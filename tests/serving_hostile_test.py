"""Connections that are slow, dead or too many, and a process that is told to end."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import fuzz_server
import pytest
import served
from websockets.exceptions import InvalidStatus

from aloe_client import wire
from aloe_jax.serving import server as server_lib

SERVE = """
import asyncio, served
from aloe_jax import serve
from aloe_jax.serving import server
asyncio.run(serve._listen(server.Server(served.make_version(seconds=1.0), server.Settings(port=0))))
"""


def until(condition, seconds=20.0):
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.02)
  assert condition()


def connections(server):
  return server.server.telemetry.connections._value.get()


def test_a_robot_that_takes_no_bytes_is_left_and_keeps_nobody(monkeypatch):
  monkeypatch.setattr(server_lib, '_SENDING', 0.5)
  version = served.make_version(horizon=50_000)  # replies of 2.8 MB, which no buffer holds
  with (
    served.Served(version) as server,
    socket.create_connection(('127.0.0.1', server.port)) as deaf,
    server.connect(max_queue=None) as other,
  ):
    deaf.sendall(fuzz_server.HANDSHAKE)
    deaf.recv(100)
    until(lambda: connections(server) == 2)
    for _ in range(2):
      deaf.sendall(masked(wire.pack(served.make_request())))
    until(lambda: connections(server) == 1)
    assert 'took no bytes' in server.said[0]
    assert not isinstance(other.ask(), str)


def masked(data):
  """A frame of a client, its mask of zeros."""
  return b'\x82\xff' + len(data).to_bytes(8, 'big') + bytes(4) + data


def test_a_socket_that_is_only_half_open_is_left(monkeypatch):
  monkeypatch.setattr(server_lib, '_ALIVE', (0.1, 0.3))
  with (
    served.Served(served.make_version()) as server,
    socket.create_connection(('127.0.0.1', server.port)) as dead,
  ):
    dead.sendall(fuzz_server.HANDSHAKE)
    until(lambda: connections(server) == 1)
    until(lambda: connections(server) == 0)  # it answers no ping


def test_robots_beyond_the_limit_are_refused_until_there_is_room():
  with (
    served.Served(served.make_version(), connections=2) as server,
    server.connect() as first,
    server.connect() as second,
  ):
    for _ in range(3):
      with pytest.raises(InvalidStatus) as refused:
        server.connect()
      assert refused.value.response.status_code == 503
    assert not isinstance(first.ask(), str) and not isinstance(second.ask(), str)
    second.close()
    until(lambda: connections(server) == 1)
    with server.connect() as third:
      assert not isinstance(third.ask(), str)


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
  """Certificate and key for 127.0.0.1."""
  if not shutil.which('openssl'):
    pytest.skip('there is no openssl')
  made = tmp_path_factory.mktemp('tls')
  subprocess.run(
    [
      *('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'),
      *('-subj', '/CN=robot', '-addext', 'subjectAltName=IP:127.0.0.1'),
      *('-keyout', 'key.pem', '-out', 'cert.pem'),
    ],
    cwd=made,
    check=True,
    capture_output=True,
  )
  return made / 'cert.pem', made / 'key.pem'


def test_tls_lets_a_robot_know_whom_it_talks_to(certificate):
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain(*certificate)
  trusting = ssl.create_default_context(cafile=str(certificate[0]))
  with served.Served(served.make_version(), tls=context) as server:
    assert context.num_tickets == 0
    with served.Client(server.port, scheme='wss', ssl=trusting) as client:
      assert not isinstance(client.ask(served.make_request(rows=480, columns=640)), str)
    with pytest.raises(ssl.SSLCertVerificationError):
      served.Client(server.port, scheme='wss', ssl=ssl.create_default_context())


def test_a_signal_ends_the_process_well_once_what_was_asked_is_answered():
  root = pathlib.Path(__file__).parent
  paths = [str(root), str(root.parent), os.environ.get('PYTHONPATH', '')]
  with subprocess.Popen(
    [sys.executable, '-c', SERVE],
    stdout=subprocess.PIPE,
    env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, paths))},
    text=True,
  ) as process, contextlib.ExitStack() as held:  # fmt: skip
    ready = process.stdout.readline()
    port = int(ready.partition('127.0.0.1:')[2].split()[0])
    half = held.enter_context(socket.create_connection(('127.0.0.1', port)))
    client = held.enter_context(served.Client(port))
    client.socket.send(wire.pack(served.make_request()))
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert client.receive()['aloe']['step'] == 1
    assert process.wait(20) == 0
    assert time.monotonic() - began < 5, half
    assert 'what was asked by then was answered' in process.stdout.read()


def test_thousands_of_wrong_frames_are_answered_each(capfd):
  """`python tests/fuzz_server.py` does more of it."""
  fuzz_server.main(['--frames=1500', '--raw=60', '--connections=120', '--seed=3'])
  assert '375 frames' in capfd.readouterr().out
