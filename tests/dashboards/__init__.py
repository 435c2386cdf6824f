"""The dashboards of helm/roadbed/dashboards, as code: `python -m dashboards`, run in tests/, writes them anew."""
