"""Proposals for a folder of one's own: what its masks hold, which frames to hold out, and a job to train with.

layout.py finds frames, masks and polygons; polygons.py (with labelme.py, cvat.py, coco.py) draws
masks; survey.py counts what
masks hold, legends.py reads what exports say of it, classes.py makes a classes.yaml of both; job.py a job spec.
propose.py puts them together. Only `write` writes, and nothing over what is there.
"""
