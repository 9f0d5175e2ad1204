"""Scales the instances of a model inside one Triton with the load: what runs beside it in its pod."""

# The exit status where the model is of a kind whose instances can't be scaled. The last line says why.
EXIT_UNSCALABLE = 4
