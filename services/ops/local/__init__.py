"""All that Sluice needs, on one machine: Kafka, Secrets Manager, the simulator, its own rooms.

For the demo, the tests, the benchmarks and the chaos suite. Each process started here is written
down in its run's directory and ended by its own pid, also after its owner was killed.
"""
