"""A newer checkpoint while robots ask: every reply is of one version, and nobody is dropped."""

import json
import threading
import time

import fsspec
import numpy as np
import served

from aloe_client import wire
from aloe_jax.serving import newer


def watch(server, directory, make):
  return newer.Watcher(
    directory, server.server, make, number=1, seconds=0.02, log=server.said.append
  )


def until(condition, seconds=20.0):
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.01)
  assert condition()


def test_a_request_under_way_is_answered_by_the_version_that_read_it():
  slow = served.make_version(seconds=0.5)
  with served.Served(slow) as server, server.connect() as client, server.connect() as other:
    client.socket.send(wire.pack(served.make_request(10.0)))
    time.sleep(0.2)
    server.server.exchange(served.make_version(step=2, scale=1.0))
    # 10 is far outside of what the newer one knows: statistics were exchanged with the weights.
    assert 'far outside of -1 to 1' in other.ask(served.make_request(10.0))
    reply = client.receive()
    np.testing.assert_array_equal(reply['actions'], 11.0)
    assert (reply['aloe']['step'], reply['aloe']['checkpoint']) == (1, 'checkpoints/1')
    assert client.ask(served.make_request(0.5))['aloe']['step'] == 2
    assert client.metadata['aloe']['step'] == 1
    with server.connect() as late:
      assert late.metadata['aloe']['step'] == 2
      assert late.metadata['aloe']['statistics'] != client.metadata['aloe']['statistics']


def test_the_first_reply_of_a_newer_checkpoint_has_its_alarm_on_every_connection(tmp_path):
  def make(step, level):
    model = served.FakeModel(step=step)
    model.name, model.has_values = f'{tmp_path}/{step}/checkpoints/{step}', True
    model.found.meta['iteration'] = 1
    report = {'iteration': 1, 'held_out': True, 'q_threshold': level, 'false_alarms': 0.1}
    (tmp_path / str(step)).mkdir()
    (tmp_path / str(step) / 'report.json').write_text(json.dumps(report))
    return served.make_version(model)

  with served.Served(make(1, -40.0)) as server, server.connect() as client:
    assert client.metadata['aloe']['q_threshold'] == -40
    assert 'q_threshold' not in client.ask()['aloe']
    server.server.exchange(make(2, -70.0))
    with server.connect() as late:
      assert late.metadata['aloe']['q_threshold'] == -70
      assert 'q_threshold' not in late.ask()['aloe']
    assert 'wrong' in client.ask({'wrong': 1})  # which is no reply
    first = client.ask()['aloe']
    assert (first['checkpoint'], first['step']) == (f'{tmp_path}/2/checkpoints/2', 2)
    assert (first['q_threshold'], first['false_alarms']) == (-70, 0.1)
    assert 'q_threshold' not in client.ask()['aloe']
    server.server.exchange(served.make_version(step=3))  # of which no report says anything
    assert client.ask()['aloe']['q_threshold'] is None


def test_every_reply_names_the_version_whose_actions_it_has_and_none_is_missing():
  versions = [served.make_version(step=step, seconds=0.002) for step in range(1, 31)]
  seen, wrong = set(), []
  with served.Served(versions[0]) as server:
    ended = threading.Event()

    def ask():
      with server.connect() as client:
        while not ended.is_set():
          reply = client.ask(served.make_request(0.5))
          if isinstance(reply, str) or not (reply['actions'] == 0.5 + reply['aloe']['step']).all():
            wrong.append(reply)
          else:
            seen.add(reply['aloe']['step'])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
      thread.start()
    for version in versions:
      server.server.exchange(version)
      time.sleep(0.03)
    until(lambda: 30 in seen)
    ended.set()
    for thread in threads:
      thread.join()
  assert not wrong
  assert len(seen) > 15


def test_a_newer_checkpoint_answers_once_it_is_warm(tmp_path):
  (tmp_path / '1').mkdir()
  warm = threading.Event()

  def make(path):
    assert warm.wait(20)
    return served.make_version(step=int(path.name))

  with (
    served.Served(served.make_version()) as server,
    server.connect() as client,
    watch(server, tmp_path, make),
  ):
    (tmp_path / '3').mkdir()
    until(lambda: server.said)
    assert client.ask()['aloe']['step'] == 1
    warm.set()
    until(lambda: client.ask()['aloe']['step'] == 3)
  assert '3 is newer' in server.said[0] and 'checkpoints/1 answers' in server.said[0]
  assert '3 answers, after' in server.said[1]


