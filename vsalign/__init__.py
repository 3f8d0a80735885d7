"""vsalign: two versions of one film, moved onto each other in time (sync) and in space (align)."""
