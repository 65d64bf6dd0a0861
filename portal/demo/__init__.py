"""A demonstration that needs no network: three example upstream servers over the same made-up company, and a guided tour."""
