"""Models: loading, identity records, embeddings; one protocol over every family."""
