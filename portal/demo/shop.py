"""Example upstream over stdio: the shop's customers, products and orders. Run as `python -m portal.demo.shop`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from portal.demo.company import Company, Customer, Order, OrderStatus, Product, Tier, build_company

READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
DESTRUCTIVE = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)

Limit = Annotated[int, Field(ge=1, le=1000, description="How many to return at most")]
Offset = Annotated[int, Field(ge=0, description="How many to skip, for paging")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A day, YYYY-MM-DD")]


@dataclass
class CustomerPage:
    total: int
    customers: list[Customer]


@dataclass
class OrderPage:
    total: int
    orders: list[Order]


@dataclass
class ProductList:
    products: list[Product]


@dataclass
class MonthRevenue:
    month: str
    orders: int
    revenue: float


@dataclass
class RevenueReport:
    currency: str
    months: list[MonthRevenue]


@dataclass
class ProductSales:
    sku: str
    name: str
    units: int
    revenue: float


@dataclass
class SalesRanking:
    ranking: list[ProductSales]


@dataclass
class StockAlert:
    sku: str
    name: str
    stock: int
    reorder_at: int


@dataclass
class StockReport:
    low: list[StockAlert]
    out_of_stock: int


@dataclass
class Refund:
    order_id: str
    amount: float
    reason: str


def build_server(company: Company) -> MCPServer:
    """The shop's MCP server over this company; writes change the company in memory only."""
    server = MCPServer(
        "shop",
        title="Outdoor shop",
        version="1.0.0",
        instructions="Customers, products, orders and sales figures of an outdoor shop. Money is euros.",
        log_level="WARNING",
    )
    _customer_tools(server, company)
    _product_tools(server, company)
    _order_tools(server, company)
    _sales_tools(server, company)
    return server


