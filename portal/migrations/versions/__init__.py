"""The steps. One that was released never changes."""
