"""A trained policy behind openpi's websocket protocol: any client of openpi talks to it.

python -m aloe_jax.serve --workdir=runs/laundry
"""

import argparse
import asyncio
from collections.abc import Callable, Sequence
import contextlib
import copy
import errno
import functools
import os
import pathlib
import signal
import socket
import ssl
import sys

import ml_collections

from aloe_client import loopback
from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints
from aloe_jax.run import compilation
from aloe_jax.run import compile_cache
from aloe_jax.run import kept
from aloe_jax.serving import actions
from aloe_jax.serving import buffers
from aloe_jax.serving import loading
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import newer
from aloe_jax.serving import robots
from aloe_jax.serving import server as server_lib
from aloe_jax.serving import version as version_lib

_KEY = 'ALOE_API_KEY'
_RELOAD = 10.0  # seconds between two looks for a newer checkpoint
_MOST = 2**31  # of any number
_LARGEST = 256  # requests answered together: a program is compiled for every power of two
_TURN = 5e-4  # seconds of Python that a thread may do while others wait: replies, as one loads


def main(argv: Sequence[str] | None = None) -> None:
  """Serves the checkpoint of a command line until a signal ends it."""
  given = command_line.parse(_parser(), argv, instead=lambda read: _run_of(read.checkpoint))
  with command_line.usage_errors():
    settings = _settings(given.options)
    robot = robots.find(given.options.robot)
    _check_free(settings)
  with contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given))
    _serve(given, settings, robot)


def _serve(given: command_line.Given, settings: server_lib.Settings, robot: robots.Robot) -> None:
  options = given.options
  load, path = _loader(given, settings, robot)

  programs: model_lib.Programs | None = None

  def make(path: pathlib.Path) -> version_lib.Version:
    nonlocal programs
    model = load(path)
    if programs is not None:
      model.take_over(programs)
    programs = model.programs
    limits = actions.Limits()
    if options.limits:
      limits = actions.read_limits(options.limits, model.chunk_shape[1])
    version = version_lib.make(model, robot, limits)
    with progress.bar('Make ready', len(model.sizes), 'batch sizes') as advance:
      model.warm(lambda done: advance(done))
    return version

  with config_lib.user_errors(), compilation.told():
    server = server_lib.Server(make(path), settings, _say)
  buffers.keep()
  sys.setswitchinterval(_TURN)
  watched: contextlib.AbstractContextManager = contextlib.nullcontext()
  seconds = _RELOAD if options.reload_seconds is None else options.reload_seconds
  if seconds and not options.checkpoint:
    watched = newer.Watcher(
      path.parent,
      server,
      make,
      number=int(path.name),
      seconds=seconds,
      log=_say,
    )
  with watched, config_lib.user_errors():
    asyncio.run(_listen(server))


async def _listen(server: server_lib.Server) -> None:
  """Listens until SIGINT or SIGTERM; what was asked by then is answered."""
  ended = asyncio.Event()
  for number in (signal.SIGINT, signal.SIGTERM):
    asyncio.get_running_loop().add_signal_handler(number, ended.set)
  settings = server.settings
  async with server.listening() as port:
    _say_ready(server.version, settings, port)
    await ended.wait()
  _say('Stopped; what was asked by then was answered.')


def _say_ready(version: version_lib.Version, settings: server_lib.Settings, port: int) -> None:
  scheme = 'wss' if settings.tls else 'ws'
  host = f'[{settings.host}]' if ':' in settings.host else settings.host
  _say(
    f'Ready: {scheme}://{host}:{port} answers by {version.model.name} (step {version.model.step}) '
    f'for {version.robot.name}; Ctrl-C ends it.'
  )
  if not version.reader.normalized:
    _say(
      'Its run was trained without statistics (config.data.normalization is none): no state is '
      'refused and no action flagged for being far from what training had seen.'
    )
  if not version.kind:
    _say(
      'Neither --robot nor the episodes of training tell whether actions are positions or '
      f'velocities, and so what a robot that holds is sent; {version_lib.KIND_ADVICE}'
    )


