"""One driver per run: a lock on disks, a lease on object stores, both outliving crashes."""
