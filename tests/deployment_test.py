"""What openpi and lerobot are told beside the weights does what the policy did here."""

import dataclasses
import json
import pathlib
import re
import types as python_types
from typing import Any

import numpy as np
import pytest
import robot

from aloe_jax import config as config_lib
from aloe_jax import defaults
from aloe_jax import export
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer
from aloe_jax.pretrained import deployment
from aloe_jax.pretrained import lerobot_files
from aloe_jax.pretrained import openpi_config
from aloe_jax.pretrained import safetensors_file
from aloe_jax.run import experiment
from aloe_jax.run import starting_point

TOLD = deployment.Deployment(
  name='pi05_laundry',
  asset='my_robot',
  prompt='Fold "the" t-shirt',
  cameras=('head', 'right_wrist'),
  state_size=14,
  action_size=14,
  delta=(6, -1, 6, -1),
  normalization='quantile',
  horizon=50,
  execute=5,
  control_hz=30.0,
  flow_steps=10,
  prompt_length=200,
  sizes=defaults.PI05,
)


@dataclasses.dataclass
class Group:
  """openpi's: transforms of what comes in, and of what goes out, the last pushed first."""

  inputs: list[Any] = dataclasses.field(default_factory=list)
  outputs: list[Any] = dataclasses.field(default_factory=list)

  def push(self, inputs, outputs):
    return Group([*self.inputs, *inputs], [*outputs, *self.outputs])


@dataclasses.dataclass
class Data:
  """openpi's config of data, of which the text changes some fields."""

  asset_id: str
  use_quantile_norm: bool = True
  data_transforms: Any = None
  model_transforms: Any = None


@dataclasses.dataclass(frozen=True)
class Factory:
  repo_id: str = ''
  assets: Any = None

  def create_base_config(self, assets_dirs, model_config):
    del assets_dirs, model_config
    return Data(self.assets['asset_id'])


def as_read_by_openpi(told):
  """The config that the text makes, beside stand-ins for what openpi has there."""

  def mask(*runs):
    return np.concatenate([np.full(abs(n), n > 0) for n in runs])

  configs: dict[str, Any] = {}
  names = {
    'dataclasses': dataclasses,
    'pathlib': pathlib,
    '_model': python_types.SimpleNamespace(BaseModelConfig=dict),
    '_transforms': python_types.SimpleNamespace(
      DataTransformFn=object,
      Group=Group,
      make_bool_mask=mask,
      DeltaActions=lambda mask: ('delta', mask.tolist()),
      AbsoluteActions=lambda mask: ('absolute', mask.tolist()),
    ),
    'DataConfigFactory': Factory,
    'DataConfig': Data,
    'AssetsConfig': dict,
    'ModelTransformFactory': lambda default_prompt: lambda model: (default_prompt, model),
    'TrainConfig': dict,
    'pi0_config': python_types.SimpleNamespace(Pi0Config=dict),
    '_CONFIGS_DICT': configs,
  }
  exec(openpi_config.text(told, '/exported/pi05_laundry'), names)
  [config] = configs.values()
  return config, config['data'].create('assets', config['model'])


def test_openpi_is_told_the_network_the_mask_the_horizon_the_prompt_and_the_statistics():
  config, data = as_read_by_openpi(TOLD)
  assert config['name'] == 'pi05_laundry'
  assert config['model'] == {
    'pi05': True,
    'paligemma_variant': 'gemma_2b',
    'action_expert_variant': 'gemma_300m',
    'action_dim': 32,
    'action_horizon': 50,
    'max_token_len': 200,
    'discrete_state_input': True,
  }
  mask = [True] * 6 + [False] + [True] * 6 + [False]
  assert data.data_transforms.inputs[1:] == [('delta', mask)]
  assert data.data_transforms.outputs[:-1] == [('absolute', mask)]
  assert (data.asset_id, data.use_quantile_norm) == ('my_robot', True)
  assert data.model_transforms == ('Fold "the" t-shirt', config['model'])
  assert list(mask) == list(TOLD.relative)


def test_openpi_is_told_of_absolute_actions_z_scores_and_no_prompt():
  changed = dataclasses.replace(TOLD, delta=(), normalization='zscore', prompt='')
  config, data = as_read_by_openpi(changed)
  assert len(data.data_transforms.inputs) == len(data.data_transforms.outputs) == 1
  assert not data.use_quantile_norm and not any(changed.relative)
  assert data.model_transforms == (None, config['model'])


