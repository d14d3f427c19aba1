"""A policy server as robots meet it on the wire: openpi's exchange, time, and who is let in."""

import dataclasses
import http.client
import json
import pathlib
import threading
import time

import msgpack
import numpy as np
import pytest
import robot
import served
from websockets.exceptions import ConnectionClosed
from websockets.exceptions import InvalidStatus

from aloe_client import wire
from aloe_jax import serve
from aloe_jax.serving import actions
from aloe_jax.serving import server as server_lib

GOLDEN = json.loads((pathlib.Path(__file__).parent / 'golden/pi05_io_golden.json').read_text())


@pytest.fixture(scope='module')
def server():
  """One whose model takes no time."""
  with served.Served(served.make_version()) as found:
    yield found


def get(port, path, **headers):
  """Status and body of a page."""
  connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
  connection.request('GET', path, headers=headers)
  response = connection.getresponse()
  found = response.status, response.read().decode()
  connection.close()
  return found


def quickest(call, times=5):
  """Seconds of the quickest of a few calls: this machine has other things to do."""
  found = []
  for _ in range(times):
    began = time.perf_counter()
    call()
    found.append(time.perf_counter() - began)
  return min(found)


def test_the_recorded_exchange_of_openpi_goes_on_as_it_was_recorded():
  greeting = bytes.fromhex(GOLDEN['metadata_frame_hex'])
  version = dataclasses.replace(served.make_version(), greeting=greeting)
  with served.Served(version) as server, server.connect() as client:
    assert client.frame == greeting and client.metadata == GOLDEN['metadata']
    first, second = client.ask(), client.ask()
    assert set(GOLDEN['first_reply_keys']) - {'keys'} <= set(first)  # theirs told what it was sent
    for key in ('actions', 'policy_timing', 'server_timing'):
      assert type(first[key]).__name__ == GOLDEN['first_types'][key]
    assert list(first['server_timing']) == GOLDEN['first_server_timing_keys']
    assert list(second['server_timing']) == GOLDEN['second_server_timing_keys']
    client.socket.send('text')
    assert 'found a text of 4 characters, expected bytes' in client.receive()
    assert client.ask()['actions'].shape == (4, robot.SIZE)  # it goes on
    assert get(server.port, '/healthz') == (
      GOLDEN['healthz']['status'],
      GOLDEN['healthz']['body'],
    )


def test_only_the_actions_of_a_reply_are_an_array(server):
  """openpi's chunk broker takes steps of every array."""

  def arrays(found):
    if isinstance(found, dict):
      return sum(map(arrays, found.values()))
    return isinstance(found, (np.ndarray, np.generic))

  with server.connect() as client:
    reply = client.ask(served.make_request(0.5, aloe={'id': 'a'}))
  assert arrays(reply) == 1 and reply['actions'].dtype == np.float32
  np.testing.assert_array_equal(reply['actions'], 1.5)
  assert reply['aloe']['id'] == 'a'


def test_a_hundred_replies_answer_the_same_observation_sent_a_hundred_times(server):
  with server.connect() as client:
    data = wire.pack(served.make_request(0.25))
    for _ in range(100):
      client.socket.send(data)
      np.testing.assert_array_equal(client.receive()['actions'], 1.25)


def test_a_client_that_sends_ahead_gets_its_replies_in_order(server):
  with server.connect() as client:
    for number in range(20):
      client.socket.send(wire.pack(served.make_request(aloe={'id': number})))
    assert [client.receive()['aloe']['id'] for _ in range(20)] == list(range(20))


def test_a_stock_client_that_pings_survives_a_slow_first_call():
  with (
    served.Served(served.make_version(seconds=2.0)) as server,
    server.connect(ping_interval=0.2, ping_timeout=1.0) as client,
  ):
    assert client.ask()['aloe']['step'] == 1


