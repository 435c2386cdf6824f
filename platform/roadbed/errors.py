"""The errors that a user can meet, each with the exit status that the command line gives it.

A message says what was wrong, the value, and what to do next. Anything else that is raised is a defect of roadbed.
"""


class RoadbedError(Exception):
    """Something failed that the message explains. Exit status 1."""

    exit_status = 1


class UsageError(RoadbedError):
    """What was asked cannot be meant: a misspelt key, an impossible value. Exit status 2."""

    exit_status = 2


class StoreError(RoadbedError):
    """The object store did not do what was asked; the message names bucket, key and endpoint."""


class NotFoundError(StoreError):
    """An object, bucket, run or version that is not there."""


class ConflictError(StoreError):
    """A conditional write lost: somebody else created or moved the object first."""


class DamagedError(RoadbedError):
    """Bytes that are not what a manifest says (length or sha256)."""


class DataError(RoadbedError):
    """A dataset, image or mask that cannot be used as it is; the message names the file."""


class FencedError(RoadbedError):
    """This attempt of a run was replaced by a newer one and must write nothing more."""


class StoppedError(RoadbedError):
    """Somebody stopped it on purpose, by Ctrl-C or SIGTERM. Exit status 130, as shells have it."""

    exit_status = 130


class TrainingError(RoadbedError):
    """Training cannot go on: not-a-number loss, classes that do not fit, workers lost for good."""


class DivergedError(TrainingError):
    """The loss or the weights are no numbers any more, or the loss has exploded: the same spec will end there again."""
