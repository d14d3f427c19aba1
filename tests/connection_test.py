"""A robot meets servers that are wrong, silent, or of another robot; each is one sentence."""

import contextlib
import dataclasses
import socket
import ssl
import subprocess
import threading
import time

import numpy as np
import pytest
import scripted_server

from aloe_client import connection
from aloe_client import robot as robot_lib

OBSERVATION = {'state': np.arange(3, dtype=np.float32), 'prompt': 'fold'}
PART = robot_lib.Part(3, scripted_server.NAMES, 'rad', 'position')
ROBOT = robot_lib.Robot(action=PART, state={'state': PART}, cameras=['images/head'], control_hz=50)


@contextlib.contextmanager
def opened(address, **options):
  found = connection.Connection(address, **{'timeout': 1.0, **options})
  try:
    yield found
  finally:
    found.close()


def refusal(address, **options):
  start = time.monotonic()
  with opened(address, **options) as found, pytest.raises((ValueError, OSError)) as refused:
    found.open()
  assert time.monotonic() - start < 5
  assert '\n' not in str(refused.value)
  return refused.value


@contextlib.contextmanager
def plain_tcp(answer, *, asked=False):
  """A port where something else listens, which speaks first unless it waits to be asked."""
  with socket.create_server(('127.0.0.1', 0)) as listening:

    def serve():
      with contextlib.suppress(OSError):
        taken, _ = listening.accept()
        with taken:
          if asked:
            taken.recv(1 << 16)
          taken.sendall(answer)
          taken.recv(1 << 16)
          time.sleep(1.5)

    threading.Thread(target=serve, daemon=True).start()
    yield f'ws://127.0.0.1:{listening.getsockname()[1]}'


def test_a_request_is_answered_and_the_reply_is_its_own():
  with scripted_server.serving() as address, opened(address, robot=ROBOT) as found:
    for number in range(100):  # the same observation each time
      reply = found.infer(OBSERVATION)
      np.testing.assert_array_equal(reply['actions'], np.tile([0, 1, 2], (10, 1)))
      assert reply['aloe']['id'].endswith(f'-{number}')


def test_a_server_of_openpi_is_asked_without_our_options():
  seen = []

  def reply(request):
    seen.append(request)
    return {'actions': np.zeros((10, 3))}

  with scripted_server.serving(reply, {'reset_pose': [0]}) as address, opened(address) as found:
    assert found.infer(OBSERVATION)['actions'].dtype == np.float32
    assert found.metadata == {'reset_pose': [0]}
  assert seen[0].keys() == {'state', 'prompt'}


def test_a_refusal_of_the_server_is_raised_and_the_connection_goes_on():
  answers = iter(
    (
      'Error in inference server: state: found 6 numbers, expected 7.',
      'Traceback (most recent call last):\n  File "a.py"\nKeyError: no images',
    )
  )
  with (
    scripted_server.serving(lambda r: next(answers, None) or scripted_server.still(r)) as address,
    opened(address) as found,
  ):
    with pytest.raises(connection.ServerError, match='^state: found 6 numbers'):
      found.infer(OBSERVATION)
    with pytest.raises(connection.ServerError, match='^KeyError: no images$'):
      found.infer(OBSERVATION)
    assert found.infer(OBSERVATION)['actions'].shape == (10, 3)


def test_a_silent_server_is_left_and_its_late_reply_is_never_taken_for_another():
  slow = threading.Event()
  calls = []

  def reply(request):
    calls.append(request)
    if len(calls) == 2:
      slow.wait(5)
    return scripted_server.still(request)

  with (
    scripted_server.serving(reply) as address,
    opened(address, reply_timeout=0.2) as found,
  ):
    found.infer(OBSERVATION)
    with pytest.raises(connection.LostServerError, match='no reply within 0.2 s'):
      found.infer(OBSERVATION)
    slow.set()
    reply = found.infer({**OBSERVATION, 'state': np.full(3, 9, np.float32)})
    np.testing.assert_array_equal(reply['actions'][0], [9, 9, 9])


