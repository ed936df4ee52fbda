"""What all unit tests have alike."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("netmon", deadline=None)  # a busy machine is no failure
settings.load_profile("netmon")