def test_openpi_gets_a_clients_cameras_in_their_places_and_masks_what_the_robot_lacks():
  _, data = as_read_by_openpi(TOLD)
  [receive, *_], [*_, answer] = data.data_transforms.inputs, data.data_transforms.outputs
  rng = np.random.default_rng(0)
  head = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
  right = rng.random((3, 20, 30), dtype=np.float32)
  sent = {'images': {'head': head, 'right_wrist': right}, 'state': np.arange(14), 'prompt': 'Go'}
  found = receive(sent)
  np.testing.assert_array_equal(found['image']['base_0_rgb'], head)
  np.testing.assert_array_equal(
    found['image']['right_wrist_0_rgb'], (255 * right).astype(np.uint8).transpose(1, 2, 0)
  )
  assert not found['image']['left_wrist_0_rgb'].any()
  assert found['image_mask'] == {
    'base_0_rgb': True,
    'left_wrist_0_rgb': False,
    'right_wrist_0_rgb': True,
  }
  assert found['prompt'] == 'Go' and found['state'].dtype == np.float32
  assert answer({'actions': np.zeros((50, 32)), 'state': 0})['actions'].shape == (50, 14)
  with pytest.raises(ValueError, match='state: found 13 numbers, expected 14'):
    receive(sent | {'state': np.arange(13)})


def test_the_text_says_how_to_run_it_and_what_would_differ():
  text = openpi_config.text(TOLD, '/exported/pi05 laundry')
  assert "cat '/exported/pi05 laundry/openpi_config.py' >> src/openpi/training/config.py" in text
  assert (
    'uv run scripts/serve_policy.py policy:checkpoint --policy.config=pi05_laundry '
    "--policy.dir='/exported/pi05 laundry'" in text
  )
  assert 'openpi takes 10' not in text and 'no names for' not in text
  small = dataclasses.replace(TOLD, flow_steps=5, sizes=defaults.PI05 | dict(image_size=28))
  text = openpi_config.text(small, '/x')
  assert 'It acted with 5 steps of the sampler; openpi takes 10.' in text
  assert 'sizes that openpi has no names for' in text


@pytest.mark.parametrize(
  'directory, name',
  [
    ('pi05_laundry', 'pi05_laundry'),
    ('laundry-2.1', 'pi05_laundry_2_1'),
    ('Wäsche', 'pi05_W_sche'),
  ],
)
def test_a_policy_is_named_after_its_directory(directory, name):
  assert openpi_config.name_of(directory) == name


def make_stats():
  """Of a robot one of whose numbers hardly moves."""
  low, width = np.linspace(-1, 1, 14), np.linspace(0.5, 2, 14)
  width[3] = 1e-7
  stats = normalize.Stats(low + width / 2, width / 4, low, low + width)
  return {'state': stats, 'actions': stats}


@pytest.mark.parametrize('normalizer', [normalize.Quantile, normalize.ZScore])
def test_statistics_go_out_as_the_plain_formulas_need_them(normalizer):
  stats = make_stats()['state']
  used, x = normalize.as_used(stats), np.linspace(-2, 2, 14)
  if normalizer is normalize.Quantile:
    plain = (x - used.q01) / (used.q99 - used.q01 + 1e-6) * 2 - 1
  else:
    plain = (x - used.mean) / (used.std + 1e-6)
  np.testing.assert_allclose(normalizer(stats, 'state')(x), plain, rtol=1e-12)
  np.testing.assert_allclose(normalizer(used, 'state')(x), plain, rtol=1e-12)


def steps_of(directory, name):
  content = json.loads((directory / f'{name}.json').read_text())
  assert content['name'] == name
  return {step['registry_name']: step for step in content['steps']}


def test_lerobot_is_told_the_robot_and_its_own_steps_in_their_order(tmp_path):
  lerobot_files.write(tmp_path, TOLD, make_stats())
  config = json.loads((tmp_path / 'config.json').read_text())
  image = {'type': 'VISUAL', 'shape': [3, 224, 224]}
  assert config['input_features'] == {
    'observation.images.head': image,
    'observation.images.right_wrist': image,
    'observation.state': {'type': 'STATE', 'shape': [14]},
  }
  assert config['output_features'] == {'action': {'type': 'ACTION', 'shape': [14]}}
  assert (config['chunk_size'], config['n_action_steps'], config['max_action_dim']) == (50, 5, 32)
  assert (config['paligemma_variant'], config['dtype']) == ('gemma_2b', 'float32')
  before = steps_of(tmp_path, 'policy_preprocessor')
  assert list(before) == [
    'rename_observations_processor',
    'to_batch_processor',
    'relative_actions_processor',
    'normalizer_processor',
    'pi05_prepare_state_tokenizer_processor_step',
    'tokenizer_processor',
    'device_processor',
  ]
  prepare = before['pi05_prepare_state_tokenizer_processor_step']
  assert prepare['config'] == {'max_state_dim': 14}  # no zeros are told
  relative = before['relative_actions_processor']['config']
  assert relative['exclude_joints'] == [relative['action_names'][i] for i in (6, 13)]
  after = steps_of(tmp_path, 'policy_postprocessor')
  assert list(after) == [
    'unnormalizer_processor',
    'absolute_actions_processor',
    'device_processor',
  ]


