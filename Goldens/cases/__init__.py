"""The groups of golden cases; each module has one function `cases()` that yields `Case`s."""
