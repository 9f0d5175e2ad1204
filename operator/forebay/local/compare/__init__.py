"""Two versions of a model on the same inputs: what `forebay compare A B --inputs` does."""
