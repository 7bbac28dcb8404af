"""Where blobs come from, and where they are written."""
