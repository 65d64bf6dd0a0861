"""The steps that bring an older database to the tables of today, run by `portal.state.migrate` when one is opened."""
