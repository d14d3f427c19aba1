"""`train --dry_run`: what it tells, what it refuses, and that it leaves nothing behind."""

import importlib.util
import re

import command_line
from command_line import assert_refused
import pytest

from aloe_jax.dry_run import advice
from aloe_jax.dry_run import estimate
from aloe_jax.dry_run import report
from aloe_jax.dry_run import topologies
from experiments import laundry

SMALL = '--config=experiments/laundry.py:sim_debug'
NO_COMPILER = importlib.util.find_spec('libtpu') is None


def dry_run(workdir, *arguments, config=SMALL):
  return command_line.run('train', config, f'--workdir={workdir}', *arguments)


def test_every_program_of_a_run_is_told_of_and_nothing_is_written(tmp_path):
  workdir = tmp_path / 'run'
  status, printed, errors = dry_run(workdir, '--dry_run', '--topology=cpu:8', '--verbose')
  assert (status, errors) == (0, ''), errors
  assert not workdir.exists()
  assert printed.startswith('Dry run on cpu:8: 8 x CPU device.')
  for program in ('actor update, 32 rows', 'bank, M = 2, 32 rows', 'critic update, 32 rows'):
    assert f'\n{program}\n' in printed, printed
  told = re.findall(r'\nCompiling (.*)\.\n(.*)\n', printed)  # each before what it takes
  assert [what for what, _ in told] == [
    'actor update for cpu:8, 1 of 3; a large program takes minutes',
    'bank, M = 2 for cpu:8, 2 of 3',
    'critic update for cpu:8, 3 of 3',
  ]
  assert [then.partition(', 32')[0] for _, then in told] == [
    'actor update', 'bank, M = 2', 'critic update'
  ]  # fmt: skip
  assert re.search(r'parameters \d.* average .* moments .* critic .* temporaries', printed)
  assert 'all-reduce' in printed  # of gradients
  assert re.search(r'actor/params/action_in/kernel: float32\[\d+, \d+\] as', printed)
  assert 'It fits' in printed


def test_a_topology_that_is_not_known_is_refused_with_the_list_and_the_nearest(tmp_path):
  result = dry_run(tmp_path, '--dry_run', '--topology=v5e16')
  assert_refused(result, "--topology is 'v5e16', which is not known; expected one of cpu:8, h100x1")
  assert 'Did you mean v5e-16?' in result[2]
  assert result[0] == 2


def test_a_dry_run_without_a_topology_is_refused_with_the_list(tmp_path):
  assert_refused(
    dry_run(tmp_path, '--dry_run'), '--topology is missing; --dry_run needs one of cpu:8'
  )


@pytest.mark.parametrize('option', ['--topology=cpu:8', '--verbose'])
def test_options_of_a_dry_run_are_refused_without_it(option, tmp_path):
  name = option.partition('=')[0]
  assert_refused(dry_run(tmp_path, option), f'{name} is an option of --dry_run, which is missing')


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_compiled(tmp_path):
  result = dry_run(tmp_path, '--dry_run', '--topology=cpu:8', '--config.actor.batch_size=30')
  assert_refused(
    result,
    'config.actor.batch_size is 30, which does not divide by the 8 devices of cpu:8; choose a '
    'multiple of 8.',
  )


def test_devices_that_do_not_divide_by_fsdp_are_refused(tmp_path):
  result = dry_run(tmp_path, '--dry_run', '--topology=cpu:8', '--config.parallel.fsdp=3')
  assert_refused(result, '8 devices do not divide by parallel.fsdp (3)')


@pytest.mark.skipif(not NO_COMPILER, reason='the TPU compiler is there')
def test_a_tpu_without_its_compiler_says_what_to_install(tmp_path):
  result = dry_run(tmp_path, '--dry_run', '--topology=v5e-16')
  assert_refused(result, '--topology=v5e-16 asks the TPU compiler, which is not installed.')
  assert "'.[tpu]'" in result[2]


