"""The company behind the example servers: an outdoor shop with customers, products, orders, tickets and shipments.

Everything is generated from one seed, so every server process that builds it sees the same customers and orders, and a
program can join what one server knows with what another knows. Dates are ISO days; money is euros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Literal

Tier = Literal["standard", "silver", "gold"]
OrderStatus = Literal["paid", "shipped", "delivered", "returned", "cancelled", "refunded"]
TicketStatus = Literal["open", "pending", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
ShipmentStatus = Literal["in_transit", "delivered", "late", "lost"]

TODAY = date(2026, 6, 30)
SEED = 20260630


@dataclass
class Customer:
    id: str
    name: str
    email: str
    city: str
    country: str
    tier: Tier
    since: str


@dataclass
class Product:
    sku: str
    name: str
    category: str
    price: float
    stock: int
    reorder_at: int


@dataclass
class OrderLine:
    sku: str
    quantity: int
    unit_price: float


@dataclass
class Order:
    id: str
    customer_id: str
    placed_on: str
    status: OrderStatus
    total: float
    lines: list[OrderLine]


@dataclass
class Comment:
    author: str
    on: str
    text: str


@dataclass
class Ticket:
    id: str
    customer_id: str
    order_id: str | None
    subject: str
    status: TicketStatus
    priority: Priority
    opened_on: str
    agent: str | None
    first_reply_minutes: int | None
    satisfaction: int | None
    comments: list[Comment] = field(default_factory=list)


@dataclass
class ShipmentEvent:
    on: str
    place: str
    text: str


@dataclass
class Shipment:
    tracking: str
    order_id: str
    customer_id: str
    carrier: str
    status: ShipmentStatus
    promised_on: str
    delivered_on: str | None
    days_late: int
    events: list[ShipmentEvent]


@dataclass
class Company:
    customers: list[Customer]
    products: list[Product]
    orders: list[Order]
    tickets: list[Ticket]
    shipments: list[Shipment]


AGENTS = ("Amara", "Bruno", "Chidi", "Dagny", "Esra", "Farid")
CARRIERS = ("Albatross", "Bluebird", "Condor")

_FIRST = """
    Ada Aino Anselm Bea Carlo Chiara Dario Edda Elif Emil Femke Greta Hana Hugo Ines Jonas Juno Kofi Lena Luca Mara
    Milo Nadia Nils Olga Oskar Paula Pavel Rosa Ruben Sami Selma Stella Timo Tove Ursa Viktor Wanda Yara Zeno
""".split()
_LAST = """
    Albers Bakker Brandt Costa Dahl Eklund Fischer Garcia Haas Ivanov Jansen Keller Larsen Lehmann Moreau Novak
    Okafor Petrov Quist Rossi Sato Sommer Taylor Urban Vogel Weber Yilmaz Zeman
