"""The short form of the soak test; `make test-soak` runs the long one."""
from soak import ShortSoak

__all__ = ["ShortSoak"]
