"""Networks: the actors and the critic."""
