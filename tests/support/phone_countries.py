"""The countries whose telephone numbers the tests read."""

ALL_COUNTRIES = (
    "AR", "BO", "BR", "CL", "CO", "CR", "DO", "EC", "ES", "GT", "MX", "PA", "PE", "PY", "US", "UY", "VE",
)  # fmt: skip
