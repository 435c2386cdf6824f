"""What a sweep tries next and what its trials tell. Neither ray nor torch: who runs the trials is the runtime's."""

from roadbed.tuning.study import Study, importance

__all__ = ["Study", "importance"]
