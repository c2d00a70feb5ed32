"""What to try next: designs by number, Optuna behind ask and tell, both replayable."""
