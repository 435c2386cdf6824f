"""What is wrong with Kubernetes objects before anybody sees them: what KubeRay's operator and the API server refuse,
and what never works. Offline; `roadbed lint` prints it, `roadbed submit` asks before it sends anything.
"""

from roadbed.kube.lint.faults import OTHER_RULES, RULES, Fault, faults, faults_of, refuse_faults

__all__ = ["OTHER_RULES", "RULES", "Fault", "faults", "faults_of", "refuse_faults"]
