"""The whole portal, put together as `codemode serve` does, under users and attackers."""
