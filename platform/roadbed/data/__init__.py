"""Datasets: label spaces, sources, shards in a store, the order of samples, and the loader that feeds a model."""
