"""Files as the outside has them: opened with care, written whole or not at all."""
