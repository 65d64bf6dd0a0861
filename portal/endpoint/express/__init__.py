"""The short way for frequent requests past the SDK's dispatcher."""
