"""The compiled train step, its state, and what is computed once per iteration."""
