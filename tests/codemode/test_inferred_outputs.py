"""What is only inferred of a tool's output is shown to an agent, and never held against its program."""

from codemode import Catalog
from codemode.check.declared import declarations_for
from stubs import Seen, Server, Tool


def catalog_of(*, inferred: bool) -> Catalog:
    schema = Seen.of({"total": 3}).output_schema()
    return Catalog.build([Server("shop", tools=(Tool("count", output_schema=schema, output_inferred=inferred),))])


def test_an_inferred_output_is_described_and_found_with_its_mark() -> None:
    catalog = catalog_of(inferred=True)
    assert "Promise<{ total: number }>" in catalog.describe("shop.count")
    assert "@returns Inferred from results seen." in catalog.describe("shop.count")
    assert catalog.search("count")[0]["signature"].endswith("Promise</* inferred */ { total: number }>")
    (listed,) = catalog.tools()
    assert listed["outputSchema"]["description"] == "Inferred from results seen."


def test_a_program_is_not_checked_against_an_inferred_output() -> None:
    program = "return (await codemode.shop.count()).other"
    assert "count(input?: Record<string, any>): Promise<any>" in declarations_for(program, catalog_of(inferred=True))
    assert "Promise<{ total: number }>" in declarations_for(program, catalog_of(inferred=False))
