"""A success that somebody names is read beside the ends that steps tell of, or is refused."""

import command_line
import numpy as np
import pytest
import robot

from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data.tools import inspection
from aloe_jax.data.tools import validation

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
SCORE = {'success': 'episode_metadata/score>=0.5'}


def write(directory, *ends_and_scores):
  """Demonstrations that end as they are told to, the score of each beside it."""
  episodes = []
  for end, score in ends_and_scores:
    ends = np.array([NONE] * (robot.LENGTH - 1) + [end], np.int8)
    ends[2] = CUT  # what ends before the last step is none of the flag's business
    episodes.append(robot.make_episode(0, end_reason=ends, metadata={'score': score}))
  return robot.write_episodes(directory, *episodes)


def last(found):
  return found.end_reason[found.boundaries[1:] - 1].tolist()


def test_a_success_that_is_named_says_how_a_cut_episode_ended(tmp_path, monkeypatch, capsys):
  data = write(tmp_path / 'data', (CUT, 0.9), (CUT, 0.1), (SUCCESS, 0.9), (TIMEOUT, 0.1))
  assert last(index.load(data, {})) == [CUT, CUT, SUCCESS, TIMEOUT]
  found = index.load(data, SCORE)
  assert last(found) == [SUCCESS, FAILURE, SUCCESS, TIMEOUT]
  assert (found.end_reason.reshape(4, -1)[:, 2] == CUT).all()
  (report,) = validation.validate(data, SCORE)
  assert not report.problems
  status, printed, _ = command_line.data(
    monkeypatch, capsys, 'inspect', data, f'--mapping.success={SCORE["success"]}'
  )
  assert status == 0
  assert "--config.data.mapping.success='episode_metadata/score>=0.5'" in printed
  ends = inspection.inspect(data, SCORE).survey.ends
  assert ends[types.Source.DEMO.name.lower(), 'success'] == 2


@pytest.mark.parametrize(
  'end, score, said',
  [
    (SUCCESS, 0.1, 'found no success, but the end_reason of the last step is success'),
    (FAILURE, 0.9, 'found a success, but the end_reason of the last step is failure'),
    (TIMEOUT, 0.9, 'found a success, but the end_reason of the last step is timeout'),
    (TAKEOVER, 0.9, 'found a success, but the end_reason of the last step is takeover'),
  ],
)
def test_a_success_that_contradicts_the_recorded_end_is_refused(end, score, said, tmp_path):
  data = write(tmp_path / 'data', (CUT, 0.9), (end, score))
  message = f'episode 1: episode_metadata/score>=0.5: {said}'
  with pytest.raises(ValueError, match=message):
    index.load(data, SCORE)
  (report,) = validation.validate(data, SCORE)
  assert any(message in problem.message for problem in report.problems)
  # Both remedies that the message names.
  flag = SUCCESS if score >= 0.5 else FAILURE
  assert last(index.load(data, SCORE | {'end_reason': None})) == [SUCCESS, flag]
  assert last(index.load(data, {'success': None})) == [CUT, end]


def test_a_success_that_nobody_names_is_passed_over_for_the_recorded_end(
  tmp_path, monkeypatch, capsys
):
  ends = np.array([NONE] * (robot.LENGTH - 1) + [CUT], np.int8)
  episode = robot.make_episode(0, end_reason=ends, metadata={'success': True})
  data = robot.write_episodes(tmp_path / 'data', episode)
  assert last(index.load(data, {})) == [CUT]
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', data)
  assert status == 0
  assert '--config.data.mapping.success=none  # the end_reason counts' in printed


def test_a_run_without_an_outcome_begins_once_the_field_is_named(tmp_path, compiled_once):
  data = write(tmp_path / 'data', (CUT, 0.9), (CUT, 0.1))
  flags = robot.make_flags(data__episodes=(str(data),), data__norm_stats='compute')
  workdir = f'--workdir={tmp_path / "run"}'
  with pytest.raises(SystemExit, match='No episode has an outcome'):
    train.main([*flags, workdir])
  named = f'--config.data.mapping.success={SCORE["success"]}'
  more = robot.make_flags(actor__warm_start_updates=1, critic__first_updates=1, actor__updates=1)
  train.main([*flags, *more[2:], named, workdir])
  assert (tmp_path / 'run' / 'checkpoints').is_dir()
