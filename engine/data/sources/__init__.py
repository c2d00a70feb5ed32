"""One data set layout per file; `table.py` lists them."""