def test_a_slow_policy_keeps_nobody_from_shaking_hands():
  with served.Served(served.make_version(seconds=2.0)) as server, server.connect() as client:
    client.socket.send(wire.pack(served.make_request()))
    time.sleep(0.1)
    assert quickest(lambda: server.connect().close()) < 0.1
    assert quickest(lambda: get(server.port, '/healthz')) < 0.1
    with pytest.raises(TimeoutError):  # all that happened while it was thought about
      client.receive(seconds=0)
    assert client.receive()['policy_timing']['infer_ms'] > 1900


def test_it_listens_to_this_machine_alone_unless_told_otherwise():
  assert server_lib.Settings().host == '127.0.0.1'
  assert serve._parser().parse_args(['--workdir=x']).host == '127.0.0.1'


def test_other_addresses_are_refused_without_a_key(capsys):
  with pytest.raises(SystemExit):
    serve.main(['--workdir=runs/none', '--host=0.0.0.0'])
  assert 'there is no key' in capsys.readouterr().err


def test_nobody_comes_in_without_the_key(monkeypatch):
  compared = []
  compare = server_lib.hmac.compare_digest
  monkeypatch.setattr(
    server_lib.hmac, 'compare_digest', lambda a, b: compared.append((a, b)) or compare(a, b)
  )
  with served.Served(served.make_version(), key='secret') as server:
    for headers in ({}, {'Authorization': 'Api-Key wrong'}, {'Authorization': 'Bearer secret'}):
      with pytest.raises(InvalidStatus) as refused:
        server.connect(additional_headers=headers)
      assert refused.value.response.status_code == 401
      assert get(server.port, '/metrics', **headers)[0] == 401
    with server.connect(additional_headers={'Authorization': 'Api-Key secret'}) as client:
      assert client.ask()['aloe']['step'] == 1
    assert get(server.port, '/healthz')[0] == 200  # tells nothing
  assert len(compared) == 7 and {b for _, b in compared} == {b'Api-Key secret'}


def test_four_vga_images_pass():
  with (
    served.Served(served.make_version(preset='aloha_sim', cameras=('head',))) as server,
    server.connect() as client,
  ):
    shown = np.zeros((480, 640, 3), np.uint8)
    cameras = ('cam_high', 'cam_low', 'cam_left_wrist', 'cam_right_wrist')
    reply = client.ask(
      {'images': dict.fromkeys(cameras, shown), 'state': np.zeros(robot.SIZE), 'prompt': 'Fold'}
    )
    assert not isinstance(reply, str), reply


def test_joints_of_an_aloha_robot_come_back_as_it_sent_them():
  """An echo: what is turned for the policy on the way in is turned back on the way out."""
  with served.Served(served.make_version(preset='aloha', step=0)) as server:
    state = np.linspace(-1, 1, robot.SIZE, dtype=np.float32)
    shown = np.zeros((8, 8, 3), np.uint8)
    cameras = ('cam_high', 'cam_left_wrist', 'cam_right_wrist')
    with server.connect() as client:
      reply = client.ask({'images': dict.fromkeys(cameras, shown), 'state': state})
    joints = [i for i in range(robot.SIZE) if i not in (6, 13)]
    np.testing.assert_allclose(
      reply['actions'][:, joints], np.tile(state[joints], (4, 1)), atol=1e-6
    )


def test_a_message_beyond_the_limit_ends_its_connection_and_no_other():
  with (
    served.Served(served.make_version(), message_bytes=100_000) as server,
    server.connect() as other,
    server.connect() as client,
  ):
    client.socket.send(bytes(100_001))
    with pytest.raises(ConnectionClosed) as closed:
      client.receive()
    assert closed.value.rcvd.code == 1009
    assert other.ask()['aloe']['step'] == 1


def test_a_fault_of_the_policy_is_told_without_what_lies_on_the_server():
  model = served.FakeModel()
  with served.Served(served.make_version(model)) as server, server.connect() as client:
    model.fault = RuntimeError('no room at /home/somebody/weights')
    said = client.ask()
    assert isinstance(said, str) and 'the log of the server says why' in said
    assert 'somebody' not in said and 'Traceback' not in said and '\n' not in said
    assert any('/home/somebody/weights' in line for line in server.said)
    model.fault = None
    assert client.ask()['aloe']['step'] == 1


