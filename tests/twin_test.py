"""A working directory in a bucket and its twin here: what is carried, in which order, when cut."""

import json
import time

import pytest

from aloe_jax import config
from aloe_jax.buckets import storage
from aloe_jax.buckets import twin
from aloe_jax.run import claim
from aloe_jax.run import lock


@pytest.fixture
def url(emulator, tmp_path):
  emulator.requests.clear()
  return f'gs://robots/{tmp_path.name}/laundry'


def fill(directory, **more):
  """What a run has written by the end of its first iteration."""
  content = {
    'metrics/metrics.jsonl': '{"step": 1}\n',
    'episodes/demonstrations/dataset_info.json': '{}',
    'config.json': '{"seed": 0}',
    'manifest.json': '[1]',
    'evaluations.json': '[2]',
    'bank/bank-1.npy': 'numbers',
    'episodes/.demonstrations.index-1/state.npy': 'numbers',
    'train.lock': 'me',
  } | {name.replace('__', '/'): text for name, text in more.items()}
  for name, text in content.items():
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(directory):
  return sorted(str(p.relative_to(directory)) for p in directory.rglob('*') if p.is_file())


CARRIED = [
  'config.json',
  'curves',
  'episodes/demonstrations/dataset_info.json',
  'evaluations.json',
  'manifest.json',
  'metrics/metrics.jsonl',
]


def test_what_a_run_has_written_is_there_on_the_next_machine_and_nothing_else(url, tmp_path):
  fill(tmp_path / 'one', curves='drawn')
  twin.Twin(url, tmp_path / 'one').push()
  fill(tmp_path / 'two', left='by a run of before', episodes__iteration_1__x='which was cut off')
  twin.Twin(url, tmp_path / 'two').pull()
  carried = {name: (tmp_path / 'two' / name).read_text() for name in CARRIED}
  assert carried == {name: (tmp_path / 'one' / name).read_text() for name in CARRIED}
  here = {name for name in names(tmp_path / 'two') if name not in CARRIED}
  assert here == {
    'bank/bank-1.npy', 'episodes/.demonstrations.index-1/state.npy', 'train.lock',
  }  # fmt: skip
  assert not (tmp_path / 'two' / 'episodes' / 'iteration_1').exists()


def test_only_what_has_changed_is_brought_over_and_what_tells_of_it_comes_last(
  url, emulator, tmp_path
):
  fill(tmp_path / 'run')
  here = twin.Twin(url, tmp_path / 'run')
  here.push()
  emulator.requests.clear()
  fill(tmp_path / 'run', episodes__iteration_1__x='more')
  (tmp_path / 'run' / 'evaluations.json').write_text('[2, 3]')
  (tmp_path / 'run' / 'metrics' / 'metrics.jsonl').write_text('{"step": 1}\n{"step": 2}\n')
  here.push()
  written = [path for method, path in emulator.requests if method in ('POST', 'PUT')]
  order = ['metrics.jsonl', 'iteration_1/x', 'evaluations.json', 'contents.json']
  found = [next(n for n, path in enumerate(written) if name in path) for name in order]
  assert found == sorted(found)
  assert not any('manifest' in path or 'demonstrations' in path for path in written)
  emulator.requests.clear()
  here.push()
  assert not emulator.requests


def test_a_transfer_that_was_cut_off_is_never_half_there(url, emulator, tmp_path):
  fill(tmp_path / 'run')
  here = twin.Twin(url, tmp_path / 'run')
  here.push()
  for name in ('a', 'b'):
    fill(tmp_path / 'run', **{f'episodes__iteration_1__{name}': name})
  (tmp_path / 'run' / 'manifest.json').write_text('[1, "iteration_1"]')
  refuse = lambda method, path: 403 if method == 'POST' and 'iteration_1/b' in path else None  # noqa: E731
  with emulator.rule(refuse), pytest.raises(storage.Told, match='this account may not'):
    here.push()
  other = twin.Twin(url, tmp_path / 'other')
  other.pull()
  assert names(tmp_path / 'other') == [name for name in CARRIED if name != 'curves']
  assert json.loads((tmp_path / 'other' / 'manifest.json').read_text()) == [1]
  here.push()
  other.pull()
  assert (tmp_path / 'other' / 'episodes' / 'iteration_1' / 'b').read_text() == 'b'


def test_of_a_first_transfer_that_was_cut_off_nothing_is_taken_and_of_a_copied_run_all(
  url, emulator, tmp_path
):
  fill(tmp_path / 'run')
  with (
    emulator.rule(lambda method, path: 403 if method == 'POST' and 'manifest' in path else None),
    pytest.raises(storage.Told),
  ):
    twin.Twin(url, tmp_path / 'run').push()
  assert storage.find(url)
  other = twin.Twin(url, tmp_path / 'other')
  other.pull()
  assert not names(tmp_path / 'other')
  storage.write(f'{url}/checkpoints/0/meta/metadata', b'{}')
  other.pull()
  assert 'config.json' in names(tmp_path / 'other')


