"""The model registry, as the commands push, models, alias and compare use it."""
