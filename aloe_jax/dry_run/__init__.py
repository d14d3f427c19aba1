"""What a run would take of devices that are not there: memory, FLOPs, communication."""
