"""From a picture to a mask with a trained model."""
