"""Every field of a config with its unit, and its value in Appendix C of the paper."""

import ml_collections
from ml_collections import config_dict

# Sizes of π0.5 as published.
PI05 = dict(
  vision=dict(width=1152, depth=27, mlp_dim=4304, heads=16, patch=14),  # SigLIP So400m/14
  language=dict(  # Gemma 2B
    width=2048, depth=18, mlp_dim=16_384, heads=8, kv_heads=1, head_dim=256
  ),
  expert=dict(width=1024, mlp_dim=4096),  # the action expert; all else as the language model
  vocab_size=257_152,
  action_size=32,  # what narrower actions are padded to
  image_size=224,  # pixels, square
  prompt_length=200,  # tokens, the discretised state included
)


def paper() -> ml_collections.ConfigDict:
  """Appendix C at full size; every field any experiment has is here, with its unit."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.agent = 'aloe'  # one of aloe_jax/agents, or 'module:VARIABLE' of your own
  config.iterations = 3  # T of Algorithm 1
  config.discount = 0.99  # gamma, per environment step

  # Tables I-III. What the robot is, the data or the simulator tell: 0 of numbers and () of cameras.
  # What is given instead is held against them.
  config.task = dict(
    prompt='',
    action_size=0,  # A
    proprio_size=0,  # n, numbers of the robot's state, the first ones in the order of the action
    cameras=(),  # of head, left_wrist and right_wrist
    delta=(6, -1, 6, -1),  # joints relative to the state at the chunk's start, grippers absolute
    chunk=50,  # h, steps
    execute=5,  # e <= h, steps
    max_steps=0,  # of an episode
    control_hz=0.0,  # steps per second; 0: as the data or the simulator have it
    demonstrations=0,  # episodes of a human before the first iteration
  )

  # A simulator, the embedded one or others; no task means that the data come from a robot.
  config.sim = dict(
    task='',
    observation='objects',  # objects: low-dimensional blocks; pixels: the cameras
    image_size=64,  # pixels, square, of the images in the episodes
    rollouts=0,  # episodes per RL iteration
    attempts=0,  # demonstrations tried at a time; those that succeed are kept
    processes=0,  # that share Gymnasium's environments; 0: as many as there are cores, 1: this one
  )

  config.data = dict(
    episodes=(),  # RLDS directories
    split='train',
    cache='',  # where indices and features are kept; '': beside the episodes
    # Shares of the sources in every batch, exact; all zero: every chunk is as likely as another.
    ratios=dict(demo=0.0, policy=0.0, human=0.0),
    rates='same',  # steps per second of all episodes; any: mix those of different rates
    on_error='raise',  # or skip an episode that is corrupt and a shard that is missing; says so
    # Fields of the datasets: '' finds them by the names in use, 'none' is none, commas join several
    # (state, action; state[0:7] is a part of one) or give the next choice (others). A reward that
    # is named is trusted. What is not told by 0 and 1 is compared:
    # intervention='steps/intervention==2', success='score>=0.9'.
    mapping=dict(
      head='',
      left_wrist='',
      right_wrist='',
      state='',
      action='',
      prompt='',
      success='',
      source='',
      intervention='',
      end_reason='',
      reward='none',
      last_action='auto',  # of an episode: keep, drop where it means nothing, or judge by the data
    ),
    timeout='failure',  # what their ends mean, see aloe_jax/rewards.py
    takeover='failure',
    failures=True,  # learn from fragments that failed too
    normalization='quantile',  # of state and actions: quantile (π0.5), zscore or none
    norm_stats='',  # a norm_stats.json, an asset of the checkpoint, 'compute'; '': checkpoint's own
    check_statistics='stop',  # where they do not fit the episodes: stop, or warn and go on
  )

  # C_fail: `cost` in steps if above 0, else `lengths` times the mean length of the successful
  # demonstrations (1 in the paper), frozen at the first iteration.
  config.fail = dict(cost=0.0, lengths=1.0)

  config.actor = dict(
    kind='pi05',
    checkpoint='',  # where the actor starts from; '' for a random start
    flow_steps=10,  # Euler steps of the sampler
    flow_time='beta',  # of training: uniform (Eq. 15) or beta (π0.5's own)
    ema=0.999,
    bank=True,  # draw the policy's actions once per iteration; False: wherever they are asked for
    samples=8,  # M, actions per state for V
    # How chunks are weighed by their advantage. measured: as far as it came true in episodes that
    # the critic did not learn from, failures left out; paper: Eq. 11.
    rule='measured',
    weights='per_phase',  # when w is computed: per_phase or per_step
    beta=0.0,  # temperature of Eq. 11; 0: that of the rule, see agents/action_critic.py
    beta_unit='sigma',  # its unit: standard deviations of A, or raw (steps)
    clip=3.0,  # epsilon_clip; a large one, such as 1e9, bounds nothing
    batch_size=256,
    microbatch=0,  # rows of it at a time, which saves memory; 0: all at once
    warm_start_updates=30_000,
    updates=2_000,  # N_pi; 0 skips the phase
    warm_start_lr=2.5e-5,
    lr=2.5e-5,
    warmup=100,  # updates
    final_lr=0.1,  # over the peak
    weight_decay=1e-10,
    mask_padding=True,  # leave padded steps and dimensions out of the loss; openpi counts them
    augment=True,  # random crops, rotations and colours of the training images
    best_of=1,  # chunks among which the critic chooses when the policy acts
    tokenizer='',  # paligemma_tokenizer.model, SentencePiece; or 'words', which hashes them
    dtype='bfloat16',  # of the computation
    param_dtype='float32',  # bfloat16: moments and moving average stay in float32
    train='all',  # parts of π0.5, joined by +, see models/parts.py; others stay as they are
    frozen_dtype='bfloat16',  # of what is not trained, as openpi has it
    # Ranks of the adapters of π0.5, 0 for none: openpi's are 16 and 32. Scale: alpha over rank.
    lora=dict(language=0, expert=0, scale=1.0),
    remat='full',  # kept for the backward pass: none recomputes nothing, full all, dots some
    small=dict(  # sizes of kind='small'
      width=64,  # of the prefix tower
      expert_width=128,  # of the action expert
      depth=2,  # layers of both
      steps_per_token=1,  # actions that share a token
      tower=dict(  # for sim.observation='pixels'; trained in the warm start, then frozen
        channels=(),  # of its stages, of which the first reads patches of 4 pixels
        width=64,  # numbers that it tells of a camera
      ),
    ),
    **PI05,  # sizes of kind='pi05'
  )
  config.critic = dict(
    ensemble='readouts',  # readouts: K tokens on one Transformer; full: K Transformers
    size=2,  # K
    # Steps of a chunk that it reads: chunk, execute (those played before a new plan) or a number.
    horizon=config_dict.FieldReference('chunk', field_type=object),
    prompt=False,  # a token that tells the prompt, where one critic serves several
    # Targets: td (Eq. 7) over what the critic reads; corrected: over the whole chunk, less how much
    # better than the policy the later plans were; monte_carlo: the returns as they were.
    backup='td',
    pessimism='min',  # how Eqs. 9 and 10 read the ensemble: min or mean
    # What stands in a chunk past a terminal end: executed, what was executed where it went on;
    # policy, the policy's own plan, which shows that the end comes; or mask, nothing.
    past_end='executed',
    width=256,
    depth=6,
    heads=8,
    mlp_ratio=4,  # hidden width of the MLPs over the width
    bins=256,  # of AWR's value distribution
    encoder='',  # an image tower's .npz:img, frozen; '': the actor's own as it was loaded
    target='mean',  # how Eq. 7 reads the target ensemble: mean, min or independent
    polyak=0.005,
    batch_size=256,
    first_updates=10_000,  # N_Q of the first iteration; 0 goes on with the critic that came along
    updates=5_000,  # N_Q of the later ones; 0 skips the phase
    lr=3e-5,
    warmup=100,
    weight_decay=1e-4,
  )
  config.recap = dict(
    positive=0.4,  # share of the policy's chunks whose advantage is told to be positive
    drop=0.3,  # share of the actor's rows that are told nothing
    guidance=1.0,  # towards positive chunks; 1: by the tag alone, above 1: beyond it
  )
  config.parallel = dict(mode='fsdp', fsdp=0)  # pmap, or fsdp over that many devices (0: all)
  config.evaluation = dict(
    episodes=100,
    seed=-1,  # of the scenes; -1: made from config.seed, the same for every method of a seed
  )
  config.train = dict(
    # Updates per compiled call, whose batches are in memory together, and those of the next two.
    critic_updates_per_call=10,
    actor_updates_per_call=1,
    save_minutes=15.0,  # between two saves inside a phase; 0: at its end and at a signal alone
    keep=0,  # newest checkpoints that are kept; 0: all
    wandb=False,
    compile_cache='',  # compiled programs, kept for the next start; '': beside --workdir; or none
  )
  return config
