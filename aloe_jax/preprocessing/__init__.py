"""What stands between a robot and the network, with its inverses."""