@pytest.mark.parametrize('kind', ['raw', 'msgpack-numpy', 'dtype'])
def test_what_a_pickle_would_run_is_not_run(server, kind, tmp_path):
  made = tmp_path / 'made'
  pickle = f"cos\nsystem\n(S'touch {made}'\ntR.".encode()
  numpys = {b'nd': True, b'type': '|O', b'kind': b'O', b'shape': (1,), b'data': pickle}
  ours = {b'__ndarray__': True, b'dtype': '|O', b'shape': (1,), b'data': pickle}
  sent = {
    'raw': pickle,
    'msgpack-numpy': msgpack.packb({'state': numpys}),
    'dtype': msgpack.packb({'state': ours}),
  }
  with server.connect() as client:
    client.socket.send(sent[kind])
    assert isinstance(client.receive(), str)
    assert client.ask()['aloe']['step'] == 1
  assert not made.exists()


def test_metrics_count_what_became_of_requests():
  with served.Served(served.make_version()) as server, server.connect() as client:
    client.ask()
    client.ask({'state': 1})
    text = get(server.port, '/metrics')[1]
  assert 'aloe_requests_total{outcome="answered"} 1.0' in text
  assert 'aloe_requests_total{outcome="wrong"} 1.0' in text
  assert 'aloe_connections 1.0' in text and 'aloe_checkpoint_step 1.0' in text


def test_the_end_answers_what_was_asked_and_lets_nobody_in():
  with served.Served(served.make_version(seconds=1.0)) as server:
    client, idle = server.connect(), server.connect()
    client.socket.send(wire.pack(served.make_request()))
    time.sleep(0.2)
    server.stop()
    with pytest.raises(ConnectionClosed):
      idle.receive()
    with pytest.raises(OSError):
      server.connect()
    assert client.receive()['aloe']['step'] == 1
    with pytest.raises(ConnectionClosed):
      client.receive()


def test_robots_that_ask_together_are_answered_together():
  model, opened = served.FakeModel(), threading.Event()
  answer = model.answer

  def held(rows):
    found = answer(rows)
    assert opened.wait(60)
    return found

  model.answer = held
  with served.Served(served.make_version(model)) as server:
    clients = [server.connect() for _ in range(4)]
    clients[0].socket.send(wire.pack(served.make_request(0.0)))
    served.wait_for(lambda: model.batches == [1])
    for i in range(1, 4):  # these ask while the first is answered
      clients[i].socket.send(wire.pack(served.make_request(i / 4)))
    served.wait_for(lambda: server.server._batcher.waiting == 3)
    opened.set()
    replies = [client.receive() for client in clients]
    for client in clients:
      client.close()
  for i, reply in enumerate(replies):
    np.testing.assert_array_equal(reply['actions'], 1 + i / 4)
  assert model.batches == [1, 3]


@pytest.mark.parametrize('field, value', [('actions', np.nan), ('actions', np.inf), ('v', np.nan)])
def test_numbers_that_are_none_are_never_sent_and_are_counted(monkeypatch, field, value):
  model = served.FakeModel()
  answer, bad = model.answer, [True]

  def spoilt(rows):
    found = answer(rows)[0]
    found = dataclasses.replace(found, q=1.0, v=2.0, spread=0.1)
    number = np.full_like(found.actions, value) if field == 'actions' else value
    return [dataclasses.replace(found, **{field: number}) if bad.pop() else found]

  monkeypatch.setattr(model, 'answer', spoilt)
  limits = actions.Limits(high=np.full(14, 0.5, np.float32))
  with (
    served.Served(served.make_version(model, limits=limits)) as server,
    server.connect() as client,
  ):
    assert client.ask() == 'the policy gave numbers that are not finite; nothing is sent.'
    bad.append(False)
    assert (client.ask()['actions'] == 0.5).all()
    counted = server.server.telemetry.text().decode()
  assert 'aloe_requests_total{outcome="not_finite"} 1.0' in counted
  assert 'not finite' in server.said[0]
