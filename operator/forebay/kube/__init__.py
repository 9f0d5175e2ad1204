"""The only code that talks to the apiserver."""