def test_lerobots_formulas_give_our_numbers(tmp_path):
  stats = {key: normalize.as_used(x) for key, x in make_stats().items()}
  lerobot_files.write(tmp_path, dataclasses.replace(TOLD, delta=()), stats)
  step = steps_of(tmp_path, 'policy_preprocessor')['normalizer_processor']
  assert step['config']['norm_map'] == {
    'VISUAL': 'IDENTITY',
    'STATE': 'QUANTILES',
    'ACTION': 'QUANTILES',
  }
  path = tmp_path / step['state_file']
  tensors, _ = safetensors_file.header(path)
  low, high = (
    safetensors_file.read(path, tensors[f'observation.state.{name}']) for name in ('q01', 'q99')
  )
  state = np.linspace(-2, 2, 14, dtype=np.float32)
  theirs = 2 * (state - low) / (high - low) - 1
  ours = inputs_lib.Inputs(
    tokenizer.PromptTokenizer(tokenizer.Words(100), 64, discrete_state=True),
    normalize.Quantile(make_stats()['state'], 'state'),
    normalize.Quantile(make_stats()['actions'], 'actions'),
    state_size=14,
  )
  np.testing.assert_allclose(theirs, ours.proprio(state)[:14], rtol=1e-5, atol=1e-6)


def start_of(directory, **changes):
  described = experiment.Experiment(robot.make_config(actor__checkpoint=str(directory), **changes))
  return starting_point.find(str(directory)), described


def test_a_policy_of_lerobot_brings_its_statistics(tmp_path):
  expected = robot.make_stats(scale=2.0)
  lerobot_files.write(tmp_path, TOLD, expected)
  found = starting_point.stats(*start_of(tmp_path))
  for key, stats in expected.items():
    for name, values in vars(stats).items():
      np.testing.assert_allclose(getattr(found[key], name), values, atol=2e-6)
  assert 'of the policy of lerobot' in starting_point.stats_origin(*start_of(tmp_path))
  assert starting_point.stats(*start_of(tmp_path, data__norm_stats='compute')) is None


def test_a_policy_that_lerobot_normalises_otherwise_is_refused(tmp_path):
  lerobot_files.write(tmp_path, TOLD, robot.make_stats())
  lerobot_files.check_normalization(tmp_path, 'quantile')
  with pytest.raises(ValueError, match='STATE is normalised by QUANTILES.*normalization=quantile'):
    lerobot_files.check_normalization(tmp_path, 'zscore')


def test_what_lerobots_files_hold_and_nobody_can_use_is_named(tmp_path):
  lerobot_files.write(tmp_path, TOLD, robot.make_stats())
  for mapping, said in ((['x'], "mapping is ['x']"), ({'STATE': ['x']}, "STATE is ['x']")):
    (tmp_path / 'config.json').write_text(json.dumps({'normalization_mapping': mapping}))
    with pytest.raises(ValueError, match=re.escape(said)):
      lerobot_files.check_normalization(tmp_path, 'quantile')
  step = steps_of(tmp_path, 'policy_preprocessor')['normalizer_processor']
  path = tmp_path / step['state_file']
  tensors, _ = safetensors_file.header(path)
  content = bytearray(path.read_bytes())
  start = tensors['action.q01'].start
  content[start : start + 4] = b'\xff' * 4
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f"{re.escape(str(path))}: 'actions': q01 is no list of fin"):
    lerobot_files.stats(tmp_path)


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--format=onnx'], "--format is 'onnx'; expected openpi or pytorch."),
    (['--to={tmp}'], '{tmp} exists; give a directory that does not.'),
    (
      ['--to=gs://robots/a', '--format=pytorch'],
      "--to with --format=pytorch is 'gs://robots/a', which is in a bucket;",
    ),
  ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_read(flags, message, tmp_path):
  config_lib.keep(robot.make_config(), tmp_path / 'run' / 'config.json')
  flags = [flag.format(tmp=tmp_path) for flag in flags]
  to = [] if any(flag.startswith('--to') for flag in flags) else [f'--to={tmp_path / "new"}']
  with pytest.raises(SystemExit, match=re.escape(message.format(tmp=tmp_path))):
    export.main([f'--workdir={tmp_path / "run"}', *flags, *to])
