"""ALOE: action-level off-policy evaluation for post-training vision-language-action models."""
