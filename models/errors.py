"""Everything that can go wrong for a reason the user can act on.

    OmniError
    ├── BundleError       a bundle or checkpoint folder is missing something, altered or of another kind
    ├── MediaError        a file or stream cannot be heard or seen
    ├── RequestError      the request itself cannot be served (unknown voice, prompt too long, ...)
    ├── ModelNotFound     no such model, neither on disk nor in the catalogue nor on the hub
    ├── DeviceError       an engine, provider or device is not available here
    └── MissingExtra      an optional package is not installed

The message of each names the thing and says what to do; the command line prints it as one line and
exits with status 1.
"""

from __future__ import annotations


class OmniError(Exception):
    """Base of all errors that omni-edge raises on purpose."""


class BundleError(OmniError):
    """A bundle or checkpoint is incomplete, altered, or of a kind this version does not read."""


class MediaError(OmniError):
    """An audio, image or video input cannot be used."""


class RequestError(OmniError):
    """The request is not one this model can serve."""


class ModelNotFound(OmniError):
    """No bundle or checkpoint goes by this name."""


class DeviceError(OmniError):
    """An engine, execution provider or device is not available."""


class MissingExtra(OmniError):
    """An optional package is needed for this and is not installed.

    Args:
        package: the package as pip knows it.
        extra: the extra of omni-edge that brings it.
        purpose: what it is needed for, as the end of "is needed to ...".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is not installed; it is needed to {purpose}. Install it: pip install 'omni-edge[{extra}]'"
        )
