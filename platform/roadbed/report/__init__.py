"""Pictures of what a model does and how its training went."""
