"""Jobs on a Kubernetes cluster: profiles, the manifest of a RayJob, and the API server. Knows neither torch nor ray."""
