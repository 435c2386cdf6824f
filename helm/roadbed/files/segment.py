"""What `helm test` runs: has a picture segmented by the endpoint at URL; with the key of API_KEY, if there is one."""

import json
import os
import sys
import urllib.error
import urllib.request

from roadbed.serving.examples import painted_png


def main() -> None:
    """Ends with a sentence, and with status 1 where there is no mask."""
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    if key := os.environ.get("API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    url = os.environ["URL"]
    request = urllib.request.Request(f"{url}/v1/segment", data=painted_png(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            names = [found["name"] for found in json.load(answer)["classes"] if found["share"] > 0]
            sys.stdout.write(f"{answer.headers['X-Model']} segmented a picture: {', '.join(names)}\n")
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answered {error.code}: {error.read().decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{url} does not answer: {error}")


main()
