"""What lerobot wants beside `model.safetensors`: a config, and what is done before and after.

lerobot calls the cameras 'observation.images.head' and so on, the state 'observation.state'. Its
own prompts tell a state that was filled up with zeros to 32 numbers; the files here have it tell
those of the robot alone, as in training.
"""

from collections.abc import Iterator, Mapping
import json
import pathlib
from typing import Any

import numpy as np

from aloe_jax import files
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import deployment
from aloe_jax.pretrained import safetensors_file

CONFIG = 'config.json'
_STATE, _ACTION = 'observation.state', 'action'
_KEYS = {'state': _STATE, 'actions': _ACTION}
_MODES = {'quantile': 'QUANTILES', 'zscore': 'MEAN_STD', 'none': 'IDENTITY'}
_TOKENIZER = 'google/paligemma-3b-pt-224'
_CPU = {'device': 'cpu', 'float_dtype': None}  # lerobot puts its own device in its place


def write(
  directory: pathlib.Path, told: deployment.Deployment, stats: Mapping[str, normalize.Stats]
) -> None:
  """Writes config.json, policy_preprocessor.json, policy_postprocessor.json and their statistics.

  Where actions are relative to the state, two steps make them so and undo it. Versions of lerobot
  up to 0.4 lack them and refuse the file, and so give no robot a relative action.

  Args:
    directory: that exists.
    told: of the policy.
    stats: of 'state' and 'actions', as the formulas take them.
  """
  files.write_text(directory / CONFIG, json.dumps(_config(told), indent=4))
  features = _inputs(told) | _outputs(told)
  mapping = _mapping(told)
  absolute = [name for name, moves in zip(_names(told), told.relative, strict=True) if not moves]
  how = {'enabled': True, 'exclude_joints': absolute, 'action_names': _names(told)}
  is_relative = any(told.relative)
  before = [
    ('rename_observations_processor', {'rename_map': {}}),
    ('to_batch_processor', {}),
    *([('relative_actions_processor', how)] if is_relative else []),
    ('normalizer_processor', {'eps': 1e-8, 'features': features, 'norm_map': mapping}),
    ('pi05_prepare_state_tokenizer_processor_step', {'max_state_dim': told.state_size}),
    (
      'tokenizer_processor',
      {
        'max_length': told.prompt_length,
        'task_key': 'task',
        'padding_side': 'right',
        'padding': 'max_length',
        'truncation': True,
        'tokenizer_name': _TOKENIZER,
      },
    ),
    ('device_processor', _CPU),
  ]
  after = [
    ('unnormalizer_processor', {'eps': 1e-8, 'features': _outputs(told), 'norm_map': mapping}),
    *([('absolute_actions_processor', {'enabled': True})] if is_relative else []),
    ('device_processor', _CPU),
  ]
  _write_steps(directory, 'policy_preprocessor', before, stats)
  _write_steps(directory, 'policy_postprocessor', after, stats)


def stats(directory: pathlib.Path) -> dict[str, normalize.Stats]:
  """Statistics that a policy of lerobot normalises with; {} where it keeps none.

  Raises:
    ValueError: they cannot be read.
  """
  if files.is_url(directory):
    return {}  # where no network of PyTorch is read
  found: dict[str, normalize.Stats] = {}
  for path in sorted(directory.glob('policy_preprocessor_step_*_normalizer_processor.safetensors')):
    tensors, _ = safetensors_file.header(path)
    for ours, theirs in _KEYS.items():
      lists = {
        name: np.asarray(safetensors_file.read(path, tensors[f'{theirs}.{name}']), np.float64)
        for name in ('mean', 'std', 'q01', 'q99')
        if f'{theirs}.{name}' in tensors
      }
      if {'mean', 'std'} <= set(lists):
        found |= normalize.from_json({'norm_stats': {ours: lists}}, f'{path}')
  return found


def check(directory: pathlib.Path) -> None:
  """Raises ValueError if lerobot's config says that a directory holds another policy than π0.5."""
  kind = _read(directory).get('type', 'pi05')
  if kind != 'pi05':
    raise ValueError(f"{directory / CONFIG}: found a policy of type {kind!r}, expected 'pi05'.")


