"""`python -m dashboards`, run in tests/: writes helm/roadbed/dashboards."""

from __future__ import annotations

from dashboards.all import FOLDER, texts

if __name__ == "__main__":
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
