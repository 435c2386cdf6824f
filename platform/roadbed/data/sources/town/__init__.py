"""A small painted town seen from a car: frames and exact masks without any download.

World coordinates are metres: x to the right of the camera, y up from the road, z ahead. Randomness comes from one
`Dice` per frame; nothing is read or written. Masks hold the place of a class in CAMVID_COLORS.
"""