def _loader(
  given: command_line.Given, settings: server_lib.Settings, robot: robots.Robot
) -> tuple[Callable[[pathlib.Path], model_lib.Model], pathlib.Path]:
  """What makes a model of a checkpoint, and the first one."""
  options = given.options
  sizes = {'largest': settings.largest, 'real_time': options.real_time}
  if options.checkpoint and not files.place(options.checkpoint).exists():
    raise SystemExit(f'error: --checkpoint={options.checkpoint}: there is no such directory.')
  if options.checkpoint and not checkpoints.is_one(files.place(options.checkpoint)):
    config = _openpi_config(given, robot)
    compile_cache.use(config, given.workdir)
    return functools.partial(
      lambda path: loading.of_openpi(config, str(path), robot, **sizes)
    ), files.place(options.checkpoint)
  config = kept.config(given, 'serve', options.checkpoint)
  config.parallel.update(mode='fsdp', fsdp=0)  # all devices here, however many trained
  if options.best_of:
    config.actor.best_of = options.best_of
  with config_lib.user_errors():
    config_lib.validate(config)
    if robot.adapts:
      raise ValueError(
        f'--robot={robot.name} turns numbers into those that openpi trained on, and the run of '
        f'{given.where} was trained on those of its episodes; expected a robot that does not, such '
        'as aloha_sim, whose keys are the same.'
      )
    compile_cache.use(config, given.workdir)
    written = checkpoints.Checkpoints(given.workdir / 'checkpoints')
    path = files.place(options.checkpoint) if options.checkpoint else written.newest()
  return lambda path: loading.of_run(copy.deepcopy(config), path, **sizes), path


def _openpi_config(given: command_line.Given, robot: robots.Robot) -> ml_collections.ConfigDict:
  """What openpi's directory does not tell: by the robot, and by the command line."""
  with command_line.usage_errors():
    if given.options.best_of and given.options.best_of > 1:
      raise ValueError(f'--best_of: {given.options.checkpoint} has no critic to choose by.')
    if given.file:
      config = command_line.load(given.file)
    elif robot.policy:
      config = loading.openpi_config(robot)
    else:
      raise ValueError(
        f'--checkpoint={given.options.checkpoint} is of openpi, which does not tell what robot it '
        f'is for; expected --robot={" or ".join(n for n, r in robots.PRESETS.items() if r.policy)}'
        ', or --config with an experiment of your robot.'
      )
    command_line.override(config, given.overrides)
  with config_lib.user_errors():
    config_lib.validate(config)
  return config


def _run_of(checkpoint: str | None) -> str:
  """The working directory that a checkpoint of ours lies in; of openpi's the one around it."""
  if not checkpoint:
    return ''
  path = pathlib.PurePosixPath(checkpoint.rstrip('/'))
  return str(path.parent.parent if path.name.isdecimal() else path.parent)


def _settings(options: argparse.Namespace) -> server_lib.Settings:
  """How to listen; refuses what lets anybody in.

  Raises:
    ValueError: naming the option.
  """
  key = _key(options)
  for name, low, high in (
    ('max_batch', 1, _LARGEST),
    ('connections', 1, _MOST),
    ('message_mb', 1, _MOST),
    ('batch_ms', 0, _MOST),
    ('seed', 0, _MOST),
  ):
    if not low <= getattr(options, name) <= high:
      raise ValueError(f'--{name} is {getattr(options, name)}; expected {low} to {high}.')
  if options.reload_seconds is not None:
    if not 0 <= options.reload_seconds <= _MOST:
      raise ValueError(f'--reload_seconds is {options.reload_seconds}; expected 0 to {_MOST}.')
    if options.checkpoint:
      raise ValueError(
        '--reload_seconds looks for newer checkpoints, and --checkpoint serves one and looks for '
        'no others; leave one of them out.'
      )
  if not 0 <= options.port < 65536:
    raise ValueError(f'--port is {options.port}; expected 0 to 65535.')
  if options.best_of is not None and options.best_of < 1:
    raise ValueError(f'--best_of is {options.best_of}; expected 1 or more.')
  if options.limits and not pathlib.Path(options.limits).is_file():
    raise ValueError(
      f'--limits names {options.limits}, which is no file; expected JSON, see --help.'
    )
  if not (loopback.is_loopback(options.host) or key or options.insecure):
    raise ValueError(
      f'--host={options.host} lets others than this machine ask the robot to move, and there is no '
      f'key: give one with --api_key_file or ${_KEY}, better with --tls_cert and --tls_key; or say '
      '--insecure.'
    )
  return server_lib.Settings(
    host=options.host,
    port=options.port,
    key=key,
    tls=_tls(options),
    message_bytes=options.message_mb * 2**20,
    connections=options.connections,
    largest=options.max_batch,
    batch_seconds=options.batch_ms / 1000,
    seed=options.seed,
  )


