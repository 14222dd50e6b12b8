"""The example's handler, and what only a test asks for."""

import os, sys

sys.path.insert(0, os.environ["EXAMPLE"])
import app


def handler(event, context):
    if "raise" in event:
        raise ValueError(event["raise"])
    if "arn" in event:
        return context.invoked_function_arn
    return app.handler(event, context)


def slow(event, context):
    import time

    time.sleep(event.get("seconds", 0))
    return context.get_remaining_time_in_millis()
