"""Learning algorithms: what each one optimises, and on which data."""