def _key(options: argparse.Namespace) -> str:
  """That robots have to know; '' for none. A line break at its end is not of it.

  Raises:
    ValueError: naming where it is from, and what is wrong with it.
  """
  key, where = os.environ.get(_KEY, '').strip(), f'${_KEY}'
  told = key
  if options.api_key_file:
    where = f'--api_key_file={options.api_key_file}'
    try:
      key = pathlib.Path(options.api_key_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
      raise ValueError(f'{where} cannot be read: {error}') from error
    if not key:
      raise ValueError(f'{where} is empty; expected the key in it.')
    if told and told != key:
      raise ValueError(f'{where} and ${_KEY} give two keys; expected one, or unset ${_KEY}.')
  elif os.environ.get(_KEY) and not key:
    raise ValueError(f'{where} holds spaces alone; expected the key, or leave it unset.')
  if not key.isascii():
    raise ValueError(f'{where}: the API key holds other characters than ASCII.')
  if key and not key.isprintable():
    raise ValueError(
      f'{where}: the API key holds a line break or another control character; expected one line.'
    )
  return key


def _check_free(settings: server_lib.Settings) -> None:
  """Listens once, before anything is loaded and compiled for minutes.

  Raises:
    ValueError: the address is none of this machine, or another program has the port.
  """
  try:
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    socket.create_server(address, family=family).close()
  except (OSError, UnicodeError) as error:
    taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    why = 'something listens there already; give another --port' if taken else f'{error}'
    raise ValueError(
      f'--host={settings.host} --port={settings.port}: nobody can listen there: {why}.'
    ) from error


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
  if bool(options.tls_cert) != bool(options.tls_key):
    raise ValueError('--tls_cert and --tls_key go together; one is missing.')
  if not options.tls_cert:
    return None
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  try:
    context.load_cert_chain(options.tls_cert, options.tls_key)
  except (OSError, ssl.SSLError) as error:
    raise ValueError(
      f'--tls_cert={options.tls_cert} with --tls_key={options.tls_key}: {error}'
    ) from error
  return context


def _say(line: str) -> None:
  progress.CONSOLE.print(line, soft_wrap=True, highlight=False, markup=False)


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.serve', __doc__)
  add = parser.add_argument
  add(
    '--checkpoint',
    metavar='DIR',
    help='to serve: one of a run, or a directory of openpi; by default the newest of --workdir, '
    'and each newer one as it comes',
  )
  add(
    '--robot',
    default='aloe',
    metavar='NAME',
    help=f'how its program names things: {", ".join(robots.PRESETS)}, or a .json file '
    '(default: %(default)s)',
  )
  add('--host', default='127.0.0.1', metavar='IP', help='to listen at (default: %(default)s)')
  add('--port', type=int, default=8000, metavar='N', help='0: any that is free (default: 8000)')
  add('--api_key_file', metavar='FILE', help=f'holds the key that robots send; or ${_KEY} is it')
  add('--tls_cert', metavar='FILE', help='certificate of the server, PEM')
  add('--tls_key', metavar='FILE', help='its private key, PEM')
  add('--insecure', action='store_true', help='listen at other addresses without a key')
  add('--best_of', type=int, metavar='N', help='chunks among which the critic chooses')
  add(
    '--real_time', action='store_true', help='chunks may go on from what is carried out meanwhile'
  )
  add('--limits', metavar='FILE', help='JSON: low, high and step of every number of an action')
  add('--max_batch', type=int, default=8, metavar='N', help='requests answered together (8)')
  add('--batch_ms', type=float, default=4.0, metavar='MS', help='that one waits for others (4)')
  add('--connections', type=int, default=64, metavar='N', help='at a time (64)')
  add('--message_mb', type=int, default=32, metavar='MB', help='longest message (32)')
  add('--reload_seconds', type=float, metavar='S', help=f'0: never ({_RELOAD:.0f})')
  add('--seed', type=int, default=0, metavar='N', help='of the noise (0)')
  return parser


if __name__ == '__main__':
  command_line.run(main)
