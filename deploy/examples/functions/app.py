"""Answers GET /orders/{id} for a gateway, in the form of a Lambda proxy integration."""

import json

ORDERS = {"7": {"id": "7", "item": "lamp"}}


def handler(event, context):
    order = ORDERS.get((event.get("pathParameters") or {}).get("id"))
    if order is None:
        return answer(404, {"message": "no such order"})
    print("serving order", order["id"])
    return answer(200, order)


def answer(status, body):
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
