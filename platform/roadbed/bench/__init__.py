"""Benchmarks: everything that the documentation claims of speed and memory is measured by `roadbed bench ...`."""