def check_normalization(directory: pathlib.Path, normalization: str) -> None:
  """Raises ValueError if a policy of lerobot normalises otherwise than a config wants it.

  What its config does not say is not compared.
  """
  mapping = _read(directory).get('normalization_mapping')
  if mapping is not None and not isinstance(mapping, dict):
    raise ValueError(
      f'{directory / CONFIG}: normalization_mapping is {mapping!r:.40}, expected an object; copy '
      'it again.'
    )
  expected = _MODES[normalization]
  for kind in ('STATE', 'ACTION'):
    found = mapping.get(kind, expected) if isinstance(mapping, dict) else expected
    if not isinstance(found, str):
      raise ValueError(
        f'{directory / CONFIG}: normalization_mapping: {kind} is {found!r:.40}, expected a word '
        f'such as {expected}; copy it again.'
      )
    if found != expected:
      ours = {theirs: name for name, theirs in _MODES.items()}.get(found)
      fitting = f'give --config.data.normalization={ours}' if ours else 'there is none here for it'
      raise ValueError(
        f'{directory / CONFIG}: {kind} is normalised by {found}, and config.data.normalization = '
        f'{normalization!r} is {expected}; {fitting}.'
      )


def _read(directory: pathlib.Path) -> dict[str, Any]:
  """lerobot's config; {} where there is none, as openpi's own directories have it."""
  path = directory / CONFIG
  if not path.exists():
    return {}
  content = files.read_json(path, 'copy it again.')
  if not isinstance(content, dict):
    raise ValueError(f'{path}: expected an object of JSON.')
  return content


def _config(told: deployment.Deployment) -> dict[str, Any]:
  language, expert = told.variants or ('gemma_2b', 'gemma_300m')
  return {
    'type': 'pi05',
    'n_obs_steps': 1,
    'input_features': _inputs(told),
    'output_features': _outputs(told),
    'paligemma_variant': language,
    'action_expert_variant': expert,
    'dtype': 'float32',
    'chunk_size': told.horizon,
    'n_action_steps': told.execute,
    'max_state_dim': told.state_size,
    'max_action_dim': told.sizes['action_size'],
    'num_inference_steps': told.flow_steps,
    'image_resolution': [told.sizes['image_size']] * 2,
    'tokenizer_max_length': told.prompt_length,
    'normalization_mapping': _mapping(told),
  }


def _mapping(told: deployment.Deployment) -> dict[str, str]:
  mode = _MODES[told.normalization]
  return {'VISUAL': 'IDENTITY', 'STATE': mode, 'ACTION': mode}


def _inputs(told: deployment.Deployment) -> dict[str, Any]:
  """In the order in which the network sees the cameras."""
  shape = [3, told.sizes['image_size'], told.sizes['image_size']]
  cameras = [camera for camera in deployment.OPENPI_CAMERAS if camera in told.cameras]
  images = {
    f'observation.images.{camera}': {'type': 'VISUAL', 'shape': shape} for camera in cameras
  }
  return images | {_STATE: {'type': 'STATE', 'shape': [told.state_size]}}


def _outputs(told: deployment.Deployment) -> dict[str, Any]:
  return {_ACTION: {'type': 'ACTION', 'shape': [told.action_size]}}


def _names(told: deployment.Deployment) -> list[str]:
  """Of an action's numbers; none is a part of another, as lerobot takes names by their parts."""
  return [f'number_{i:03}' for i in range(told.action_size)]


def _write_steps(
  directory: pathlib.Path,
  name: str,
  steps: list[tuple[str, dict[str, Any]]],
  of: Mapping[str, normalize.Stats],
) -> None:
  """One of lerobot's pipelines, and its statistics in a file of the step that uses them."""
  entries = []
  for number, (step, config) in enumerate(steps):
    entry: dict[str, Any] = {'registry_name': step, 'config': config}
    if step.endswith('normalizer_processor') and of:
      entry['state_file'] = f'{name}_step_{number}_{step}.safetensors'
      numbers = dict(_numbers(of))
      shapes = {key: (x.shape, x.dtype) for key, x in numbers.items()}
      safetensors_file.write(directory / entry['state_file'], shapes, numbers.items(), {})
    entries.append(entry)
  files.write_text(
    directory / f'{name}.json', json.dumps({'name': name, 'steps': entries}, indent=2)
  )


def _numbers(of: Mapping[str, normalize.Stats]) -> Iterator[tuple[str, np.ndarray]]:
  """What lerobot's formulas, which add nothing to a range, need to give what ours do."""
  for ours, theirs in _KEYS.items():
    for name, values in vars(of[ours]).items():
      if values is not None:
        added = normalize.EPSILON if name in ('std', 'q99') else 0
        yield f'{theirs}.{name}', np.asarray(values + added, np.float32)
