"""What a person does with datasets: inspect, validate, statistics."""