def test_a_reply_to_another_request_is_refused():
  def reply(request):
    answer = scripted_server.still(request)
    answer['aloe']['id'] = 'older'
    return answer

  with (
    scripted_server.serving(reply) as address,
    opened(address) as found,
    pytest.raises(connection.LostServerError, match='belongs to another request'),
  ):
    found.infer(OBSERVATION)


def test_a_server_that_goes_away_is_found_again():
  answers = iter((scripted_server.still, lambda request: scripted_server.CLOSE))
  with (
    scripted_server.serving(lambda r: next(answers, scripted_server.still)(r)) as address,
    opened(address) as found,
  ):
    found.infer(OBSERVATION)
    with pytest.raises(connection.LostServerError, match='the connection was lost'):
      found.infer(OBSERVATION)
    assert found.infer(OBSERVATION)['actions'].shape == (10, 3)


def test_what_is_no_server_is_named_soon():
  assert 'nothing listens there' in str(refusal('ws://127.0.0.1:9'))
  with plain_tcp(b'SSH-2.0-OpenSSH_9.6\r\n') as address:
    assert 'policy server' in str(refusal(address))
  with plain_tcp(b'220 ready\r\n', asked=True) as address:
    assert 'policy server' in str(refusal(address))
  with plain_tcp(b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', asked=True) as address:
    assert 'answers HTTP status 404' in str(refusal(address))
  with plain_tcp(b'') as address:
    assert 'did not answer as a policy server does within 1 s' in str(refusal(address))
  with scripted_server.serving(told=b'\xc1') as address:
    assert 'not a message of MessagePack' in str(refusal(address))
  with scripted_server.serving(told=b'\x01') as address:
    assert 'found a int, expected a map' in str(refusal(address))


@pytest.mark.parametrize('seconds', [0, 3])
def test_a_host_that_is_not_known_or_not_looked_up_in_time_is_named(seconds, monkeypatch):
  def look_up(*arguments, **options):
    time.sleep(seconds)
    raise socket.gaierror(-2, 'Name or service not known')

  monkeypatch.setattr(socket, 'getaddrinfo', look_up)
  error = refusal('ws://robto:8000', timeout=0.2)
  assert str(error) == 'ws://robto:8000: no such host is known; name its host and port.'


def test_a_key_is_sent_and_a_wrong_one_named():
  with scripted_server.serving(key='secret') as address:
    with opened(address, key='secret') as found:
      assert found.infer(OBSERVATION)['actions'].shape == (10, 3)
    error = refusal(address, key='guess')
    assert 'refuses the key' in str(error) and 'guess' not in str(error)
    assert isinstance(error, connection.UnfitServerError)


def test_tls_is_spoken_with_a_server_whose_certificate_is_given(tmp_path):
  command = (
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem '
    '-out cert.pem -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1'
  )
  made = subprocess.run(command.split(), cwd=tmp_path, capture_output=True)
  assert made.returncode == 0, made.stderr
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain(tmp_path / 'cert.pem', tmp_path / 'key.pem')
  context.num_tickets = 0  # as the servers of this project do
  with scripted_server.serving(ssl=context) as address:
    with opened(address, certificate=str(tmp_path / 'cert.pem')) as found:
      assert found.infer(OBSERVATION)['actions'].shape == (10, 3)
    assert 'TLS failed' in str(refusal(address))


@pytest.mark.parametrize(
  'changed, said',
  [
    ({'action': {'size': 7}}, 'action has 3 numbers here and 7 there'),
    ({'state': {'state': {'size': 6}}}, "state 'state' has 3 numbers here and 6 there"),
    (
      {'action': {'size': 3, 'names': ['elbow', 'waist', 'gripper']}},
      "action 0 is 'waist' here and 'elbow' there, in another order",
    ),
    ({'action': {'size': 3, 'unit': 'deg'}}, "unit of action is 'rad' here and 'deg' there"),
    ({'action': {'size': 3, 'kind': 'velocity'}}, "is 'position' here and 'velocity' there"),
    ({'cameras': {'images/top': {}}}, "camera 'images/top' is wanted and not sent"),
    ({'state': {'state': {}, 'hand': {}}}, "state 'hand' is wanted and not sent"),
    ({'state': {'joints': {}}}, "state 'state' is unknown to the server, which wants 'joints'"),
    ({'control_hz': 30}, 'the robot plays 50 actions a second, the policy 30'),
  ],
)
def test_a_policy_of_another_robot_is_refused_before_anything_moves(changed, said):
  found = ROBOT.differences(scripted_server.metadata(**changed))
  assert len(found) >= 1 and said in '; '.join(found)


def test_a_client_of_six_joints_refuses_a_server_of_seven():
  six = dataclasses.replace(ROBOT, action=robot_lib.Part(6), state={})
  asked = []
  with scripted_server.serving(
    asked.append, scripted_server.metadata(action={'size': 7})
  ) as address:
    error = refusal(address, robot=six)
  assert 'action has 6 numbers here and 7 there' in str(error) and 'Nothing was moved' in str(error)
  assert not asked


def test_actions_of_another_width_from_a_server_that_says_nothing_are_refused():
  robot = robot_lib.Robot(action=robot_lib.Part(6))
  reply = {'actions': np.zeros((10, 7))}
  with (
    scripted_server.serving(lambda request: reply, {}) as address,
    opened(address, robot=robot) as found,
    pytest.raises(connection.UnfitServerError, match='7 numbers, this robot takes 6'),
  ):
    found.infer(OBSERVATION)


@pytest.mark.parametrize(
  'actions, said',
  [
    (np.full((10, 3), np.nan), 'NaN or infinity'),
    (np.zeros(3), 'expected numbers'),
    ('none', 'expected numbers'),
  ],
)
def test_actions_that_are_none_never_reach_the_robot(actions, said):
  with (
    scripted_server.serving(lambda request: {'actions': actions}, {}) as address,
    opened(address) as found,
    pytest.raises((RuntimeError, ValueError), match=said),
  ):
    found.infer(OBSERVATION)


@pytest.mark.parametrize(
  'address',
  [
    *('http://robot:8000', 'ws://:8000', 'robot:port', '', 'robot:0', 'robot:70000'),
    *('ws://[::1', 'a' * 64, 'ws://robot\udce9:8000', 'robot..local'),
  ],
)
def test_an_address_that_is_none_is_refused(address):
  with pytest.raises(ValueError, match='expected host:port'):
    connection.Connection(address)


def test_an_address_may_leave_out_what_openpi_takes_for_granted():
  assert connection.Connection('robot').address == 'ws://robot:8000'
  assert connection.Connection('wss://robot/policy').address == 'wss://robot:8000/policy'
  assert connection.Connection('ws://[::1]:1').address == 'ws://[::1]:1'


@pytest.mark.parametrize('key', ['a\r\nX-Evil: 1', b'secret', 5, 'schlüssel', ' '])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key):
  with pytest.raises(ValueError, match='^key: found a .*, expected the text') as refused:
    connection.Connection('robot', key=key)
  assert 'secret' not in str(refused.value) and 'Evil' not in str(refused.value)


def test_a_key_from_a_file_may_have_a_line_break_after_it():
  with scripted_server.serving(key='secret') as address, opened(address, key='secret\n') as found:
    assert found.infer(OBSERVATION)['actions'].shape == (10, 3)


def test_a_server_fills_no_disk_by_its_replies():
  def reply(request):
    answer = scripted_server.still(request)
    answer['aloe']['flags'] = ['x' * 10_000] * 1000
    return answer

  with scripted_server.serving(reply) as address, opened(address) as found:
    flags = found.infer(OBSERVATION)['aloe']['flags']
  assert len(flags) == 101 and flags[-1] == 'and 900 more' and len(flags[0]) == 1000
