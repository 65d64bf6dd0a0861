"""The transports to an upstream server: streamable HTTP, SSE, stdio."""
