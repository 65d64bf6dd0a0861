"""What all of the admin API shares: operations, envelopes, errors, permissions and the OpenAPI document."""
