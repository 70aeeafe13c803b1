"""PlatformIO's entry point to the bench's own development platform."""

from platformio.platform.base import PlatformBase


class FttePlatform(PlatformBase):
    """Takes its compilers from the system, so it has no packages of its own."""

    def is_embedded(self) -> bool:
        """PlatformIO guesses this from an uploader package, of which there is none; `host` is a board like others."""
        return True
