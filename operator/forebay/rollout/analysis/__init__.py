"""Whether a new revision does as well as the one that serves. Pure: counts in, a verdict out."""
