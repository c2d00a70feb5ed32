"""Fold-aggregated reports: reads run folders, imports neither torch nor Ray."""
