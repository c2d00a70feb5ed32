"""The checksummed log from which every decision can be made again."""
