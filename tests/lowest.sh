#!/usr/bin/env bash
# Installs the lowest version of everything that setup.py allows, and tries it. By hand, after a
# lower bound has changed:
#
#     tests/lowest.sh                       tests that touch every dependency, 8 minutes on 2 cores
#     tests/lowest.sh tests/train_test.py   those that are named
#
# PYTHON names the interpreter (default python3.11, the lowest that is supported).
set -euo pipefail
cd "$(dirname "$0")/.."

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
"${PYTHON:-python3.11}" -m venv "$environment/venv"
source "$environment/venv/bin/activate"
export JAX_PLATFORMS=cpu PIP_DISABLE_PIP_VERSION_CHECK=1

# The same requirements, but for "at least" read "exactly": what setup.py names is as low as it
# may be, what that needs in turn as new as it can be.
mkdir "$environment/lowest"
sed -E "s/('[A-Za-z][A-Za-z0-9._-]*)>=/\1==/" setup.py > "$environment/lowest/setup.py"
pip install --quiet "$environment/lowest[wandb,test]"
pip install --quiet --no-deps -e .
pip list

if [ $# -eq 0 ]; then
  set -- tests/{array_record,augment,big_vision,checkpoints,comparison,config,gymnasium}_test.py \
    tests/{image_codec,images,import_lerobot,index,install,losses,metrics,ogbench}_test.py \
    tests/{openpi,optimizer,parallel,plots,rlds,siglip,tokenizer,train}_test.py
fi
tensorboard --version
WANDB_MODE=offline python -c "
import sys
from aloe_jax import metrics
with metrics.MetricsWriter(sys.argv[1], wandb_name='lowest') as writer:
  writer.write(0, {'loss': 1.0})
" "$environment/metrics"
# Libraries of that time warn of what has changed since; only the pinned ones have to be silent.
python -m pytest -q -W default "$@"
