"""Sweeps of hyperparameters: what they try next, which trials there are, what they came to. Neither ray nor torch."""