""".split()
_CITIES = (
    ("Berlin", "DE"), ("Hamburg", "DE"), ("Leipzig", "DE"), ("Lyon", "FR"), ("Lille", "FR"), ("Porto", "PT"),
    ("Bergen", "NO"), ("Malmö", "SE"), ("Turin", "IT"), ("Utrecht", "NL"), ("Graz", "AT"), ("Cork", "IE"),
)  # fmt: skip
_CATALOGUE = {
    "tents": (("Ridge 1", 189.0), ("Ridge 2", 249.0), ("Fjord 4", 429.0), ("Tarp Lite", 79.0)),
    "packs": (("Day 22", 89.0), ("Trail 38", 139.0), ("Haul 60", 199.0), ("Hip Belt", 29.0)),
    "sleep": (("Down 0", 319.0), ("Down 10", 239.0), ("Mat Air", 109.0), ("Mat Foam", 35.0)),
    "stoves": (("Spirit", 59.0), ("Gas Mini", 49.0), ("Pot Set", 69.0), ("Windscreen", 15.0)),
    "boots": (("Fell Low", 149.0), ("Fell Mid", 179.0), ("Alpine", 289.0), ("Gaiters", 45.0)),
    "jackets": (("Drizzle", 129.0), ("Storm", 259.0), ("Fleece", 85.0), ("Down Vest", 145.0)),
    "lights": (("Head 200", 39.0), ("Head 500", 75.0), ("Lantern", 32.0), ("Spare Cell", 12.0)),
}
_SUBJECTS = (
    "Where is my parcel?", "Parcel arrived damaged", "Wrong size, want to exchange", "Zip broke on first trip",
    "Charged twice", "Discount code refused", "Seam leaks in rain", "Missing tent pegs", "Invoice for my company",
    "Change of delivery address", "Return label please", "Does it fit in cabin luggage?",
)  # fmt: skip
_PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high", "urgent")


def build_company(seed: int = SEED, *, customers: int = 120, orders: int = 900, tickets: int = 260) -> Company:
    """The whole company, the same for the same arguments in every process."""
    random = Random(seed)
    people = [_customer(random, number) for number in range(1, customers + 1)]
    products = _products(random)
    sold = [_order(random, number, people, products) for number in range(1, orders + 1)]
    sold.sort(key=lambda order: order.placed_on)
    for number, order in enumerate(sold, start=1):
        order.id = f"O{number:05d}"
    shipments = [_shipment(random, order) for order in sold if order.status in {"shipped", "delivered", "returned"}]
    asked = [_ticket(random, number, sold, shipments) for number in range(1, tickets + 1)]
    return Company(people, products, sold, asked, shipments)


def _day(random: Random, days_back: int) -> date:
    return TODAY - timedelta(days=random.randrange(days_back))


def _customer(random: Random, number: int) -> Customer:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    city, country = random.choice(_CITIES)
    tier: Tier = random.choices(("standard", "silver", "gold"), weights=(60, 25, 15))[0]
    since = TODAY - timedelta(days=400 + random.randrange(1600))
    return Customer(
        id=f"C{number:03d}",
        name=f"{first} {last}",
        email=f"{first}.{last}{number}@example.com".lower(),
        city=city,
        country=country,
        tier=tier,
        since=since.isoformat(),
    )


def _products(random: Random) -> list[Product]:
    products = []
    for category, items in _CATALOGUE.items():
        for number, (name, price) in enumerate(items, start=1):
            sku = f"{category[:3].upper()}-{number:02d}"
            products.append(Product(sku, name, category, price, random.randrange(120), random.choice((10, 20, 30))))
    return products


def _order(random: Random, number: int, customers: Sequence[Customer], products: Sequence[Product]) -> Order:
    placed = _day(random, 365)
    lines = [
        OrderLine(product.sku, random.choices((1, 2, 3), weights=(75, 20, 5))[0], product.price)
        for product in random.sample(products, random.choices((1, 2, 3, 4), weights=(45, 30, 15, 10))[0])
    ]
    total = round(sum(line.quantity * line.unit_price for line in lines), 2)
    age = (TODAY - placed).days
    states: tuple[OrderStatus, ...] = ("delivered", "returned", "cancelled", "shipped", "paid")
    weights = (25, 0, 5, 50, 20) if age < 6 else (62, 8, 5, 25, 0) if age < 45 else (85, 9, 6, 0, 0)
    status = random.choices(states, weights)[0]
    return Order(f"N{number}", random.choice(customers).id, placed.isoformat(), status, total, lines)


def _shipment(random: Random, order: Order) -> Shipment:
    carrier = random.choices(CARRIERS, weights=(50, 35, 15))[0]
    placed = date.fromisoformat(order.placed_on)
    promised = placed + timedelta(days=4)
    delay = random.choices((0, 1, 3, 8), weights=(80, 10, 7, 3) if carrier != "Condor" else (55, 20, 15, 10))[0]
    arrived = promised + timedelta(days=delay)
    on_the_way = order.status == "shipped" or arrived > TODAY
    late_by = max(0, ((TODAY if on_the_way else arrived) - promised).days)
    status: ShipmentStatus = "delivered"
    if on_the_way:
        status = "lost" if late_by > 21 else "late" if late_by else "in_transit"
    events = [ShipmentEvent(placed.isoformat(), "Leipzig hub", "Picked up")]
    if not on_the_way:
        events.append(ShipmentEvent(arrived.isoformat(), "Front door", "Delivered"))
    return Shipment(
        tracking=f"{carrier[:2].upper()}{order.id[1:]}",
        order_id=order.id,
        customer_id=order.customer_id,
        carrier=carrier,
        status=status,
        promised_on=promised.isoformat(),
        delivered_on=None if on_the_way else arrived.isoformat(),
        days_late=late_by,
        events=events,
    )


def _ticket(random: Random, number: int, orders: Sequence[Order], shipments: Sequence[Shipment]) -> Ticket:
    late = [shipment for shipment in shipments if shipment.status in {"late", "lost"}]
    about_parcel = bool(late) and random.random() < 0.15
    shipment = random.choice(late) if about_parcel else None
    order = random.choice(orders)
    opened = _day(random, 30 if about_parcel else 180)
    status: TicketStatus = random.choices(
        ("open", "pending", "closed"), weights=(3, 2, 1) if about_parcel else (1, 1, 8)
    )[0]
    subject = _SUBJECTS[0] if about_parcel else random.choice(_SUBJECTS[1:])
    reply = random.randrange(5, 900) if status != "open" else None
    comments = [Comment("customer", opened.isoformat(), subject)]
    if reply is not None:
        comments.append(Comment("agent", opened.isoformat(), "Thank you for writing, we are looking into it."))
    return Ticket(
        id=f"T{number:04d}",
        customer_id=shipment.customer_id if shipment else order.customer_id,
        order_id=shipment.order_id if shipment else (order.id if random.random() < 0.7 else None),
        subject=subject,
        status=status,
        priority=random.choices(_PRIORITIES, weights=(1, 3, 4, 4) if about_parcel else (20, 60, 15, 5))[0],
        opened_on=opened.isoformat(),
        agent=random.choice(AGENTS) if reply is not None else None,
        first_reply_minutes=reply,
        satisfaction=random.choices((1, 2, 3, 4, 5), weights=(5, 8, 17, 40, 30))[0] if status == "closed" else None,
        comments=comments,
    )
