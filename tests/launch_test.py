"""What launch/ would do on a cluster, told by stand-ins for the programs of clusters."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
WRITES_DOWN = """#!/bin/sh
{python} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$(basename "$0")" "$@" >> {log}
case "$*" in {answers} esac
"""


class Cluster:
  """Programs that write down how they are called, and say what they are told to."""

  def __init__(self, directory):
    self._bin, self._log = directory / 'bin', directory / 'log'
    self._bin.mkdir()

  def add(self, name, **answers):
    """A program; of arguments that hold a key it prints the value."""
    cases = ' '.join(f'*{key}*) {value} ;;' for key, value in answers.items()) or '*) ;;'
    path = self._bin / name
    path.write_text(WRITES_DOWN.format(python=sys.executable, log=self._log, answers=cases))
    path.chmod(0o755)

  def run(self, script, *arguments, **environment):
    path = f'{self._bin}{os.pathsep}{os.environ["PATH"]}'
    environment = os.environ | {'PATH': path, 'POLL_SECONDS': '0'} | environment
    return subprocess.run(
      [LAUNCH / script, *arguments], env=environment, capture_output=True, text=True
    )

  @property
  def called(self):
    return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def cluster(tmp_path):
  return Cluster(tmp_path)


def first_words(commands):
  return [' '.join(command[:5]) for command in commands]


def test_a_tpu_slice_is_asked_for_and_waited_for(cluster):
  cluster.add(
    'gcloud', describe='[ -e $0.asked ] && echo ACTIVE || { touch $0.asked; echo WAITING; }'
  )
  done = cluster.run(
    'tpu_vm.sh', 'create', '--name=laundry', '--zone=us-west4-b', '--type=v5litepod-16', '--spot'
  )
  assert done.returncode == 0, done.stderr
  create, *described = cluster.called
  assert create == [
    'gcloud', 'compute', 'tpus', 'queued-resources', 'create', 'laundry', '--node-id=laundry',
    '--zone=us-west4-b', '--accelerator-type=v5litepod-16',
    '--runtime-version=v2-alpha-tpuv5-lite', '--spot',
  ]  # fmt: skip
  assert described == 2 * [[
    'gcloud', 'compute', 'tpus', 'queued-resources', 'describe', 'laundry', '--zone=us-west4-b',
    '--format=value(state.state)',
  ]]  # fmt: skip
  assert done.stdout == 'laundry: WAITING\n'


@pytest.mark.parametrize('state', ['FAILED', 'SUSPENDED', 'SUSPENDING'])
def test_a_slice_that_is_lost_is_said(cluster, state):
  cluster.add('gcloud', describe=f'echo {state}')
  done = cluster.run('tpu_vm.sh', 'create', '--name=a', '--zone=z', '--type=v4-32')
  assert (done.returncode, done.stderr) == (
    1,
    f'error: the queued resource a is {state}; delete it and create it again.\n',
  )


def test_every_host_of_a_slice_gets_the_program_and_the_same_command(cluster, tmp_path):
  cluster.add('gcloud')
  cluster.add('tar')
  options = [
    '--config=experiments/laundry.py',
    '--config.task.prompt=Fold it',
    '--workdir=/mnt/r',
  ]
  place = ['--name=laundry', '--zone=z', '--project=p']
  done = cluster.run('tpu_vm.sh', 'run', *place, '--', *options, TMPDIR=str(tmp_path))
  assert done.returncode == 0, done.stderr
  tar, copy, install, start = cluster.called
  archive = f'{tmp_path}/aloe_jax-laundry.tgz'
  assert tar == ['tar', '-czf', archive, '-C', str(ROOT), '--exclude=.git', '--exclude=runs', '.']
  assert copy == [
    'gcloud', 'compute', 'tpus', 'tpu-vm', 'scp', archive, 'laundry:aloe_jax.tgz',
    '--zone=z', '--project=p', '--worker=all',
  ]  # fmt: skip
  for command in (install, start):
    assert command[:-1] == [
      'gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'laundry', '--zone=z', '--project=p',
      '--worker=all',
    ]  # fmt: skip
  assert '-c constraints.txt -e ".[tpu,gcs]"' in install[-1]
  # What a shell on the host makes of it: the options word for word, the prompt with its space.
  words = shlex.split(start[-1].removeprefix('--command='))
  begin = words.index('aloe_jax.train') + 1
  assert words[begin : begin + 3] == options


def test_logs_and_deletion_of_a_slice(cluster):
  cluster.add('gcloud')
  assert cluster.run('tpu_vm.sh', 'logs', '--name=a', '--zone=z').returncode == 0
  assert cluster.run('tpu_vm.sh', 'delete', '--name=a', '--zone=z').returncode == 0
  logs, delete = cluster.called
  assert logs[3:] == [
    'tpu-vm', 'ssh', 'a', '--zone=z', '--worker=all', '--command=tail -n 50 ~/train.log',
  ]  # fmt: skip
  assert delete[3:] == ['queued-resources', 'delete', 'a', '--zone=z', '--force', '--quiet']


def test_a_dry_run_prints_what_would_be_run_and_runs_nothing(cluster, tmp_path):
  for verb in (['create', '--type=v6e-16'], ['run'], ['logs'], ['delete']):
    more = ['--', '--workdir=/mnt/r'] if verb == ['run'] else []
    done = cluster.run('tpu_vm.sh', *verb, '--name=a', '--zone=z', '--dry-run', *more)
    assert done.returncode == 0, done.stderr
    printed = [shlex.split(line) for line in done.stdout.splitlines()]
    assert {command[0] for command in printed} <= {'gcloud', 'tar'}
    assert any(command[0] == 'gcloud' for command in printed)


@pytest.mark.parametrize(
  'arguments, message',
  [
    ((), "found ''"),
    (('begin',), "found 'begin'"),
    (('create', '--zone=z'), '--name is missing'),
    (('create', '--name=a'), '--zone is missing'),
    (('create', '--name=a', '--zone=z'), '--type is missing, such as v5litepod-16'),
    (('run', '--name=a', '--zone=z'), 'no options of train after --'),
    (('run', '--name=a', '--zone=z', '--typo'), 'found --typo'),
  ],
)
def test_a_wrong_command_line_is_told_in_one_line(cluster, arguments, message):
  done = cluster.run('tpu_vm.sh', *arguments)
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {message}; expected launch/tpu_vm.sh create|run|')
  assert done.stderr.count('\n') == 1


def test_slurm_starts_one_process_a_node_that_end_together(cluster):
  cluster.add('srun', **{'aloe_jax.train': 'exit 3'})
  options = ['--config=experiments/laundry.py', '--config.task.prompt=Fold it', '--workdir=runs/a']
  done = cluster.run('slurm.sbatch', *options)
  assert done.returncode == 3  # what train said
  assert cluster.called == [
    ['srun', '--kill-on-bad-exit=1', 'python', '-m', 'aloe_jax.train', *options]
  ]
  asked = [
    line[8:]
    for line in (LAUNCH / 'slurm.sbatch').read_text().splitlines()
    if line.startswith('#SBATCH ')
  ]
  assert {'--ntasks-per-node=1', '--requeue', '--open-mode=append'} <= set(asked)


def test_a_slurm_job_whose_time_is_over_goes_back_to_the_queue(cluster):
  cluster.add('scontrol')
  cluster.add('srun', **{'aloe_jax.train': 'kill -USR1 $PPID; sleep 1'})
  done = cluster.run('slurm.sbatch', '--workdir=runs/a', SLURM_JOB_ID='17')
  assert done.returncode == 0, done.stderr
  assert cluster.called[-1] == ['scontrol', 'requeue', '17']


def test_slurm_without_options_says_what_it_expects(cluster):
  done = cluster.run('slurm.sbatch')
  assert done.returncode == 2
  assert done.stderr.startswith('error: no options of train; expected sbatch')


def test_the_job_set_has_a_pod_for_every_host_of_its_slice():
  job_set = yaml.safe_load((LAUNCH / 'gke_jobset.yaml').read_text())
  assert (job_set['apiVersion'], job_set['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
  assert set(job_set) == {'apiVersion', 'kind', 'metadata', 'spec'}
  assert set(job_set['spec']) == {'failurePolicy', 'replicatedJobs'}
  assert job_set['spec']['failurePolicy'] == {'maxRestarts': 50}  # into the same run
  (slice_,) = job_set['spec']['replicatedJobs']
  assert set(slice_) == {'name', 'replicas', 'template'}
  job = slice_['template']['spec']
  pod = job['template']['spec']
  x, y = map(int, pod['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x'))
  (container,) = pod['containers']
  chips = container['resources']['limits']['google.com/tpu']
  assert container['resources']['requests']['google.com/tpu'] == chips
  assert job['completions'] == job['parallelism'] == x * y // chips
  assert (job['backoffLimit'], job['completionMode']) == (0, 'Indexed')
  assert container['command'][:3] == ['python', '-m', 'aloe_jax.train']


def test_the_job_inside_of_the_job_set_is_one_that_kubernetes_knows():
  validate = pytest.importorskip('kubernetes_validate').validate
  job_set = yaml.safe_load((LAUNCH / 'gke_jobset.yaml').read_text())
  template = job_set['spec']['replicatedJobs'][0]['template']
  job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': 'slice'}, **template}
  validate(job, '1.33', strict=True)
  job['spec']['template']['spec']['containers'][0]['comand'] = []
  with pytest.raises(Exception, match='comand'):
    validate(job, '1.33', strict=True)


def test_skypilot_tells_every_machine_who_it_is(tmp_path, cluster):
  task = yaml.safe_load((LAUNCH / 'skypilot.yaml').read_text())
  assert set(task) == {'name', 'resources', 'num_nodes', 'workdir', 'envs', 'setup', 'run'}
  assert task['envs']['WORKDIR'] is None  # has to be given
  python = tmp_path / 'aloe' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  cluster.add('python')
  shutil.copy(tmp_path / 'bin' / 'python', python)
  environment = {
    'HOME': str(tmp_path), 'CONFIG': task['envs']['CONFIG'], 'WORKDIR': '/mnt/r',
    'SKYPILOT_NODE_IPS': '10.0.0.5\n10.0.0.6', 'SKYPILOT_NUM_NODES': '2', 'SKYPILOT_NODE_RANK': '1',
  }  # fmt: skip
  subprocess.run(['bash', '-ec', task['run']], env=os.environ | environment, check=True)
  assert cluster.called == [[
    'python', '-m', 'aloe_jax.train', '--config=experiments/laundry.py:sim', '--workdir=/mnt/r',
    '--coordinator=10.0.0.5:8476', '--processes=2', '--process=1',
  ]]  # fmt: skip


def test_the_container_is_made_of_the_versions_that_are_tested():
  lines = (LAUNCH / 'Dockerfile').read_text().splitlines()
  assert 'RUN pip install --no-cache-dir -c constraints.txt -e ".[${EXTRA},gcs]"' in lines


@pytest.mark.parametrize(
  'command',
  [
    'kubectl apply -f launch/gke_jobset.yaml',
    'sky jobs launch --name laundry --env WORKDIR=/mnt/runs/laundry launch/skypilot.yaml',
    'sbatch --nodes=2 launch/slurm.sbatch --config=experiments/laundry.py --workdir=runs/laundry',
  ],
)
def test_commands_that_the_page_shows_are_those_of_the_files_and_name_files_that_are_there(command):
  assert command in (LAUNCH / 'README.md').read_text()
  (file,) = (word for word in command.split() if word.startswith('launch/'))
  assert command in (ROOT / file).read_text()


def test_xpk_is_told_the_same_image_and_command(cluster):
  cluster.add('xpk')
  page = (LAUNCH / 'README.md').read_text()
  (block,) = (part for part in page.split('```') if 'xpk workload create' in part)
  path = f'{cluster._bin}{os.pathsep}{os.environ["PATH"]}'
  script = block.removeprefix('sh\n')
  subprocess.run(['bash', '-ec', script], env=os.environ | {'PATH': path}, check=True)
  create, delete = cluster.called
  assert create == [
    'xpk', 'workload', 'create', '--cluster=CLUSTER', '--workload=laundry',
    '--tpu-type=v5litepod-16', '--max-restarts=50',
    '--docker-image=REGION-docker.pkg.dev/PROJECT/REPOSITORY/aloe_jax:latest',
    '--command=python -m aloe_jax.train --config=experiments/laundry.py '
    '--workdir=/mnt/runs/laundry',
  ]  # fmt: skip
  assert delete == ['xpk', 'workload', 'delete', '--cluster=CLUSTER', '--workload=laundry']