@pytest.mark.skipif(NO_COMPILER, reason='needs libtpu')
def test_the_tpu_compiler_is_asked_and_writes_nothing_past_us(tmp_path):
  status, printed, errors = dry_run(tmp_path, '--dry_run', '--topology=v5e-16')
  assert (status, errors) == (0, ''), errors
  assert 'By the TPU compiler, for v5e:4x4' in printed
  assert re.search(r'at least .* s: FLOPs .*, memory .*, communication .* \(\d+ %\)', printed)


def make(config, capacity, **held):
  return estimate.Estimate('actor update', config.actor.batch_size, held, capacity=capacity)


def test_a_batch_that_would_fit_is_named():
  config = laundry.get_config()
  found = make(config, 16e9, parameters=4e9, temporaries=22e9, batches=1e9)
  assert not found.fits
  pieces, smaller = advice.find([found], config, 16)
  assert pieces == '--config.actor.microbatch=64, the same update: about 14.5 GB, by arithmetic'
  assert smaller == (
    '--config.actor.batch_size=128, and critic.batch_size in proportion: about 15.5 GB, by '
    'arithmetic'
  )


def test_pieces_are_no_help_where_it_is_another_program_that_does_not_fit():
  config = laundry.get_config()
  found = estimate.Estimate('critic update', 256, dict(temporaries=20e9), capacity=16e9)
  assert all('microbatch' not in line for line in advice.find([found], config, 16))


def test_sharing_a_replicated_state_is_named_before_a_smaller_batch():
  config = laundry.get_config()
  config.parallel.mode = 'pmap'
  found = make(config, 80e9, parameters=14e9, average=14e9, moments=28e9, temporaries=40e9)
  (first, *_) = advice.find([found], config, 8)
  assert first.startswith('--config.parallel.mode=fsdp --config.parallel.fsdp=8: about 47.0 GB')


def test_what_fits_needs_no_advice_and_what_cannot_fit_gets_none():
  config = laundry.get_config()
  assert advice.find([make(config, 16e9, parameters=4e9)], config, 16) == []
  assert advice.find([make(config, 16e9, parameters=20e9)], config, 16) == []


def test_time_is_that_of_the_slower_of_chip_and_memory_and_of_all_communication():
  found = estimate.Estimate('x', 1, {}, compute=3.0, memory=2.0, links=1.0)
  assert found.seconds == 4.0
  assert found.share == 0.25


def test_every_topology_has_what_its_kind_needs():
  for name, topology in topologies.TOPOLOGIES.items():
    assert topology.name == name
    assert (topology.chip is None) == name.startswith('cpu')
    assert bool(topology.shape) == name.startswith('v')
    assert (topology.links > 0) == (topology.chip is not None)


def test_cpus_and_gpus_may_be_as_many_as_one_likes():
  assert topologies.find('cpu:3') == topologies.Topology('cpu:3', 3)
  assert topologies.find('cpu:1024').count == 1024
  machine, many = topologies.find('h100x4'), topologies.find('h100x16')
  assert (machine.count, machine.exchange) == (4, 450e9)
  assert (many.count, many.exchange) == (16, 50e9)  # of the card between machines
  assert many.is_estimate


@pytest.mark.parametrize('name', ['cpu:0', 'cpu:1025', 'cpu:08', 'cpu:', 'h100x9999', 'h100x-1'])
def test_a_number_of_devices_that_makes_no_sense_is_refused_with_what_does(name):
  with pytest.raises(ValueError, match=f'{name}.* cpu:N and h100xN for N from 1 to 1024'):
    topologies.find(name)


def test_tiny_numbers_are_told_in_units_that_suit_them():
  found = estimate.Estimate(
    'x', 1, dict(parameters=512.0), flops=2.5e6, traffic=40e3, compute=3e-9, memory=4.2e-5
  )
  told = '\n'.join(report._lines(found, topologies.find('h100x1')))
  assert 'parameters 0.5 kB' in told
  assert 'a device: 2.5 MFLOP, 40.0 kB of memory traffic' in told
  assert 'at least 42 us: FLOPs 3 ns, memory 42 us, communication 0 (0 %)' in told
