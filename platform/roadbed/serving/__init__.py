"""The HTTP endpoint without Ray: reading bodies, one engine behind a short queue, answers, and following an alias.

`runtime.serve` puts it into replicas. Reads the registry; writes nothing.
"""
