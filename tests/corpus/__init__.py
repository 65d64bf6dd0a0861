"""Tools and intents that tests and benchmarks share: what real servers offer, and what people ask for."""
