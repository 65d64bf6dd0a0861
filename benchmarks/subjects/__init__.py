"""One module a subject: ours first, then each peer, all with the same cases."""
