"""Who may open the cockpit, and what it says to those who may not, without a browser."""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import robot_clock
from websockets import exceptions
from websockets.sync import client

from aloe_client import cockpit


@pytest.fixture
def recorder(tmp_path):
  made, _, _ = robot_clock.recorder(tmp_path)
  with made:
    yield made


def live(page, **options):
  address = page.url.partition('#')[0].replace('http', 'ws') + 'live'
  return client.connect(address, **options)


def listen(connection, count):
  """The next frames of text."""
  found = []
  while len(found) < count:
    data = connection.recv(timeout=10)
    if isinstance(data, str):
      found.append(json.loads(data))
  return found


def refuse(recorder, message, **options):
  with (
    pytest.raises((OSError, ValueError), match=message),
    cockpit.serve(recorder, **{'port': 0} | options),
  ):
    raise AssertionError('served')


def get(url, **headers):
  """The status and the text of a page."""
  try:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
      return reply.status, reply.read().decode(), reply.headers
  except urllib.error.HTTPError as error:
    return error.code, error.read().decode(), error.headers


def test_the_page_refers_to_nothing_elsewhere_and_runs_no_script_of_others(recorder):
  with cockpit.serve(recorder, port=0) as page:
    for name in ('', 'cockpit.css', 'cockpit.js', 'cockpit_plot.js'):
      status, text, headers = get(page.url + name)
      assert status == 200 and '//' not in text.replace('://${', '').replace('// ', '')
      assert "script-src 'self'" in headers['Content-Security-Policy']
    assert get(f'{page.url}../recorder.py')[0] == get(f'{page.url}cockpit.py')[0] == 404


def test_a_page_of_somebody_else_cannot_move_the_robot(recorder):
  with cockpit.serve(recorder, port=0) as page:
    for origin in ('https://evil.example', 'null', page.url.replace('127.0.0.1', 'localhost')[:-1]):
      with pytest.raises(exceptions.InvalidStatus) as caught:
        live(page, origin=origin).close()
      assert caught.value.response.status_code == 403
      assert f'A page of {origin} may not move this robot.' in caught.value.response.body.decode()
    for host in ('evil.example', 'evil.example:8010', ''):  # a name that was made to lead here
      assert get(page.url, Host=host)[0] == 403
    assert get(page.url, Host='localhost:9000')[0] == 200  # a tunnel
    with live(page, origin=page.url[:-1]) as connection:
      assert listen(connection, 2)[1]['phase'] == 'ready'


def test_another_address_wants_a_key(recorder):
  refuse(recorder, r'host: 0.0.0.0 lets others .* no key; give key=', host='0.0.0.0')
  refuse(recorder, 'key: expected one or more characters of ASCII', key='clé')
  refuse(recorder, "tls: found a client's context, expected", tls=ssl.create_default_context())
  with cockpit.serve(recorder, port=0, key='s3cret') as page:
    assert page.url.endswith('/#key=s3cret')
    told = [event.text for event in recorder.events.recent()]
    assert not [text for text in told if 's3cret' in text]
    for said in ('{"key": "other"}', '{}', 'no JSON', '[' * 4000, b'\xff'):
      with live(page) as connection:
        connection.send(said)
        with pytest.raises(exceptions.ConnectionClosed) as caught:
          connection.recv(timeout=10)
        assert caught.value.rcvd.code == 4401
    with live(page) as connection:
      connection.send(json.dumps({'key': 's3cret'}))
      assert 'commands' in listen(connection, 1)[0]


def test_the_page_and_what_it_says_go_by_tls_where_that_is_given(recorder, tmp_path):
  command = (
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem '
    '-out cert.pem -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1'
  )
  subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=True)
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain(tmp_path / 'cert.pem', tmp_path / 'key.pem')
  trusting = ssl.create_default_context(cafile=str(tmp_path / 'cert.pem'))
  with cockpit.serve(recorder, port=0, tls=context) as page:
    assert page.url.startswith('https://') and context.num_tickets == 0
    with urllib.request.urlopen(page.url, context=trusting) as reply:
      assert reply.status == 200
    with live(page, ssl=trusting, origin=page.url[:-1]) as connection:
      assert 'commands' in listen(connection, 1)[0]


def test_a_port_that_is_taken_is_told_before_anything_moves(recorder):
  with cockpit.serve(recorder, port=0) as page:
    port = int(page.url.rstrip('/').rpartition(':')[2])
    refuse(recorder, f'cannot listen at 127.0.0.1:{port} .* pass another port', port=port)


def test_a_page_that_draws_slowly_gets_no_old_states(recorder):
  with cockpit.serve(recorder, port=0) as page, live(page) as connection:
    _, first = listen(connection, 2)
    with pytest.raises(TimeoutError):
      connection.recv(timeout=0.5)  # nothing piles up
    connection.send(json.dumps({'seen': first['number']}))
    (second,) = listen(connection, 1)
    assert second['number'] == first['number'] + 1
    assert second['phase_s'] >= first['phase_s'] + 0.4


