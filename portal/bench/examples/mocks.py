"""The shop in Python: a function for each tool, and rules where no function is needed."""

from typing import Any

TOOLS = "tools.json"

PEOPLE = {"C001": "Ada", "C002": "Bo"}


def shop__list_orders(arguments: dict[str, Any]) -> dict[str, Any]:
    orders = [
        {"id": f"O{n}", "customer_id": id, "placed_on": "2026-01-02", "status": "paid", "total": n * 10.0, "lines": []}
        for n, id in enumerate(PEOPLE, 1)
    ]
    return {"total": len(orders), "orders": orders[: arguments.get("limit", 100)]}


async def shop__get_customer(arguments: dict[str, Any]) -> dict[str, Any]:
    id = arguments["customer_id"]
    if id not in PEOPLE:
        raise LookupError(f"there is no customer {id}")
    place = {"city": "York", "country": "GB", "tier": "gold", "since": "2020-05-01"}
    return {"id": id, "name": PEOPLE[id], "email": f"{PEOPLE[id].lower()}@example.com", **place}


MOCKS = {"shop.create_voucher": {"error": "vouchers are closed for today"}}
