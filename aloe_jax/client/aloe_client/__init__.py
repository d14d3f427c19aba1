"""The robot's side of aloe_jax: no JAX, three small dependencies, Python 3.9 and later."""
