"""Pictures in folders and tar files: found, decoded ahead by threads of their own, kept in bounded memory."""
