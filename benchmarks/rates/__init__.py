"""What `benchmarks/throughput.py` measures, one part a file."""
