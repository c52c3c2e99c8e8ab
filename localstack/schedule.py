#!/usr/bin/env python3
"""Starts a function again and again, as a schedule of AWS does: so many seconds after it ended.

    schedule.py INVOKE_URL SECONDS

For `archive` under `cargo lambda watch`. MiniStack has schedules of its own.
"""

import sys
import time
import urllib.error
import urllib.request

INVOKE_MAX_S = 120


def invoke(url):
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=INVOKE_MAX_S) as answer:
            answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        print(f"schedule.py: {error}", file=sys.stderr, flush=True)


def main():
    url, seconds = sys.argv[1:]
    while True:
        invoke(url)
        time.sleep(float(seconds))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