def test_what_a_message_has_moved_away_is_not_asked_for(url, tmp_path):
  fill(tmp_path / 'run')
  twin.Twin(url, tmp_path / 'run').push()
  for name in ('config.json', 'metrics/metrics.jsonl'):
    storage.remove(f'{url}/{name}')
  twin.Twin(url, tmp_path / 'other').pull()
  assert 'manifest.json' in names(tmp_path / 'other')
  assert not {'config.json', 'metrics/metrics.jsonl'} & set(names(tmp_path / 'other'))
  storage.remove(f'{url}/manifest.json')
  with pytest.raises(storage.Told, match='manifest.json is missing, which contents.json names'):
    twin.Twin(url, tmp_path / 'other').pull()


def test_a_damaged_file_is_named_where_it_is_to_be_put_right(url, tmp_path):
  here = twin.Twin(url, tmp_path / 'run')
  message = f'{tmp_path}/run/manifest.json: found no whole JSON; put back the file'
  with here.attached(), pytest.raises(SystemExit) as stopped, config.user_errors():
    raise ValueError(message)
  assert stopped.value.code == f'error: {url}/manifest.json: found no whole JSON; put back the file'
  assert twin.told(message) == message


def test_who_only_reads_adds_to_a_run_and_takes_nothing_away(url, tmp_path):
  fill(tmp_path / 'run')
  twin.Twin(url, tmp_path / 'run').push()
  reader = twin.Twin(url, tmp_path / 'reader', owned=False, without=('episodes',))
  reader.pull()
  assert not (tmp_path / 'reader' / 'episodes').exists()
  fill(tmp_path / 'reader', **{'evaluations__2.json': 'new'})
  reader.push()
  found = storage.find(url)
  assert {'evaluations/2.json', 'episodes/demonstrations/dataset_info.json'} <= found.keys()


def test_paths_of_a_twin_are_shown_as_those_they_stand_for(url, tmp_path):
  with twin.Twin(url, tmp_path / 'run').attached():
    assert twin.shown(tmp_path / 'run' / 'curves.png') == f'{url}/curves.png'
    assert str(twin.there(tmp_path / 'run' / 'checkpoints' / '4')) == f'{url}/checkpoints/4'
    assert twin.there(tmp_path / 'run' / 'bank') == tmp_path / 'run' / 'bank'
  assert twin.there(tmp_path / 'run' / 'checkpoints') == tmp_path / 'run' / 'checkpoints'


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(claim, 'BEAT_SECONDS', 0.05)
  monkeypatch.setattr(claim, 'SILENT_SECONDS', 0.6)


def test_a_second_run_is_refused_while_the_first_gives_signs_of_life(url, quick, monkeypatch):
  first = claim.Claim(url)
  monkeypatch.setattr(
    lock, 'me', lambda: {'host': 'other', 'process': 7, 'boot': '2', 'machine': ''}
  )
  with pytest.raises(
    FileExistsError, match=f'{url} is being worked in by process .* one `train` at'
  ):
    claim.Claim(url)
  first.release()
  second = claim.Claim(url)
  second.release()
  assert storage.read(f'{url}/{lock.NAME}') is None


def test_what_a_machine_left_that_was_taken_away_is_taken_over_once_it_was_silent(
  url, quick, capsys
):
  gone = {'host': 'spot-1', 'process': 7, 'since': 'then', 'command': 'train', 'boot': '2'}
  storage.write(f'{url}/{lock.NAME}', json.dumps(gone).encode())
  claim.Claim(url).release()
  printed = capsys.readouterr().out
  assert 'waits for 0.6 s to see whether it lives' in printed
  assert 'Taking over from process 7 on spot-1' in printed


def test_a_process_that_was_killed_on_this_machine_is_not_waited_for(url, capsys):
  gone = lock.me() | {'process': 2**22 + 1}
  storage.write(f'{url}/{lock.NAME}', json.dumps(gone).encode())
  begin = time.monotonic()
  claim.Claim(url).release()
  assert time.monotonic() - begin < 5
  assert 'Taking over' in capsys.readouterr().out


def test_who_has_lost_its_claim_ends_before_it_writes_over_another(url, quick, monkeypatch):
  ended = []
  monkeypatch.setattr(claim.stopping, 'end_at_once', lambda *said: ended.append(said))
  held = claim.Claim(url)
  storage.write(f'{url}/{lock.NAME}', b'{"host": "other", "process": 8}')
  held._thread.join(10)
  assert 'is no longer of this process, but of process 8 on other' in ended[0][1]
  assert b'other' in storage.read(f'{url}/{lock.NAME}')