def test_a_bad_newest_checkpoint_leaves_the_old_one_and_says_so(tmp_path):
  def make(path):
    if path.name == '2':
      raise ValueError(f'{path} is cut off.')
    return served.make_version(step=int(path.name))

  with served.Served(served.make_version()) as server, server.connect() as client:
    with watch(server, tmp_path, make):
      (tmp_path / '2').mkdir()
      until(lambda: len(server.said) == 2)
      time.sleep(0.1)
      assert len(server.said) == 2  # once
      assert 'is cut off. checkpoints/1 goes on answering' in server.said[1]
      assert client.ask()['aloe']['step'] == 1
      (tmp_path / '3').mkdir()
      until(lambda: client.ask()['aloe']['step'] == 3)
    counted = server.server.telemetry.text().decode()
  assert 'aloe_reloads_total{outcome="failed"} 1.0' in counted
  assert 'aloe_reloads_total{outcome="served"} 1.0' in counted


def test_what_a_disk_does_not_give_is_tried_again(tmp_path):
  tries = []

  def make(path):
    tries.append(path.name)
    if path.name == '3' or len(tries) < 3:
      raise OSError(f'{path}: the disk is away.')
    return served.make_version(step=int(path.name))

  with (
    served.Served(served.make_version()) as server,
    server.connect() as client,
    watch(server, tmp_path, make),
  ):
    (tmp_path / '2').mkdir()
    until(lambda: client.ask()['aloe']['step'] == 2)
    assert 'goes on answering, and it is tried again.' in server.said[1]
    (tmp_path / '3').mkdir()
    until(lambda: tries == ['2'] * 3 + ['3'] * 3)
    time.sleep(0.1)
    assert len(tries) == 6 and server.said[-1].endswith('goes on answering.')


def test_a_good_copy_in_place_of_a_failed_one_is_taken_up_and_so_is_a_lower_one(tmp_path):
  tries = []

  def make(path):
    tries.append(path.name)
    if (path / 'state').read_text() != 'whole':
      raise ValueError(f'{path} is cut off.')
    return served.make_version(step=int(path.name))

  def write(number, text):
    (tmp_path / f'.{number}').mkdir()
    (tmp_path / f'.{number}' / 'state').write_text(text)
    (tmp_path / f'.{number}').rename(tmp_path / str(number))

  with served.Served(served.make_version()) as server:
    watcher = watch(server, tmp_path, make)
    write(5, 'who')
    assert [watcher.look() for _ in range(4)] == [False] * 4 and tries == ['5']
    write(3, 'whole')  # lower than what failed, and newer than what answers
    assert watcher.look() and server.server.version.model.step == 3
    (tmp_path / '5/state').write_text('whol')  # is being copied
    assert not watcher.look()
    (tmp_path / '5/state').write_text('whole')
    assert not watcher.look() and tries == ['5', '3']
    assert watcher.look() and server.server.version.model.step == 5
    write(4, 'whole')
    assert not watcher.look() and tries == ['5', '3', '5']
    write(6, 'cut')
    assert not watcher.look()
    (tmp_path / '6/state').write_text('cut too')
    assert sum(watcher.look() for _ in range(4)) == 0 and tries == ['5', '3', '5', '6', '6']


def test_a_run_that_goes_back_or_begins_anew_is_followed(tmp_path):
  def make(path):
    return served.make_version(step=int(path.name) + 7)

  for number in '01':
    (tmp_path / number).mkdir()
  with served.Served(served.make_version(step=900)) as server:
    watcher = watch(server, tmp_path, make)
    (tmp_path / '1').rmdir()
    assert [watcher.look() for _ in range(4)] == [False, False, True, False]
    assert server.said[0] == (
      f'{tmp_path}/1, which answers, was removed; {tmp_path}/0 is the newest there.'
    )
    assert server.server.version.model.step == 7
    (tmp_path / '0').rmdir()
    del server.said[:]
    assert not any(watcher.look() for _ in range(5))
    assert server.said == [
      f'{tmp_path}/0, which answers, was removed; none is there, and it goes on answering until '
      'one is.'
    ]
    before = server.server.version
    (tmp_path / '0').mkdir()  # of the same number, and another
    assert watcher.look() and server.server.version is not before


def test_a_changed_object_of_a_bucket_is_seen():
  bucket = fsspec.filesystem('memory')
  seen = []
  for content in (b'who', b'whole'):
    bucket.pipe('/run/checkpoints/5/state/data', content)
    seen.append(newer._files('memory://run/checkpoints/5'))
  assert seen[0][0][0].endswith('5/state/data') and seen[0] != seen[1]
