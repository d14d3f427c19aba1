"""What a run needs before it can start, checked within seconds and told in one message."""

import importlib.util
import pathlib
from typing import Any

import jax
import ml_collections

from aloe_jax import defaults
from aloe_jax import files
from aloe_jax.data import bucket
from aloe_jax.data import schema


def check(config: ml_collections.ConfigDict) -> None:
  """Checks that data, checkpoint and working directory are there and fit.

  Args:
    config: of the run.

  Raises:
    ValueError: what is missing or does not fit, and how to give it.
    FileNotFoundError: a directory that was given does not exist.
  """
  if not config.sim.task:
    _check_robot(config)
  elif not (config.task.demonstrations or config.data.episodes):
    raise ValueError(
      'config.task.demonstrations is 0, and no episodes are given that the policy could begin '
      'with; expected a number of demonstrations, or config.data.episodes.'
    )
  for path in files.expanded(config.data.episodes):
    if files.is_url(path):
      bucket.check(path, config.data.cache)
      continue
    if not pathlib.Path(path).is_dir():
      raise FileNotFoundError(
        f'config.data.episodes names {path}, which does not exist; expected the directory of '
        'one RLDS dataset, holding dataset_info.json. If it was moved, name its new place.'
      )
    try:
      schema.check_is_rlds(pathlib.Path(path))
    except ValueError as error:
      raise ValueError(f'config.data.episodes: {error}') from error
  checkpoint = config.actor.checkpoint
  if checkpoint and '.npz' not in checkpoint and not files.place(checkpoint).is_dir():
    raise FileNotFoundError(
      f'config.actor.checkpoint names {checkpoint}, which does not exist; expected the '
      "directory of a checkpoint, of openpi's or of a run, or a PaliGemma .npz."
    )
  if config.train.wandb and importlib.util.find_spec('wandb') is None:
    raise ValueError(
      'config.train.wandb is True, but Weights & Biases is not installed; install it with\n'
      "    pip install -c constraints.txt -e '.[wandb]'\n"
      'or leave the option out: TensorBoard events and metrics.jsonl are always written.'
    )
  check_batches(config, jax.device_count(), 'here')


def _check_robot(config: ml_collections.ConfigDict) -> None:
  missing = []
  if not config.data.episodes:
    missing.append(
      'episodes: RLDS directories of demonstrations, policy rollouts and take-overs\n'
      '    --config.data.episodes="(\'path/to/dataset/1.0.0\',)"'
    )
  if not config.actor.checkpoint and _is_full_size(config):
    missing.append(
      "a checkpoint for the actor to start from: π0.5's, or this project's last iteration\n"
      '    --config.actor.checkpoint=path/to/pi05_base'
    )
  if config.actor.kind == 'pi05' and not config.actor.tokenizer:
    missing.append(
      "PaliGemma's tokenizer, public at https://storage.googleapis.com/big_vision/"
      'paligemma_tokenizer.model\n    --config.actor.tokenizer=path/to/paligemma_tokenizer.model'
    )
  if missing:
    raise ValueError(
      'this experiment runs on data of a real robot, and needs\n  '
      + '\n  '.join(missing)
      + '\nThe whole of Algorithm 1 without a robot, in a simulator:\n'
      '    --config=experiments/laundry.py:sim'
    )


def _is_full_size(config: ml_collections.ConfigDict) -> bool:
  """Whether published weights fit the actor, so that a random start would be a mistake."""
  published: Any = defaults.PI05['language']
  return config.actor.kind == 'pi05' and config.actor.language.width == published['width']


def check_batches(config: ml_collections.ConfigDict, count: int, where: str) -> None:
  """Raises ValueError unless batches divide by the number of devices; says `where` these are."""
  piece, batch = config.actor.microbatch, config.actor.batch_size
  if piece and (batch % piece or piece % count):
    over = f' and is a multiple of the {count} devices {where}' if count > 1 else ''
    raise ValueError(
      f'config.actor.microbatch is {piece}; expected 0 (all rows at once), or a number that '
      f'divides config.actor.batch_size = {batch}{over}.'
    )
  for phase in ('actor', 'critic'):
    size = config[phase].batch_size
    if size % count:
      raise ValueError(
        f'config.{phase}.batch_size is {size}, which does not divide by the {count} devices '
        f'{where}; choose a multiple of {count}.'
      )
