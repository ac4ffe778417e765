"""The only SQL: tables, queries, segments (condition → SQL), migrations."""

from orchestrator.store.database import (
    Store,
    StoreUnavailable,
    allocate_ids,
    grant_application_role,
    id_list,
    insert_ids,
    insert_many,
    key_list,
)

__all__ = [
    "Store",
    "StoreUnavailable",
    "allocate_ids",
    "grant_application_role",
    "id_list",
    "insert_ids",
    "insert_many",
    "key_list",
]
