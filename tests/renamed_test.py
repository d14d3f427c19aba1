from aloe_jax import renamed
from experiments import laundry


def test_a_config_of_old_names_reads_as_todays():
  old = {'critic': {'language': True, 'size': 2}, 'data': {'mapping': {'language': 'task'}}}
  old['actor'] = {'language': {'width': 64}}  # the language model is called so still
  assert renamed.fields(old) == {
    'critic': {'prompt': True, 'size': 2},
    'data': {'mapping': {'prompt': 'task'}},
    'actor': {'language': {'width': 64}},
  }


def test_every_new_name_is_a_field_and_no_old_one_is():
  config = laundry.get_config()
  for old, new in renamed.FIELDS.items():
    names = [path.split('.') for path in (old, new)]
    found = [config, config]
    for index, path in enumerate(names):
      for name in path[:-1]:
        found[index] = found[index][name]
    assert names[0][-1] not in found[0]
    assert names[1][-1] in found[1]


def test_a_report_of_old_names_reads_as_todays():
  old = {'horizon': 100.0, 'horizon_low': 99.0, 'horizon_high': 101.0, 'spearman': 0.5}
  assert renamed.numbers(old) == {
    'effective_horizon': 100.0,
    'effective_horizon_low': 99.0,
    'effective_horizon_high': 101.0,
    'spearman': 0.5,
  }


def test_what_reports_held_once_and_do_not_any_more_is_left_out():
  old = {'replanning': 1.1, 'replanning_low': 1.0, 'replanning_high': 1.2, 'spearman': 0.5}
  assert renamed.numbers(old) == {'spearman': 0.5}