def _customer_tools(server: MCPServer, company: Company) -> None:
    customers = {customer.id: customer for customer in company.customers}

    @server.tool(title="List customers", annotations=READ)
    def list_customers(
        tier: Tier | None = None,
        country: Annotated[str | None, Field(description="Two-letter country code, such as DE")] = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> CustomerPage:
        """List customers, optionally of one loyalty tier or country."""
        found = [
            customer
            for customer in company.customers
            if (tier is None or customer.tier == tier) and (country is None or customer.country == country)
        ]
        return CustomerPage(len(found), found[offset : offset + limit])

    @server.tool(title="Get a customer", annotations=READ)
    def get_customer(
        customer_id: Annotated[str, Field(description="Customer id, such as C042")],
    ) -> Customer:
        """Get one customer: name, e-mail, city, country, loyalty tier, customer since."""
        if customer_id not in customers:
            raise ToolError(f"There is no customer {customer_id}. Ids look like C042; list_customers shows them.")
        return customers[customer_id]


def _product_tools(server: MCPServer, company: Company) -> None:
    products = {product.sku: product for product in company.products}

    @server.tool(title="Search products", annotations=READ)
    def search_products(
        query: Annotated[str, Field(description="Words of the name or category; empty for all")] = "",
        max_price: Annotated[float | None, Field(ge=0, description="Euros")] = None,
        in_stock: bool = False,
    ) -> ProductList:
        """Find products by name or category, optionally below a price or in stock only."""
        words = query.lower().split()
        found = [
            product
            for product in company.products
            if all(word in f"{product.name} {product.category}".lower() for word in words)
            and (max_price is None or product.price <= max_price)
            and (product.stock > 0 or not in_stock)
        ]
        return ProductList(found)

    @server.tool(title="Get a product", annotations=READ)
    def get_product(sku: Annotated[str, Field(description="Article number, such as TEN-02")]) -> Product:
        """Get one product with price and stock."""
        if sku not in products:
            raise ToolError(f"There is no product {sku}. Article numbers look like TEN-02; search_products shows them.")
        return products[sku]

    @server.tool(title="Stock report", annotations=READ)
    def stock_report() -> StockReport:
        """Products at or below their reorder level, and how many are sold out."""
        low = [
            StockAlert(product.sku, product.name, product.stock, product.reorder_at)
            for product in sorted(company.products, key=lambda product: product.stock)
            if product.stock <= product.reorder_at
        ]
        return StockReport(low, sum(product.stock == 0 for product in company.products))


def _order_tools(server: MCPServer, company: Company) -> None:
    orders = {order.id: order for order in company.orders}

    @server.tool(title="List orders", annotations=READ)
    def list_orders(
        customer_id: Annotated[str | None, Field(description="Only orders of this customer")] = None,
        status: OrderStatus | None = None,
        since: Day | None = None,
        until: Day | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> OrderPage:
        """List orders, oldest first, filtered by customer, status and day placed."""
        found = [
            order
            for order in company.orders
            if (customer_id is None or order.customer_id == customer_id)
            and (status is None or order.status == status)
            and (since is None or order.placed_on >= since)
            and (until is None or order.placed_on <= until)
        ]
        return OrderPage(len(found), found[offset : offset + limit])

    @server.tool(title="Get an order", annotations=READ)
    def get_order(order_id: Annotated[str, Field(description="Order id, such as O00042")]) -> Order:
        """Get one order with its lines."""
        if order_id not in orders:
            raise ToolError(f"There is no order {order_id}. Ids look like O00042; list_orders shows them.")
        return orders[order_id]

    @server.tool(title="Refund an order", annotations=DESTRUCTIVE)
    def refund_order(
        order_id: Annotated[str, Field(description="Order id, such as O00042")],
        reason: Annotated[str, Field(min_length=3, description="Why; shown to the customer")],
    ) -> Refund:
        """Refund the whole of an order to the customer."""
        order = get_order(order_id)
        if order.status in {"cancelled", "refunded"}:
            raise ToolError(f"Order {order_id} is already {order.status}; nothing was refunded.")
        order.status = "refunded"
        return Refund(order_id, order.total, reason)


def _sales_tools(server: MCPServer, company: Company) -> None:
    sold = [order for order in company.orders if order.status not in {"cancelled", "refunded"}]
    names = {product.sku: product.name for product in company.products}

    @server.tool(title="Revenue by month", annotations=READ)
    def revenue_by_month(since: Day = "2025-07-01", until: Day = "2026-06-30") -> RevenueReport:
        """Orders and revenue of each month between two days."""
        revenue: Counter[str] = Counter()
        count: Counter[str] = Counter()
        for order in sold:
            if since <= order.placed_on <= until:
                month = order.placed_on[:7]
                count[month] += 1
                revenue[month] += round(order.total * 100)
        months = [MonthRevenue(month, count[month], revenue[month] / 100) for month in sorted(count)]
        return RevenueReport("EUR", months)

    @server.tool(title="Best-selling products", annotations=READ)
    def top_products(
        by: Literal["units", "revenue"] = "revenue",
        since: Day | None = None,
        limit: Limit = 10,
    ) -> SalesRanking:
        """Products ranked by units sold or by revenue, optionally since a day."""
        units: Counter[str] = Counter()
        cents: Counter[str] = Counter()
        for order in sold:
            if since is None or order.placed_on >= since:
                for line in order.lines:
                    units[line.sku] += line.quantity
                    cents[line.sku] += round(line.quantity * line.unit_price * 100)
        ranked = (units if by == "units" else cents).most_common(limit)
        return SalesRanking([ProductSales(sku, names[sku], units[sku], cents[sku] / 100) for sku, _ in ranked])

    @server.tool(title="Create a voucher", annotations=WRITE)
    def create_voucher(
        customer_id: Annotated[str, Field(description="Who may use it")],
        percent: Annotated[int, Field(ge=1, le=50)],
        valid_until: Day = "2026-12-31",
    ) -> str:
        """Create a voucher code worth some percent for one customer."""
        if all(customer.id != customer_id for customer in company.customers):
            raise ToolError(f"There is no customer {customer_id}.")
        return f"{customer_id}-{percent}-{valid_until.replace('-', '')}"


if __name__ == "__main__":
    build_server(build_company()).run("stdio")
