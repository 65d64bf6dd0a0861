"""Signing people in: identity providers, browser sessions, and the pages a person sees on the way."""
