"""The scenes and the light task of the jobs' tests, here too."""

from tests.jobs.conftest import light, scenes  # noqa: F401
