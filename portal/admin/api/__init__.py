"""The frame of the admin API: operations, envelopes, errors, permissions, the OpenAPI document."""
