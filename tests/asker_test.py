"""One request in flight, in a thread of its own; failures are paused after, longer each time."""

import threading
import time

import pytest
import robot_clock

from aloe_client import asker


def answer(found):
  """The next answer, which comes from another thread."""
  end = time.monotonic() + 10
  while (taken := found.take()) is None:
    assert time.monotonic() < end, 'no answer came'
    time.sleep(0.001)
  return taken


def test_sending_never_waits_and_the_answer_is_that_of_its_request():
  gate = threading.Event()
  found = asker.Asker(lambda request: gate.wait(10) and {'actions': request['state']})
  found.send('token', {'state': 3})
  assert not found.ready and found.take() is None
  with pytest.raises(RuntimeError, match='a request is in flight already'):
    found.send('other', {})
  gate.set()
  taken = answer(found)
  assert (taken.token, taken.reply, taken.error) == ('token', {'actions': 3}, None)
  assert found.ready and found.take() is None
  found.close()


def test_after_failures_it_pauses_up_to_five_seconds_and_after_an_answer_no_more():
  clock = robot_clock.Clock()
  problem = ConnectionError('nothing listens there')

  def infer(request):
    if request['fails']:
      raise problem
    return {}

  found = asker.Asker(infer, clock)
  pauses = []
  for _ in range(8):
    found.send(None, {'fails': True})
    assert answer(found).error is problem
    before = clock.now
    while not found.ready:
      clock.now += 0.05
    pauses.append(clock.now - before)
  assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.06)
  assert max(pauses) == pytest.approx(5, abs=0.06)
  found.send(None, {'fails': False})
  assert answer(found).error is None and found.ready
  found.close()


def test_nobody_is_asked_where_another_program_plays():
  assert not asker.Nobody().ready
  with pytest.raises(RuntimeError, match='there is no server to ask'):
    asker.Nobody().send(None, {})
