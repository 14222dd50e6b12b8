"""Functions of the examples beside this file."""

import json

ORDERS = {"7": {"id": "7", "item": "lamp"}}
PRICES = {"lamp": 12}


def get_order(event, context):
    """A proxy function of a REST API: format 1.0."""
    order = ORDERS.get(event["pathParameters"]["id"])
    status, body = (404, {"message": "no such order"}) if order is None else (200, order)
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}


def price(event, context):
    """A function of a custom integration: it knows nothing of HTTP."""
    if event["item"] not in PRICES:
        raise ValueError(f"no such item: {event['item']}")
    print("priced", event["item"])
    return {"total": PRICES[event["item"]] * event["pieces"]}


def greet(event, context):
    """A function of an HTTP API: format 2.0. Whatever it returns is the answer."""
    return {"hello": event["pathParameters"]["name"], "route": event["routeKey"]}
