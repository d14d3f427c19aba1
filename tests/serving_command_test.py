"""The command of the server: what is wrong is told before anything is loaded, and how it ends."""

import gc
import os
import signal
import socket
import sys
import threading
import time
import weakref

import pytest
import served

from aloe_client import wire
from aloe_jax import serve
from aloe_jax.serving import server as server_lib


def said(capsys, *arguments):
  """What is printed, and the end of the program."""
  with pytest.raises(SystemExit) as ended:
    serve.main(list(arguments))
  printed = capsys.readouterr().err
  return printed or f'{ended.value}'


@pytest.mark.parametrize(
  'option, message',
  [
    ('--port=70000', '--port is 70000; expected 0 to 65535'),
    ('--port=abc', "argument --port: invalid int value: 'abc'"),
    ('--max_batch=0', '--max_batch is 0; expected 1 to'),
    ('--max_batch=257', '--max_batch is 257; expected 1 to 256'),
    ('--batch_ms=nan', '--batch_ms is nan; expected 0 to'),
    ('--reload_seconds=inf', '--reload_seconds is inf; expected 0 to'),
    ('--message_mb=0', '--message_mb is 0; expected 1 to'),
    ('--connections=0', '--connections is 0; expected 1 to'),
    ('--seed=-1', '--seed is -1; expected 0 to'),
    ('--best_of=0', '--best_of is 0; expected 1 or more'),
    ('--limits=nowhere.json', '--limits names nowhere.json, which is no file'),
    ('--robot=alohaa', "--robot is 'alohaa'; expected one of aloe, simulator"),
    ('--host=0.0.0.0', '--host=0.0.0.0 lets others than this machine'),
    ('--host=::', '--host=:: lets others than this machine'),
    ('--tls_cert=cert.pem', '--tls_cert and --tls_key go together'),
    ('--api_key_file=/none', '--api_key_file=/none cannot be read'),
    ('--workdir=/none', '/none holds no run'),
    ('--checkpoint=/none/checkpoints/7', '/none/checkpoints/7: there is no such directory'),
    ('--por=1', 'no option --por'),
  ],
)
def test_a_wrong_option_is_answered_by_name(capsys, option, message):
  arguments = [option] if option.startswith(('--workdir', '--check')) else ['--workdir=x', option]
  printed = said(capsys, *arguments, *['--port=0'] * ('--port' not in option))
  assert message in printed and printed.count('\n') <= 1, printed


@pytest.mark.parametrize(
  'content, message',
  [('', 'is empty'), ('clé', 'other characters than ASCII'), ('a\nb', 'a line break')],
)
def test_a_file_without_a_key_is_refused(capsys, tmp_path, content, message):
  (tmp_path / 'key').write_text(content)
  assert message in said(capsys, '--workdir=x', f'--api_key_file={tmp_path / "key"}')


def test_two_keys_are_refused_and_a_line_break_at_the_end_is_of_none(capsys, tmp_path, monkeypatch):
  (tmp_path / 'key').write_text('secret\n')
  monkeypatch.setenv('ALOE_API_KEY', 'other')
  given = ('--workdir=x', f'--api_key_file={tmp_path / "key"}')
  assert 'and $ALOE_API_KEY give two keys' in said(capsys, *given)
  monkeypatch.setenv('ALOE_API_KEY', 'secret\n')
  assert serve._settings(serve._parser().parse_args(given)).key == 'secret'


def test_looking_for_newer_checkpoints_does_not_go_with_naming_one(capsys):
  printed = said(capsys, '--checkpoint=x/checkpoints/1', '--reload_seconds=5', '--port=0')
  assert '--checkpoint serves one and looks for no others' in printed


def test_what_is_no_certificate_is_named(capsys, tmp_path):
  (tmp_path / 'cert.pem').write_text('no certificate')
  path = tmp_path / 'cert.pem'
  printed = said(capsys, '--workdir=x', f'--tls_cert={path}', f'--tls_key={path}')
  assert f'--tls_cert={path} with --tls_key={path}' in printed


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(capsys):
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    printed = said(capsys, '--workdir=x', f'--port={port}')
  assert f'--port={port}: nobody can listen there' in printed


def test_an_address_of_another_machine_is_told(capsys):
  printed = said(capsys, '--workdir=x', '--host=192.0.2.1', '--port=0', '--insecure')
  assert '--host=192.0.2.1' in printed and 'nobody can listen there' in printed


def test_a_key_lets_it_listen_elsewhere(monkeypatch):
  monkeypatch.setenv('ALOE_API_KEY', 'secret')
  given = serve._parser().parse_args(['--workdir=x', '--host=0.0.0.0'])
  settings = serve._settings(given)
  assert (settings.host, settings.key) == ('0.0.0.0', 'secret')


def test_the_command_takes_up_what_is_newer_forgets_the_old_and_ends_by_a_signal(
  monkeypatch, tmp_path
):
  said, loaded, found, interval = [], [], {}, sys.getswitchinterval()
  (tmp_path / '1').mkdir()

  def load(path):
    model = served.FakeModel(step=int(path.name))
    loaded.append(weakref.ref(model))
    return model

  def robot():
    try:
      until(lambda: said)
      port = int(said[0].partition('127.0.0.1:')[2].split()[0])
      with served.Client(port) as client:
        found['first'] = client.ask()['aloe']['step']
        (tmp_path / '2').mkdir()
        until(lambda: 'answers, after' in said[-1])
        found['second'] = client.ask()['aloe']['step']
        gc.collect()
        found['kept'] = [model() is not None for model in loaded]
    finally:
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(serve, '_loader', lambda *_: (load, tmp_path / '1'))
  monkeypatch.setattr(serve, '_say', said.append)
  thread = threading.Thread(target=robot)
  thread.start()
  serve.main([f'--workdir={tmp_path}', '--port=0', '--reload_seconds=0.05'])
  thread.join()
  sys.setswitchinterval(interval)
  assert found == {'first': 1, 'second': 2, 'kept': [False, True]}
  assert said[-1] == 'Stopped; what was asked by then was answered.'


def test_a_policy_without_statistics_says_that_nothing_is_held_against_them(monkeypatch):
  said, model = [], served.FakeModel()
  model.experiment.config.data.normalization = 'none'
  version = served.make_version(model)
  told = wire.unpack(version.greeting)['aloe']
  assert (told['checked'], told['statistics']) == (False, None)
  checked = wire.unpack(served.make_version().greeting)['aloe']
  assert checked['checked'] and len(checked['statistics']) == 16
  monkeypatch.setattr(serve, '_say', said.append)
  serve._say_ready(version, server_lib.Settings(), 8000)
  assert said[0].startswith('Ready') and 'no state is refused' in said[1]


def until(condition, seconds=20.0):
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.01)
  assert condition()
