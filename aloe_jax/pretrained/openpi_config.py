"""The text that has openpi serve a π0.5: a `TrainConfig` of openpi, and the command that runs it.

It is appended to openpi's src/openpi/training/config.py, whose names it uses.
"""

import json
import re
import shlex

from aloe_jax.pretrained import deployment

FILE = 'openpi_config.py'

_TEXT = '''\
# {title}
#
# 1. In a checkout of openpi, once:
#      cat {file} >> src/openpi/training/config.py
# 2. There, every time:
#      {command}
#
# A client sends
#   {{"images": {{{images}}}, "state": [{state_size} numbers],
#    "prompt": "..."}}
# with images of uint8, [height, width, 3] or [3, height, width], and gets
#   {{"actions": [{horizon}, {action_size}]}}
# of which it carried out {execute} steps before it was asked again, at {control_hz:g} Hz.{remarks}

import numpy as _np

_{name}_CAMERAS = {{  # of openpi; None: the robot has no such camera
{cameras}
}}


@dataclasses.dataclass(frozen=True)
class _{name}_Inputs(_transforms.DataTransformFn):
    """What the robot sends, as the network takes it."""

    def __call__(self, data: dict) -> dict:
        state = _np.asarray(data["state"], _np.float32)
        if state.shape[-1] != {state_size}:
            raise ValueError(f"state: found {{state.shape[-1]}} numbers, expected {state_size}")
        images, masks = {{}}, {{}}
        for theirs, camera in _{name}_CAMERAS.items():
            if camera is None:
                continue
            image = _np.asarray(data["images"][camera])
            if image.dtype.kind == "f":
                image = (255 * image).astype(_np.uint8)
            images[theirs] = image if image.shape[-1] == 3 else _np.moveaxis(image, -3, -1)
            masks[theirs] = _np.True_
        for theirs, camera in _{name}_CAMERAS.items():
            if camera is None:
                images[theirs] = _np.zeros_like(next(iter(images.values())))
                masks[theirs] = _np.False_
        inputs = {{"state": state, "image": images, "image_mask": masks}}
        return inputs | {{key: data[key] for key in ("actions", "prompt") if key in data}}


@dataclasses.dataclass(frozen=True)
class _{name}_Outputs(_transforms.DataTransformFn):
    """What the network gives, without the numbers that fill an action up."""

    def __call__(self, data: dict) -> dict:
        return {{"actions": _np.asarray(data["actions"])[..., :{action_size}]}}


@dataclasses.dataclass(frozen=True)
class _{name}_Data(DataConfigFactory):
    """Cameras, relative actions, statistics and the prompt."""

    def create(self, assets_dirs: pathlib.Path, model_config: _model.BaseModelConfig) -> DataConfig:
        robot = _transforms.Group(
            inputs=[_{name}_Inputs()], outputs=[_{name}_Outputs()]
        )
{relative}\
        return dataclasses.replace(
            self.create_base_config(assets_dirs, model_config),
            data_transforms=robot,
            model_transforms=ModelTransformFactory(default_prompt={prompt})(model_config),
            use_quantile_norm={quantile},
        )


_CONFIGS_DICT["{name}"] = TrainConfig(
    name="{name}",
    model=pi0_config.Pi0Config(
        pi05=True,
        paligemma_variant="{language}",
        action_expert_variant="{expert}",
        action_dim={network_action_size},
        action_horizon={horizon},
        max_token_len={prompt_length},
        discrete_state_input=True,
    ),
    data=_{name}_Data(repo_id={asset}, assets=AssetsConfig(asset_id={asset})),
    policy_metadata={{"horizon": {horizon}, "execute": {execute}, "control_hz": {control_hz}}},
)
'''

_RELATIVE = """\
        # Numbers above 0 are relative to the state at the chunk's beginning, all others absolute.
        mask = _transforms.make_bool_mask({delta})
        robot = robot.push(
            inputs=[_transforms.DeltaActions(mask)], outputs=[_transforms.AbsoluteActions(mask)]
        )
"""


def name_of(directory: str) -> str:
  """What openpi is to call a policy of a directory: a word that Python takes as a name."""
  word = re.sub(r'\W+', '_', directory, flags=re.ASCII).strip('_')
  return word if word.startswith('pi05') else f'pi05_{word}'


def command(name: str, directory: str) -> str:
  """What serves it, in a checkout of openpi."""
  return (
    f'uv run scripts/serve_policy.py policy:checkpoint --policy.config={name} '
    f'--policy.dir={shlex.quote(directory)}'
  )


def text(told: deployment.Deployment, directory: str) -> str:
  """The file's content.

  Args:
    told: of the policy.
    directory: that the checkpoint lies in.
  """
  remarks = ''
  if told.flow_steps != 10:
    remarks += f'\n# It acted with {told.flow_steps} steps of the sampler; openpi takes 10.'
  if told.variants is None:
    remarks += '\n# Its network is of sizes that openpi has no names for; openpi cannot load it.'
  language, expert = told.variants or ('?', '?')
  return _TEXT.format(
    title=f'The π0.5 {told.name!r} for openpi: what it is asked and what it answers.',
    file=shlex.quote(f'{directory.rstrip("/")}/{FILE}'),
    command=command(told.name, directory),
    images=', '.join(f'"{camera}": [...]' for camera in told.cameras),
    cameras='\n'.join(
      f'    "{theirs}": {_quoted(ours if ours in told.cameras else "")},'
      for ours, theirs in deployment.OPENPI_CAMERAS.items()
    ),
    relative=_RELATIVE.format(delta=', '.join(map(str, told.delta))) if told.delta else '',
    quantile=told.normalization == 'quantile',
    prompt=_quoted(told.prompt),
    network_action_size=told.sizes['action_size'],
    language=language,
    expert=expert,
    remarks=remarks,
    asset=_quoted(told.asset),
    **{
      field: getattr(told, field)
      for field in (
        *('name', 'state_size', 'action_size'),
        *('horizon', 'execute', 'control_hz', 'prompt_length'),
      )
    },
  )


def _quoted(word: str) -> str:
  """In Python's words; None for ''."""
  return json.dumps(word, ensure_ascii=False) if word else 'None'
