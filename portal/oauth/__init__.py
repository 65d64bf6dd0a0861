"""The portal as OAuth 2.1 authorization server and its own resource server; service tokens; signed assertions."""
