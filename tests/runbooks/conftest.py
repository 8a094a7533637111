"""The broker of the integration tests, for rehearsals."""

# A fixture is found by its name.
from tests.integration.conftest import broker  # noqa: F401 # pyright: ignore[reportUnusedImport]
