"""The short way for frequent requests: past the SDK's HTTP transport, to the same handlers."""
