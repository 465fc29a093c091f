"""The store in a FastAPI application: a lifespan that opens it, and the dependency for routes."""

import veritas_peewee.web.encoding as _encoding  # noqa: F401  (it registers our rows' encoder)
from veritas_peewee.web.lifespan import get_store, store_lifespan

__all__ = ["get_store", "store_lifespan"]
