"""roadbed: train, tune and serve road-scene segmentation with Ray.

Importing this package loads neither torch nor ray; the command line and the modules load what they need.
"""

__version__ = "0.1.0"
