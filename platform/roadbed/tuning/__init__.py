"""Sweeps of hyperparameters: which trials there are, and what they came to. Neither ray nor torch."""
