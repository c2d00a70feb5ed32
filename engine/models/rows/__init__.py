"""The rows of the systems, a file per published system. No torch here."""
