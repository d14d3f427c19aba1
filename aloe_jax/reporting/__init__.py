"""Whether a critic can be trusted: numbers, a verdict each, and a page."""
