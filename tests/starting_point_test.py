"""What a run starts from: which kind a path is, whose parameters and whose statistics they are."""

import pathlib

from flax import traverse_util
import jax
import numpy as np
import pytest
import robot

from aloe_jax.learning import train_state
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import big_vision
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from aloe_jax.run import starting_point
from experiments import laundry

pytestmark = pytest.mark.usefixtures('quick_compilation')

PALIGEMMA = pathlib.Path(__file__).parent / 'golden' / 'paligemma_case_a.npz'
SIZES = dict(  # of the golden PaliGemma
  vision=dict(width=32, depth=2, mlp_dim=72, heads=2, patch=4),
  language=dict(width=24, depth=2, mlp_dim=56, heads=4, kv_heads=1, head_dim=16),
  expert=dict(width=12, mlp_dim=20),
  vocab_size=61,
)


@pytest.fixture(scope='module')
def pi05(tmp_path_factory):
  """A checkpoint of openpi with the statistics of one robot, 'table'."""
  return robot.write_checkpoint(tmp_path_factory.mktemp('given') / 'pi05')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A checkpoint of a run of another scale; it holds no parameters."""
  kept = checkpoints.Checkpoints(tmp_path_factory.mktemp('run') / 'checkpoints')
  described = experiment.Experiment(robot.make_config())
  meta = {'architecture': described.architecture()} | normalize.to_json(robot.make_stats(scale=3.0))
  nothing = ((name, {}) for name in train_state.TrainState.__dataclass_fields__)
  kept.save(2, train_state.TrainState(**dict(nothing) | {'step': np.zeros(1)}), {}, meta)
  return kept.path(2)


def make_experiment(**changes):
  return experiment.Experiment(robot.make_config(**changes))


def make_paligemma_experiment(image_size):
  config = robot.make_config(actor__image_size=image_size)
  config.actor.update(SIZES)
  return experiment.Experiment(config)


def scale(stats):
  """What `robot.make_stats` was told."""
  return stats['state'].q99[0]


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def assert_same_bits(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_kind_of_a_checkpoint_is_seen_from_what_lies_there(pi05, run):
  kinds = {'': 'scratch', str(pi05): 'openpi', str(run): 'run', 'a/pt_224.npz': 'paligemma'}
  kinds |= {'a/pt_224.npz:params': 'paligemma', str(pi05.parent): 'openpi'}
  assert {path: starting_point.find(path).kind for path in kinds} == kinds


def test_a_start_of_openpi_gives_its_bits_and_the_encoder_a_copy_of_its_tower(pi05):
  described, start = make_experiment(), starting_point.find(str(pi05))
  starting_point.check(start, described)
  actor = starting_point.actor_params(start, described)
  assert_same_bits(actor['params'], robot.make_params(described.config))
  encoder = starting_point.encoder_params(start, described, actor)
  jax.tree.map(lambda x: x.delete(), actor)  # as the first update does
  assert_same_bits(encoder, robot.make_params(described.config)['PaliGemma']['img'])


def test_a_start_from_paligemma_gives_its_bits_and_a_fresh_expert():
  described, start = make_paligemma_experiment(16), starting_point.find(str(PALIGEMMA))
  found = flat(starting_point.actor_params(start, described)['params'])
  fresh = flat(starting_point.actor_params(starting_point.find(''), described)['params'])
  published = flat({'PaliGemma': big_vision.load(PALIGEMMA)})
  assert sorted(found) == sorted(fresh)
  assert published.keys() < found.keys()
  for path, array in found.items():
    np.testing.assert_array_equal(array, published.get(path, fresh[path]), err_msg=path)
  assert any((found[path] != fresh[path]).any() for path in published)


def test_a_start_from_paligemma_fits_its_positions_to_other_images():
  described, start = make_paligemma_experiment(12), starting_point.find(str(PALIGEMMA))
  found = starting_point.actor_params(start, described)['params']['PaliGemma']['img'][
    'pos_embedding'
  ]
  published = big_vision.load(PALIGEMMA)['img']['pos_embedding']
  np.testing.assert_allclose(found, big_vision.resample_positions(published, 9))


def test_a_paligemma_of_other_sizes_is_refused_leaf_by_leaf():
  described, start = make_experiment(), starting_point.find(str(PALIGEMMA))
  with pytest.raises(ValueError, match=r'embedding: found \[61, 24\], expected \[1024, 64\]'):
    starting_point.actor_params(start, described)


@pytest.mark.parametrize('path', ['pi05', 'paligemma'])
def test_the_small_actor_does_not_start_from_weights_of_pi05(path, pi05):
  described = experiment.Experiment(laundry.get_config('sim_debug'))
  start = starting_point.find(str(pi05) if path == 'pi05' else str(PALIGEMMA))
  with pytest.raises(ValueError, match="holds π0.5's weights, but config.actor.kind is 'small'"):
    starting_point.check(start, described)


def test_the_small_actor_does_not_start_from_a_run_of_pi05(run):
  described = experiment.Experiment(laundry.get_config('sim_debug'))
  with pytest.raises(ValueError, match="actor.kind: 'pi05' there, 'small' here"):
    starting_point.check(starting_point.find(str(run)), described)


def test_the_statistics_are_those_of_the_checkpoints_only_asset(pi05):
  assert scale(starting_point.stats(starting_point.find(str(pi05)), make_experiment())) == 1


@pytest.mark.parametrize('path', ['', str(PALIGEMMA)])
def test_where_there_are_no_statistics_they_are_computed(path):
  assert starting_point.stats(starting_point.find(path), make_experiment()) is None


def test_statistics_may_be_computed_though_the_checkpoint_has_some(pi05):
  described = make_experiment(data__norm_stats='compute')
  assert starting_point.stats(starting_point.find(str(pi05)), described) is None


def test_of_several_robots_one_has_to_be_named(tmp_path):
  path = robot.write_checkpoint(tmp_path / 'pi05', params={'x': np.zeros(1)}, asset='arm/one')
  normalize.write(path / 'assets' / 'two' / 'norm_stats.json', robot.make_stats(scale=2.0))
  start = starting_point.find(str(path))
  with pytest.raises(ValueError, match='several robots: arm/one, two; name one with config.data.n'):
    starting_point.stats(start, make_experiment())
  for name, expected in {'arm/one': 1, 'two': 2}.items():
    assert scale(starting_point.stats(start, make_experiment(data__norm_stats=name))) == expected


def test_a_file_of_statistics_is_preferred_to_the_checkpoints(pi05, tmp_path):
  file = tmp_path / 'stats.json'
  normalize.write(file, robot.make_stats(scale=5.0))
  described = make_experiment(data__norm_stats=str(file))
  for path in ('', str(pi05), str(PALIGEMMA)):
    assert scale(starting_point.stats(starting_point.find(path), described)) == 5


def test_statistics_of_an_unknown_name_are_told_which_there_are(pi05):
  described = make_experiment(data__norm_stats='trossen')
  with pytest.raises(
    FileNotFoundError,
    match='norm_stats names trossen, which is neither a file nor an asset of .*: table.$',
  ):
    starting_point.stats(starting_point.find(str(pi05)), described)
  with pytest.raises(FileNotFoundError, match='an asset of a checkpoint; its assets are: none.$'):
    starting_point.stats(starting_point.find(''), described)


@pytest.mark.parametrize('wanted', ['', 'compute', 'table'])
def test_another_run_goes_on_with_its_own_statistics(wanted, run):
  described = make_experiment(data__norm_stats=wanted)
  assert scale(starting_point.stats(starting_point.find(str(run)), described)) == 3


def test_the_directory_of_a_run_is_no_checkpoint_and_its_newest_one_is_named(tmp_path):
  (tmp_path / 'checkpoints' / '2' / 'state').mkdir(parents=True)
  (tmp_path / 'checkpoints' / '2' / '_CHECKPOINT_METADATA').write_text('{}')
  with pytest.raises(ValueError, match=f'the newest of which is {tmp_path}/checkpoints/2'):
    starting_point.find(str(tmp_path))
