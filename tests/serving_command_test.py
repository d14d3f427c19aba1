"""What is wrong on the command line of the server: one message each, before anything is loaded."""

import socket

import pytest

from aloe_jax import serve


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
    ('--batch_ms=nan', '--batch_ms is nan; expected 0 to'),
    ('--reload_seconds=inf', '--reload_seconds is inf; expected 0 to'),
    ('--message_mb=0', '--message_mb is 0; expected 1 to'),
    ('--connections=0', '--connections is 0; expected 1 to'),
    ('--seed=-1', '--seed is -1; expected 0 to'),
    ('--best_of=0', '--best_of is 0; expected 1 or more'),
    ('--robot=alohaa', "--robot is 'alohaa'; expected one of aloe, aloha"),
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
  'content, message', [('', 'is empty'), ('clé', 'other characters than ASCII'), ('a\nb', 'ASCII')]
)
def test_a_file_without_a_key_is_refused(capsys, tmp_path, content, message):
  (tmp_path / 'key').write_text(content)
  assert message in said(capsys, '--workdir=x', f'--api_key_file={tmp_path / "key"}')


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