def test_every_command_is_answered_and_nonsense_closes_nothing(recorder):
  with cockpit.serve(recorder, port=0) as page, live(page) as connection:
    listen(connection, 2)
    for said in ('', 'null', '{"seen": "x"}', '[]', b'\x00'):
      connection.send(said)
    for number, (command, expected) in enumerate(
      [
        ('fly', 'fly: there is no such command.'),
        (None, 'None: there is no such command.'),
        ('success', 'There is no episode to end.'),
        ('takeover', 'takeover: found no source of actions; pass one, or human= to the recorder.'),
      ]
    ):
      connection.send(json.dumps({'command': command, 'id': number, 'episode': 0}))
      expected = {'answer': number, 'done': False, 'text': expected}
      assert listen(connection, 1)[0] == expected


def test_no_more_pages_are_open_than_it_has_room_for(recorder, monkeypatch):
  monkeypatch.setattr(cockpit, '_PAGES', 1)
  with cockpit.serve(recorder, port=0) as page:
    with live(page) as connection:
      listen(connection, 1)
      with live(page) as other, pytest.raises(exceptions.ConnectionClosed) as caught:
        other.recv(timeout=10)
      assert caught.value.rcvd.code == 1013
    for _ in range(50):  # the one that has gone is noticed soon
      with contextlib.suppress(exceptions.ConnectionClosed), live(page) as connection:
        assert 'commands' in listen(connection, 1)[0]
        return
      time.sleep(0.05)
    raise AssertionError('the room is not free again')


def test_pages_that_do_not_say_the_key_keep_nobody_out_and_are_dropped(recorder, monkeypatch):
  monkeypatch.setattr(cockpit, '_PATIENCE', 1.0)
  monkeypatch.setattr(cockpit, '_UNPROVEN', 4)
  with cockpit.serve(recorder, port=0, key='s3cret') as page, contextlib.ExitStack() as held:
    silent = [held.enter_context(live(page)) for _ in range(20)]
    with live(page) as connection:
      connection.send(json.dumps({'key': 's3cret'}))
      assert 'commands' in listen(connection, 1)[0]
      start = time.monotonic()
      for other in silent:
        with pytest.raises(exceptions.ConnectionClosed):
          other.recv(timeout=10)
      assert time.monotonic() - start < 5


def test_connections_that_never_ask_are_few_and_gone_soon_and_keep_nobody_(recorder, monkeypatch):
  monkeypatch.setattr(cockpit, '_OPENING', 1.0)
  monkeypatch.setattr(cockpit, '_UNPROVEN', 8)
  with cockpit.serve(recorder, port=0) as page, contextlib.ExitStack() as held:
    port = int(page.url.rstrip('/').rpartition(':')[2])
    before, start = threading.active_count(), time.monotonic()
    begun = (b'', b'GET /', b'GET / HTTP/1.1\r\nHost: localhost\r\n', b'\x16\x03\x01')
    silent = []
    for number in range(100):
      silent.append(held.enter_context(socket.create_connection(('127.0.0.1', port), 5)))
      silent[-1].sendall(begun[number % len(begun)])
    assert get(page.url)[0] == 200
    with live(page) as connection:
      assert 'commands' in listen(connection, 1)[0]
      assert threading.active_count() - before < 3 * (8 + 2)
      for other in silent:
        with contextlib.suppress(ConnectionError):  # it is gone
          while other.recv(4096):
            pass
      assert time.monotonic() - start < 4
      assert 'phase' in listen(connection, 1)[0]


def test_one_that_asks_a_byte_at_a_time_is_gone_in_time(recorder, monkeypatch):
  monkeypatch.setattr(cockpit, '_OPENING', 0.5)
  with cockpit.serve(recorder, port=0) as page:
    port = int(page.url.rstrip('/').rpartition(':')[2])
    start = time.monotonic()
    with (
      socket.create_connection(('127.0.0.1', port), 5) as slow,
      pytest.raises(ConnectionError),
    ):
      for letter in 100 * b'GET / HTTP/1.1':
        slow.sendall(bytes([letter]))
        time.sleep(0.05)
    assert 0.4 < time.monotonic() - start < 3


def test_a_page_is_told_that_the_program_closed_it(recorder):
  with (
    pytest.raises(exceptions.ConnectionClosed) as caught,
    cockpit.serve(recorder, port=0) as page,
    live(page) as connection,
  ):
    listen(connection, 2)
    leaving = threading.Thread(target=page.say_ended, args=('ValueError: ä' + 300 * 'x',))
    leaving.start()
    connection.recv(timeout=10)
  leaving.join()
  assert caught.value.rcvd.code == 4410 and caught.value.rcvd.reason.startswith('ValueError: ä')
