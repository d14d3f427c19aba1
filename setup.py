import setuptools

INSTALL = [
  'absl-py>=2.5',
  'array-record>=0.8.6; sys_platform == "linux"',
  'augmax>=0.4.1',
  'chex>=0.1.92',
  'flax>=0.12.8',
  'google-crc32c>=1.9',
  'jax>=0.10',
  'matplotlib>=3.11',
  'ml-collections>=1.1',
  'numpy>=2.4',
  'optax>=0.2.8',
  'orbax-checkpoint>=0.12',
  'pillow>=13',
  'pyarrow>=26',
  'rich>=15',
  'scipy>=1.17',
  'sentencepiece>=0.2.3',
  'simplejpeg>=1.9',
  'tensorboardX>=2.6.5',
  'tensorflow-datasets>=4.9.10',
  'tensorstore>=0.1.86',
  # Reads and writes episodes; it never sees an accelerator.
  'tensorflow-cpu>=2.21; sys_platform == "linux" and platform_machine == "x86_64"',
  'tensorflow>=2.21; sys_platform != "linux" or platform_machine != "x86_64"',
]

SIM = ['gymnasium>=1.4', 'ogbench>=1.2.2', 'mujoco>=4.0']  # other simulators

EXTRAS = {
  'cuda': ['jax[cuda12]'],
  'tpu': ['jax[tpu]'],
  'wandb': ['wandb'],
  'import': ['av>=18.1'],  # videos of LeRobot datasets
  'sim': SIM,
  'docs': ['mkdocs-material>=9.5'],
  'test': [
    *SIM,
    'av>=18.1',
    'hypothesis>=6.170',
    'mypy>=2.4',
    'pytest>=9.2',
    'pytest-xdist>=3.8',
    'ruff>=0.17',
  ],
}

setuptools.setup(
  name='aloe_jax',
  version='0.1.0',
  description='Action-level off-policy reinforcement learning of vision-language-action models',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['aloe_jax', 'aloe_jax.*']),
  install_requires=INSTALL,
  extras_require=EXTRAS,
)
