"""Access to the store (Valkey or Redis): one module for each kind of record, and the Lua script."""
