"""Support for the tests of hostile programs and of the guest boundary under fuzz."""
