"""The policy server: from a robot's message to a reply, over openpi's protocol."""
