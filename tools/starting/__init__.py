"""How a person begins: specs that come with nettrain, and new ones."""
