"""The netmon command."""
