"""Example upstream servers over one made-up company, and a guided tour through a portal over them. Needs no network."""
